"""Components and contracts: what a component promises between two interfaces."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core import DeclarationError, Model, Said, errors_named, typed, whole
from ._extremes import depth, least
from ._interface import Interface, Value
from ._models import Predictor
from ._prior import Independent, Prior, as_independent

Logic: TypeAlias = Annotated[
    Mapping[Value, Value] | None,
    Said(
        expected="a dictionary from input value to output value, or None",
        mend="write e.g. logic={0: 1, 1: 0} for an inverter",
    ),
]
Points: TypeAlias = Annotated[
    int, whole(2), Said(mend="pass e.g. points=33; more of them see narrower violations")
]
"""How many values of x a contract looks at in each box."""


@typed
class Component(eqx.Module):
    """A model with a prior over its weights, and the logic that it is to compute.

    `model(x)` maps one value `x` of shape `[dim]` to a scalar or a vector. `logic` says which
    logical value of the output each logical value of the input is to become: a dictionary; the
    identity if not given. A gate of fan-in two reads the pair of its inputs, with tuples as values:

    ::

        Component(model, prior, logic={(0, 0): 1, (0, 1): 1, (1, 0): 1, (1, 1): 0})
    """

    model: PyTree
    prior: Independent
    logic: tuple[tuple[Value, Value], ...] | None = eqx.field(static=True)

    def __init__(
        self,
        model: Predictor,
        prior: Prior,
        logic: Logic = None,
    ):
        self.model = model
        self.prior = as_independent(prior)
        self.logic = None if logic is None else tuple(logic.items())


@typed
class Contract(eqx.Module):
    """What a component promises: for every logical value v and every `x` in `assume(v)`,
    `model(x)` lies in `guarantee(logic(v))`.

    The margin is the signed L∞ distance of the image to the boundary of the acceptable boxes,
    worst over v and x: the contract holds if and only if it is not negative. `margin` looks at
    `points` values of x in each box (see `Interface.points`), so that it is never below the true
    one; `boltzax.interfaces.certify` covers every x.

    Source: Wentworth & Lorell, "Toward Statistical Mechanics of Interfaces Under Selection
    Pressure" (2025). The word is of Benveniste et al. (2018), "Contracts for System Design",
    Found. Trends Electron. Des. Autom. 12:124.

    Args:
        assume: The interface of the input.
        guarantee: The interface of the output.
        points: Values of the input looked at in each box.
        rows: Places in `guarantee` of the value promised for each value of `assume`.
    """

    component: Component
    assume: Interface
    guarantee: Interface
    points: int = eqx.field(static=True)
    rows: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self, component: Component, assume: Interface, guarantee: Interface, *, points: Points = 33
    ):
        self.component, self.points = component, points
        self.assume, self.guarantee = assume, guarantee
        self.rows = _rows(component, assume, guarantee)
        _check_shapes(component.model, assume, guarantee)

    def image(self, model: Model) -> Float[Array, "value point out"]:
        """What the model makes of the points of each logical value."""
        points = self.assume.points(self.points)
        images = jax.vmap(jax.vmap(model))(points)
        return images.reshape(*points.shape[:2], self.guarantee.dim)

    def margin(self, model: Model) -> Float[Array, ""]:
        """`min_v min_x dist(model(x), boundary of guarantee(logic(v)))` over the points looked at.

        In units of the output. `inf` if nothing is assumed; a result that is not a number counts
        as -inf.
        """
        return least(self.margins(self.image(model)))

    def margins(self, image: Float[Array, "value point out"]) -> Float[Array, " value"]:
        """The margin of each logical value, from its image."""
        rows = jnp.asarray(self.rows)
        low, high = self.guarantee.lower[rows][:, None], self.guarantee.upper[rows][:, None]
        worst = least(depth(image[:, :, None, :], low, high))
        worst = jnp.where(jnp.isnan(worst), -jnp.inf, worst)
        nothing = jnp.all(self.assume.lower[:, :, 0] > self.assume.upper[:, :, 0], axis=-1)
        return jnp.where(nothing, jnp.inf, worst)

    @property
    def contracts(self) -> tuple["Contract", ...]:
        """This one; a circuit has several."""
        return (self,)

    @property
    def model(self) -> PyTree:
        return self.component.model

    @property
    def prior(self) -> Independent:
        return self.component.prior


def outputs(component: Component, values: Sequence[Value]) -> list[Value]:
    """What each logical value of the input is to become.

    Raises:
        DeclarationError: If the truth table lacks one of them.
    """
    table = None if component.logic is None else dict(component.logic)
    for value in values:
        if table is not None and value not in table:
            raise DeclarationError(
                "logic",
                got=f"a table without the input value {value!r}",
                expected=f"an output value for each of {list(values)}",
                mend="complete the truth table; a component with two inputs reads tuples",
            )
    return [value if table is None else table[value] for value in values]


def output_shape(model: PyTree, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what a model makes of one value of a shape.

    Raises:
        DeclarationError: If it does not take such a value.
    """
    x = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    fits = f"a model of one value of shape {shape}"
    mend = "match the model's input to its data, or to the interface before it"
    with errors_named("model", expected=fits, mend=mend):
        return eqx.filter_eval_shape(lambda model, x: jnp.asarray(model(x)), model, x).shape


def _rows(component: Component, assume: Interface, guarantee: Interface) -> tuple[int, ...]:
    """Which value of the output each value of the input is to become."""
    pairs = list(zip(assume.values, outputs(component, assume.values), strict=True))
    for value, wanted in pairs:
        if wanted not in guarantee.values:
            raise DeclarationError(
                "logic",
                got=f"{value!r} -> {wanted!r}, which the output interface does not have",
                expected=f"one of {list(guarantee.values)}",
                mend="give the component its logic (the default is the identity), or relabel",
            )
    return tuple(guarantee.values.index(wanted) for _, wanted in pairs)


def _check_shapes(model: PyTree, assume: Interface, guarantee: Interface) -> None:
    shape = output_shape(model, (assume.dim,))
    if shape != (guarantee.dim,) and not (shape == () and guarantee.dim == 1):
        raise DeclarationError(
            "model",
            got=f"an output of shape {shape}",
            expected=f"shape ({guarantee.dim},), the dimension of the interface after it",
            mend="match the model's output to the interface",
        )
