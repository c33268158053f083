"""Checks of a declaration, by shape and by known values."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core import (
    DeclarationError,
    Reader,
    at_hand,
    eager,
    errors_named,
    finite,
    known,
    refuted,
    settings_of,
    shared_weights,
    weights_of,
)
from ..declare import (
    AbstractCountedTerm,
    AbstractDataTerm,
    AbstractEnergy,
    AbstractTerm,
    Localisation,
    Temperature,
    amount,
    check_loss,
    check_model,
)
from ._coordinates import Coordinates

FLOAT32_BETA = 1e6
"""Above this beta times mass, a loss of order one has an error of more than 0.1 nats in float32."""


def check_terms(energy: AbstractEnergy) -> tuple[tuple[Array | float, AbstractTerm], ...]:
    """The terms of an energy, after a check of each.

    Raises:
        DeclarationError: Naming `energy`, `model`, `measure`, `target` or `count`.
    """
    terms = energy.terms()
    if all(isinstance(term, Localisation) for _, term in terms):
        raise DeclarationError(
            "energy",
            got="no term but the localisation, which belongs to the prior",
            expected="at least one term that looks at data, or a violation of interfaces",
            mend="add a SquaredError, CrossEntropy, PerDatum or Violation term",
        )
    for factor, term in terms:
        _check_factor(factor, term)
        check_model(term.model)
        if isinstance(term, AbstractDataTerm):
            _check_mass(term)
            check_loss(term, term.model)
    return terms


def check_masses(terms) -> tuple[Array, ...]:
    """The sample size n of each data term, by default the mass of its measure; 1 without any.

    Raises:
        DeclarationError: For a `count` that is no number, or gives no positive, finite n.
    """
    masses = [_checked_amount(term) for _, term in terms if isinstance(term, AbstractDataTerm)]
    return tuple(jnp.asarray(mass) for mass in masses) or (jnp.ones(()),)


def _check_factor(factor: Array | float, term: AbstractTerm) -> None:
    if not known(factor):
        return
    if not math.isfinite(float(factor)) or float(factor) < 0:
        raise DeclarationError(
            "energy",
            got=f"the factor {float(factor)} before {type(term).__name__}",
            expected="a finite, non-negative factor",
            mend="an energy without lower bound has no Gibbs measure; for the response to such a "
            "term use bx.susceptibility",
        )


def _check_mass(term: AbstractDataTerm) -> None:
    measure = term.measure
    if measure.signed:
        raise DeclarationError(
            "measure",
            got="a signed measure",
            expected="non-negative weights for a posterior",
            mend="signed measures are perturbations: differentiate along mu + h * (nu - mu) "
            "instead of sampling them",
        )
    if not known(measure.mass):
        return
    mass = float(measure.mass)
    if not (math.isfinite(mass) and mass > 0):
        raise DeclarationError(
            "measure",
            got=f"mass {mass}",
            expected="a positive, finite mass",
            mend="check the weights and factors of the measure",
        )


def _checked_amount(term: AbstractDataTerm) -> Array:
    """The sample size n of a term, which is positive."""
    if not isinstance(term, AbstractCountedTerm) or term.unit == "data":
        return amount(term)
    with errors_named(
        "count",
        expected="a function of one datum that gives a number",
        mend="pass a function of one datum, e.g. `lambda z: z.shape[0]`",
    ):
        total = amount(term)
    if known(total) and (
        jnp.shape(total) != () or not (math.isfinite(float(total)) and float(total) > 0)
    ):
        raise DeclarationError(
            "count",
            got=f"{total} {term.unit}",
            expected="a positive, finite sample size n",
            mend="check the mask, `ignore` and `count`",
        )
    return total


def check_weights(terms) -> tuple[PyTree, dict[str, Array]]:
    """The model that all terms share, and its weights by path."""
    models = [term.model for _, term in terms if not isinstance(term, Localisation)]
    model, weights = models[0], weights_of(models[0])
    if not weights:
        raise DeclarationError(
            "model",
            got=f"{type(model).__name__} without weights",
            expected="a pytree with floating-point arrays",
            mend="weights are floating-point arrays: turn numbers into arrays, or wrap a function "
            "and its parameters in bx.models.Function(fn, params)",
        )
    structure = {path: jnp.shape(leaf) for path, leaf in weights.items()}
    for _, term in terms:
        other = {path: jnp.shape(leaf) for path, leaf in weights_of(term.model).items()}
        if other != structure:
            raise DeclarationError(
                "energy",
                got=f"terms over different models: {structure} and {other}",
                expected="one model in every term",
                mend="pass the same model to each term",
            )
    kind = jnp.result_type(float)
    for path, leaf in weights.items():
        _check_leaf(path, leaf, kind)
    return model, {path: jnp.asarray(leaf, kind) for path, leaf in weights.items()}


def check_shared(energy: AbstractEnergy, coordinates: Coordinates) -> None:
    """Check that one variable of flax nnx at several places is tied, or does not move.

    Raises:
        DeclarationError: Naming `model`, for places that would move apart.
    """
    shared = {}
    for _, term in energy.terms():
        shared |= shared_weights(term.model)
    moving = {*coordinates.priors, *coordinates.ties}
    apart = {
        path: first
        for path, first in shared.items()
        if {path, first} & moving
        and coordinates.ties.get(path, path) != coordinates.ties.get(first, first)
    }
    if apart:
        path, first = next(iter(apart.items()))
        raise DeclarationError(
            "model",
            got=f"one nnx.Param at two places, {first!r} and {path!r}, which would move apart",
            expected="weights that are independent, or tied by a chart",
            mend=f"pass chart=bx.Tie({apart})",
        )


def check_settings(declared: PyTree, model: PyTree) -> None:
    """Check that a model has the same settings (numbers that are not weights) as the declared one.

    Energies are evaluated with the settings of the declared model.
    """
    if declared is model:
        return
    given = settings_of(model)
    for path, leaf in settings_of(declared).items():
        other = given.get(path)
        if not known(leaf, other):
            continue
        if other is None or not np.array_equal(leaf, other, equal_nan=True):
            raise DeclarationError(
                f"model.{path}",
                got=f"{other!r:.60}",
                expected=f"the declared model's setting, {leaf!r:.60}",
                mend="compile a declaration of this model: settings are not weights",
            )


def check_function(declared: PyTree, model: PyTree, argument: str = "model") -> None:
    """Check that a model is the same function of its weights as the declared one.

    Energies are evaluated with the declared model and the weights of the given one. So classes,
    static fields and functions must be equal, including all code of the user that they call.
    """
    if declared is model:
        return

    def read(tree: PyTree) -> dict[str, Any]:
        bare = jax.tree.map(lambda leaf: leaf if callable(leaf) else None, tree)
        return dict(Reader().walk("model", bare))

    here, there = read(declared), read(model)
    differing = [path for path in {**here, **there} if here.get(path) != there.get(path)]
    if differing:
        raise DeclarationError(
            argument,
            got=f"a model with another `{differing[0]}` than the declared one",
            expected="the declared model with other weights",
            mend="compile a declaration of this model, or change the weights of the declared one, "
            "e.g. by eqx.tree_at",
        )


def _check_leaf(path: str, leaf: Array, kind) -> None:
    dtype = jnp.result_type(leaf)
    if dtype != kind:
        raise DeclarationError(
            f"model.{path}",
            got=f"dtype {dtype}",
            expected=f"{kind}, the precision this process computes in",
            mend="make the weights with jnp under the precision you want "
            '(jax.config.update("jax_enable_x64", True) before anything else for float64)',
        )
    if jnp.size(leaf) == 0:
        raise DeclarationError(
            f"model.{path}",
            got=f"shape {jnp.shape(leaf)}",
            expected="at least one entry",
            mend="remove empty leaves from the model",
        )
    if refuted(finite, leaf):
        raise DeclarationError(
            f"model.{path}",
            got="a NaN or infinite weight",
            expected="finite weights",
            mend="check the training run that made them",
        )


def check_beta(beta: float | Array | Temperature, masses: tuple[Array, ...]) -> Array:
    """The inverse temperature as an array; a `Temperature` is divided by the mass of the data."""
    if isinstance(beta, Temperature):
        alone = len(masses) == 1
        if not alone and not (known(masses) and np.allclose(masses, masses[0])):
            unknown = "" if known(masses) else " (or of masses that are traced)"
            raise DeclarationError(
                "beta",
                got=f"a Temperature for data terms of different mass{unknown}",
                expected="one mass, to turn the mean loss into a sum",
                mend="pass beta as a number",
            )
        beta = beta.beta(float(masses[0]) if known(masses) else masses[0])
    value = jnp.asarray(beta, float)
    check_betas("beta", value, masses)
    return value


@eager
def check_betas(argument: str, betas: Array, masses) -> None:
    """Check that betas are finite, not negative, and not too large for float32."""
    if not known(betas):
        return
    values = at_hand(betas)
    if not values.size or not np.all(finite(values)):
        raise DeclarationError(
            argument,
            got=f"{betas}",
            expected="finite values (in this precision)",
            mend="use float64 for beta above 1e38, and check for NaN",
        )
    if np.any(values < 0):
        raise DeclarationError(
            argument,
            got=f"{betas}",
            expected="beta >= 0",
            mend="beta multiplies the energy; for the other sign change the energy",
        )
    if not known(masses):
        return
    largest = float(values.max()) * max(float(mass) for mass in masses)
    if jnp.result_type(float) == jnp.float32 and largest > FLOAT32_BETA:
        raise DeclarationError(
            argument,
            got=f"beta times mass = {largest:.3g} in float32",
            expected=f"at most {FLOAT32_BETA:.0e} in float32",
            mend='switch on float64: jax.config.update("jax_enable_x64", True) at the top',
        )
