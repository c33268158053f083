"""Susceptibilities: the response of an observable to a perturbation of the energy."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core import (
    MEMORY,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    model_errors,
    typed,
    weights_of,
    with_weights,
)
from ..declare import AbstractEnergy, Localisation
from ..sample import AbstractDrawn, Trace, trace_of


@typed
@model_errors("in bx.susceptibility")
def susceptibility(
    trace: Trace | AbstractDrawn,
    observable: Callable | AbstractEnergy,
    perturbation: AbstractEnergy,
    *,
    key: Key | None = None,
    memory: Memory = MEMORY,
) -> PyTree[Estimate]:
    """`d⟨A⟩/dh = -β Cov(A, B)` at `h = 0`, for the energy `E + h B`; shape `[*beta, *shape of A]`.

    Units: those of A, since h is a number and `β B` is in nats.

    The covariance is that of all draws together, with n - 1; its error is that of the mean of
    `(A - ⟨A⟩)(B - ⟨B⟩)` as an autocorrelated series. The weights that a `chart` froze do not move,
    so a run with a chart gives the response of that part of the model alone.

    Fluctuation and response: Kubo 1957, J. Phys. Soc. Japan 12:570. For models of data: Baker et
    al. 2025, arXiv:2504.18274, whose χ is this divided by β (nβ there).

    Args:
        observable: `A`, a function of the model that gives an array or a pytree of arrays (one
            `Estimate` for each), or an energy, whose value it then is.
        perturbation: `B`. Energies are linear in their measure, so a perturbation of the data from
            `mu` to `mu + h (nu - mu)` is the declared energy over `nu - mu`.
        key: For weights that were integrated out, which are drawn again, as in `trace.evaluate`.
        memory: Bytes of intermediate values at once, as in `trace.evaluate`.

    Raises:
        DeclarationError: A trace without draws, a perturbation of another model, or with a
            `Localisation` in it, which β does not multiply.
    """
    trace = trace_of(trace)
    check_energy(trace, "perturbation", perturbation)
    a, b = check_observable(trace, "observable", observable), Values(perturbation)
    series, other = trace.evaluate(Both(a, b), key, memory=memory)
    axis = trace.energy.ndim - 2

    def response(values: Array) -> Estimate:
        here = _centred(values, axis)
        there = _centred(other, axis)
        count = other.shape[axis] * other.shape[axis + 1]
        product = here * there.reshape((*other.shape, *(1,) * (here.ndim - other.ndim)))
        mean = trace.mean_of(product)
        betas = trace.betas.reshape((*trace.betas.shape, *(1,) * (here.ndim - axis - 2)))
        return mean.scaled(-betas * (count / max(count - 1, 1)))

    return jax.tree.map(response, series)


class Values(eqx.Module):
    """The value of an energy as a function of the model."""

    energy: AbstractEnergy

    def __call__(self, model: PyTree) -> Float[Array, ""]:
        weights = weights_of(model)
        parts = [
            factor * term.value(with_weights(term.model, weights))
            for factor, term in self.energy.terms()
        ]
        return sum(parts, jnp.zeros(()))


class Both(eqx.Module):
    """Two functions of the model as one."""

    first: Callable
    second: Callable

    def __call__(self, model: PyTree) -> tuple[PyTree, PyTree]:
        return self.first(model), self.second(model)


class Floating(eqx.Module):
    """A function of the model, with floating values."""

    function: Callable

    def __call__(self, model: PyTree) -> PyTree[Array]:
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), self.function(model))


def check_observable(
    trace: Trace, argument: str, observable: AbstractEnergy | Callable
) -> Values | Floating:
    """A function of the model with floating values, from a function or an energy."""
    if isinstance(observable, AbstractEnergy):
        check_energy(trace, argument, observable)
        return Values(observable)
    function = Floating(observable)
    if not jax.tree.leaves(eqx.filter_eval_shape(function, trace.gibbs.declared)):
        raise DeclarationError(
            argument,
            got="a function that gives no arrays",
            expected="an array or a pytree of arrays for each model",
            mend="return what the function computes",
        )
    return function


def check_energy(trace: Trace, argument: str, energy: AbstractEnergy) -> None:
    """An energy of the traced model, or a `DeclarationError`."""
    shapes = {path: jnp.shape(leaf) for path, leaf in weights_of(trace.gibbs.declared).items()}
    for _, term in energy.terms():
        if isinstance(term, Localisation):
            raise DeclarationError(
                argument,
                got="a Localisation",
                expected="energies that beta multiplies",
                mend="a Localisation belongs to the prior; perturb by a data energy",
            )
        given = {path: jnp.shape(leaf) for path, leaf in weights_of(term.model).items()}
        if given != shapes:
            raise DeclarationError(
                argument,
                got=f"an energy of a model with weights {given}",
                expected=f"the model of the trace, with weights {shapes}",
                mend="declare it with the model that was compiled",
            )


def _centred(values: Array, axis: int) -> Array:
    return values - jnp.mean(values, axis=(axis, axis + 1), keepdims=True)
