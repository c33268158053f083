"""What a change of one label does to a prediction."""

from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..core import (
    MEMORY,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    ModelFunction,
    got,
    model_errors,
    typed,
)
from ..declare import AbstractDataTerm, AbstractEnergy
from ..observe import influence
from ..sample import AbstractDrawn, Trace

Labelled: TypeAlias = tuple[PyTree, Array]


@typed
@model_errors("in bx.channels.label_response")
def label_response(
    trace: Trace | AbstractDrawn,
    energy: AbstractEnergy,
    prediction: ModelFunction,
    *,
    key: Key | None = None,
    memory: Memory = MEMORY,
) -> PyTree[Estimate]:
    """`d⟨A⟩/dy_j = -β Cov(A, ∂ℓ_j/∂y_j)`: the response of a prediction to the label of each datum.

    For `ℓ = (f - y)²/(2 s²)` at `β = 1` it is `Cov(A, f(x_j))/s²`: the posterior covariance. It is
    the exact derivative of the posterior mean, estimated from the draws, with the errors of
    `bx.influence`.

    Args:
        trace: A run that kept its draws.
        energy: The energy whose labels are moved: one integral over pairs `(x, y)`.
        prediction: `A`, a function of the model that gives an array or a pytree of arrays.
        key: For weights that were integrated out, which are drawn again.
        memory: Bytes of intermediate values at once.

    Returns:
        An `Estimate` `[*beta, *shape of A, datum, *shape of y]` for each array of A.

    Raises:
        DeclarationError: For an energy without labels, with several terms, or with labels that are
            no real numbers.
    """
    term = labelled_term(energy)
    label = term.measure.datum[1]
    slopes = influence(
        trace, energy, prediction, tokens=LabelSlope(term), key=key, memory=memory
    )  # fmt: skip

    def shaped(response: Estimate) -> Estimate:
        return jax.tree.map(lambda x: x.reshape(*x.shape[:-1], *label.shape), response)

    return jax.tree.map(shaped, slopes, is_leaf=lambda x: isinstance(x, Estimate))


class LabelSlope(eqx.Module):
    """`∂ℓ/∂y` of one datum, flat."""

    term: AbstractDataTerm

    def __call__(self, model: PyTree, datum: Labelled) -> Array:
        x, y = datum
        return jnp.ravel(jax.grad(lambda label: self.term.loss(model, (x, label)))(y))


def labelled_term(energy: AbstractEnergy) -> AbstractDataTerm:
    """The only data term of an energy, if its data are pairs of an input and real labels."""
    terms = [term for _, term in energy.terms() if isinstance(term, AbstractDataTerm)]
    datum = terms[0].measure.datum if len(terms) == 1 else None
    pair = isinstance(datum, tuple) and len(datum) == 2
    label = datum[1] if isinstance(datum, tuple) and pair else None
    if not (isinstance(label, jax.ShapeDtypeStruct) and jnp.issubdtype(label.dtype, jnp.floating)):
        raise DeclarationError(
            "energy",
            got=f"{len(terms)} integrals over data" if len(terms) != 1 else f"data {got(datum)}",
            expected="one integral over pairs (x, y) with real labels y",
            mend="declare it over bx.Empirical((x, y)), with y = target(x) in place of a target",
        )
    return terms[0]
