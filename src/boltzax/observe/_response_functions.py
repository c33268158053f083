"""Functions of the model whose covariances are taken: losses, energies, flat values."""

from collections.abc import Callable
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..compile import check_function
from ..core import (
    DeclarationError,
    ModelFunction,
    function_errors,
    given_numbers,
    shapes_of,
    weights_of,
    with_weights,
)
from ..declare import AbstractDataTerm, AbstractEnergy, Localisation

Observable: TypeAlias = ModelFunction | AbstractEnergy
"""A function of the model that gives arrays, or an energy, whose value is meant."""


class DatumLosses(eqx.Module):
    """The losses of some data, as β multiplies them."""

    factor: Array | float
    term: AbstractDataTerm
    points: PyTree
    tokens: Callable | None = None

    def __call__(self, model: PyTree) -> Float[Array, " loss"]:
        here = with_weights(self.term.model, weights_of(model))
        loss = self.term.loss if self.tokens is None else self.tokens
        losses = self.factor * jax.vmap(lambda z: loss(here, z))(self.points)
        return losses if self.tokens is None else losses.reshape(-1)

    @property
    def count(self) -> int:
        """The number of data."""
        return jax.tree.leaves(self.points)[0].shape[0]


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
    argument: str = eqx.field(static=True, default="observable")

    def __call__(self, model: PyTree) -> PyTree[Array]:
        values = given_numbers(self.argument, self.function(model))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), values)


class Flat(eqx.Module):
    """All numbers that a function returns, as one vector."""

    function: Callable

    def __call__(self, model: PyTree) -> Float[Array, " number"]:
        leaves = jax.tree.leaves(self.function(model))
        return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])


def checked_function(declared: PyTree, argument: str, observable: Observable) -> Values | Floating:
    """A function of the model with floating values, from a function or an energy."""
    if isinstance(observable, AbstractEnergy):
        check_energy(declared, argument, observable)
        return Values(observable)
    function = Floating(observable, argument)
    with function_errors(argument):
        values = eqx.filter_eval_shape(function, declared)
    if not jax.tree.leaves(values):
        raise DeclarationError(
            argument,
            got="a function that gives no arrays",
            expected="an array or a pytree of arrays for each model",
            mend="return what the function computes",
        )
    return function


def check_own_energy(declared: PyTree, argument: str, energy: AbstractEnergy) -> None:
    """`check_energy`, and raise for an energy of another function of the same weights too."""
    check_energy(declared, argument, energy)
    for _, term in energy.terms():
        check_function(declared, term.model, argument)


def check_energy(declared: PyTree, argument: str, energy: AbstractEnergy) -> None:
    """Raise `DeclarationError` for an energy of other weights, or with a `Localisation`."""
    shapes = shapes_of(declared)
    for _, term in energy.terms():
        if isinstance(term, Localisation):
            raise DeclarationError(
                argument,
                got="a Localisation",
                expected="energies that beta multiplies",
                mend="a Localisation belongs to the prior; perturb by a data energy",
            )
        given = shapes_of(term.model)
        if given != shapes:
            raise DeclarationError(
                argument,
                got=f"an energy of a model with weights {given}",
                expected=f"the compiled model, with weights {shapes}",
                mend="declare it with the model that was compiled",
            )
