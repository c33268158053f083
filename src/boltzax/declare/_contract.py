"""Components, contracts and circuits: who promises what to whom."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core import DeclarationError, Key, Model, Said, Whole, typed, whole
from ._energy import AbstractTerm
from ._extremes import greatest, least, lesser
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
    Pressure" (2023). The word is of Benveniste et al. (2018), "Contracts for System Design",
    Found. Trends Electron. Des. Autom. 12:124.
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
        y = image[:, :, None, :]
        worst = least(greatest(least(lesser(y - low, high - y))))
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


@typed
class Circuit(eqx.Module):
    """Components joined by wires, with an interface on every wire.

    `interfaces` are those of the wires: first the inputs of the whole circuit, then the output of
    each component in turn. `wires[i]` names the wires that component `i` reads, each of them an
    input or the output of an earlier component; the component sees their values end to end, and its
    logic a tuple of logical values if there are several. Without `wires` the components are in
    series: component `i` reads wire `i` and writes wire `i + 1`.

    The components satisfy the interfaces if and only if each of them keeps its contract. Raises
    `DeclarationError` for wrong counts, wires, dimensions or logical values.
    """

    components: tuple[Component, ...]
    interfaces: tuple[Interface, ...]
    wires: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def __init__(
        self,
        components: Sequence[Component],
        interfaces: Sequence[Interface],
        wires: Sequence[Sequence[Whole]] | None = None,
        *,
        points: Points = 33,
    ):
        self.components, self.interfaces = tuple(components), tuple(interfaces)
        count = len(self.components)
        if wires is None:
            wires = [(i,) for i in range(count)]
        self.wires = tuple(tuple(reads) for reads in wires)
        self.points = points
        inputs = len(self.interfaces) - count
        if count == 0 or inputs < 1 or len(self.wires) != count:
            raise DeclarationError(
                "interfaces",
                got=f"{count} components, {len(self.interfaces)} interfaces, "
                f"{len(self.wires)} wires",
                expected="an interface for each input and for the output of each component",
                mend="for n components in series give n + 1 interfaces",
            )
        for i, reads in enumerate(self.wires):
            if not reads or any(not 0 <= w < inputs + i for w in reads):
                raise DeclarationError(
                    f"wires[{i}]",
                    got=str(reads),
                    expected=f"inputs or outputs of earlier components: 0 to {inputs + i - 1}",
                    mend="put the components in an order in which each reads what exists",
                )
        _ = self.contracts

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """The contract of each component: what it reads, and what it must write."""
        inputs = len(self.interfaces) - len(self.components)
        found = []
        for i, component in enumerate(self.components):
            assume = self.interfaces[self.wires[i][0]]
            for wire in self.wires[i][1:]:
                assume = assume @ self.interfaces[wire]
            after = self.interfaces[inputs + i]
            found.append(Contract(component, assume, after, points=self.points))
        return tuple(found)

    @property
    def model(self) -> tuple[PyTree, ...]:
        """The models of all components."""
        return tuple(component.model for component in self.components)

    @property
    def prior(self) -> Independent:
        """The joint prior: independent components, paths prefixed by their place, `[0].weight`."""
        return Independent(
            {
                f"[{i}].{pattern}": distribution
                for i, component in enumerate(self.components)
                for pattern, distribution in component.prior.by_pattern.items()
            }
        )

    def margin(self, models: Sequence[Model]) -> Float[Array, ""]:
        """The smallest margin of the contracts, each in units of its own output."""
        pairs = zip(self.contracts, models, strict=True)
        return least(jnp.stack([contract.margin(model) for contract, model in pairs]))

    def output(self, models: Sequence[Model], *inputs: Float[Array, "..."]) -> PyTree:
        """What comes out at the last component for given input values, `[dim]` each."""
        signals = [jnp.atleast_1d(x) for x in inputs]
        for model, reads in zip(models, self.wires, strict=True):
            signals.append(jnp.atleast_1d(model(jnp.concatenate([signals[w] for w in reads]))))
        return signals[-1]


@typed
def Chain(
    components: Sequence[Component], interfaces: Sequence[Interface], *, points: Points = 33
) -> Circuit:
    """The circuit of components in series: `interfaces[i]` before, `interfaces[i + 1]` after
    component `i`."""
    if len(interfaces) != len(components) + 1:
        raise DeclarationError(
            "interfaces",
            got=f"{len(interfaces)} for {len(components)} components",
            expected=f"{len(components) + 1}: one at each end and one at each joint",
            mend="add or drop an interface; for other wiring use bx.Circuit",
        )
    return Circuit(components, interfaces, points=points)


@typed
class Violation(AbstractTerm):
    """`E(w) = max(0, -margin(w))`: zero exactly where the contract (or circuit) holds.

    In units of the output. It is the largest violation and not its square: then the partition
    function at temperature T is `Z(T) = e^H + O(T)`, with a square only `O(√T)`.
    """

    contract: Contract | Circuit
    model: PyTree

    def __init__(self, contract: Contract | Circuit, model: Model | None = None):
        self.contract = contract
        self.model = contract.model if model is None else model

    def value(self, model: Model) -> Float[Array, ""]:
        margin = self.contract.margin(model)
        return jnp.where(margin < 0, -margin, 0.0)

    def estimate(self, model: Model, key: Key) -> Float[Array, ""]:
        return self.value(model)


def _rows(component: Component, assume: Interface, guarantee: Interface) -> tuple[int, ...]:
    """Which value of the output each value of the input is to become."""
    table = None if component.logic is None else dict(component.logic)
    rows = []
    for value in assume.values:
        if table is not None and value not in table:
            raise DeclarationError(
                "logic",
                got=f"a table without the input value {value!r}",
                expected=f"an output value for each of {list(assume.values)}",
                mend="complete the truth table; a component with two inputs reads tuples",
            )
        wanted = value if table is None else table[value]
        if wanted not in guarantee.values:
            raise DeclarationError(
                "logic",
                got=f"{value!r} -> {wanted!r}, which the output interface does not have",
                expected=f"one of {list(guarantee.values)}",
                mend="give the component its logic (the default is the identity), or relabel",
            )
        rows.append(guarantee.values.index(wanted))
    return tuple(rows)


def _check_shapes(model: PyTree, assume: Interface, guarantee: Interface) -> None:
    x = jax.ShapeDtypeStruct((assume.dim,), jnp.result_type(float))
    try:
        out: Any = eqx.filter_eval_shape(lambda model, x: jnp.asarray(model(x)), model, x)
    except Exception as error:
        raise DeclarationError(
            "model",
            got=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}",
            expected=f"a model of one value x of shape ({assume.dim},)",
            mend="match the model's input to the dimension of the interface before it",
        ) from error
    if out.shape != (guarantee.dim,) and not (out.shape == () and guarantee.dim == 1):
        raise DeclarationError(
            "model",
            got=f"an output of shape {out.shape}",
            expected=f"shape ({guarantee.dim},), the dimension of the interface after it",
            mend="match the model's output to the interface",
        )
