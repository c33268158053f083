"""Laws that hold for all declarations, as functions that raise `AssertionError` where one fails."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from boltzax.compile import Gibbs, Weights, compile
from boltzax.core import Key, Positive, typed, weights_of, with_weights
from boltzax.declare import (
    AbstractDataTerm,
    AbstractEnergy,
    AbstractMeasure,
    AbstractUnitModel,
    Independent,
)
from boltzax.theory import exact_free_energy


@eqx.filter_jit
def _energies(measures: tuple[Gibbs, ...], key: PRNGKeyArray) -> Array:
    """Energies `[measure, draw]` at a few draws of the first one's prior."""

    def at(key):
        w = measures[0].sample_prior(key)
        return jnp.stack([gibbs.energy(w) for gibbs in measures])

    return jax.vmap(at)(jax.random.split(key, 4)).T


@eqx.filter_jit
def _values(gibbs: Gibbs, w: Weights) -> tuple[Array, Array, Array]:
    return gibbs.energy(w), gibbs.log_prior(w), gibbs.potential_at(w, gibbs.beta)


def _plain(energy: AbstractEnergy, prior: Independent) -> Gibbs:
    return compile(energy, prior, marginalise=False)


@typed
def check_energy_sum(
    first: AbstractEnergy,
    second: AbstractEnergy,
    prior: Independent,
    *,
    key: Key,
    rtol: Positive = 1e-10,
) -> None:
    """`compile(E_1 + E_2) = compile(E_1) + compile(E_2)`, at draws of the prior.

    Args:
        first: `E_1`.
        second: `E_2`, of the same model.
    """
    parts = tuple(_plain(energy, prior) for energy in (first + second, first, second))
    whole, *each = _energies(parts, key)
    np.testing.assert_allclose(whole, sum(each), rtol=rtol)


@typed
def check_energy_scale(
    energy: AbstractEnergy,
    factor: Positive,
    prior: Independent,
    *,
    key: Key,
    rtol: Positive = 1e-10,
) -> None:
    """`compile(c E) = c compile(E)`, at draws of the prior.

    Args:
        factor: `c`.
    """
    scaled, plain = _energies((_plain(factor * energy, prior), _plain(energy, prior)), key)
    np.testing.assert_allclose(scaled, factor * plain, rtol=rtol)


@typed
def check_measure_sum(
    term: AbstractDataTerm,
    first: AbstractMeasure,
    second: AbstractMeasure,
    prior: Independent,
    *,
    key: Key,
    rtol: Positive = 1e-10,
) -> None:
    """An energy over `mu + nu` is the energy over `mu` plus the energy over `nu`.

    Args:
        term: An energy, whose measure is replaced.
        first: `mu`.
        second: `nu`, on data of the same shape.
    """

    def over(measure):
        return _plain(eqx.tree_at(lambda t: t.measure, term, measure), prior)

    whole, *each = _energies((over(first + second), over(first), over(second)), key)
    np.testing.assert_allclose(whole, sum(each), rtol=rtol)


@typed
def check_thermodynamics(
    gibbs: Gibbs,
    betas: Array | np.ndarray | list[float],
    bounds: list[tuple[float, float]],
    *,
    rtol: Positive = 1e-6,
) -> None:
    """`F` rises with β and is concave, and `∂F/∂β = ⟨E⟩`, for a non-negative energy.

    By exact quadrature over `bounds`, for a measure of one to three coordinates (counted along
    `gibbs.sample_prior`); `bounds` must hold its prior. The derivative is that of a central
    difference of `F`.

    Args:
        betas: Where `F` is looked at.
        bounds: A pair for each coordinate.
    """
    betas = np.sort(np.asarray(betas, float))
    step = 1e-3 * betas
    hot = 1e-12 * betas[:1]
    ladder = np.concatenate([hot, betas - step, betas, betas + step])
    shapes = jax.eval_shape(gibbs.sample_prior, jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    cuts = np.cumsum([leaf.size for leaf in leaves])[:-1]

    def unflat(x):
        parts = jnp.split(x, cuts)
        shaped = [p.reshape(leaf.shape) for p, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)

    exact = exact_free_energy(
        lambda x, beta: gibbs.potential_at(unflat(x), beta),
        lambda x: gibbs.log_prior(unflat(x)),
        bounds,
        ladder,
        tolerance=1e-8,
    )
    below, f, above = np.split(exact.free_energy[1:], 3)
    energy = exact.learning_coefficient[1 + len(betas) : 1 + 2 * len(betas)] / betas
    assert np.all(energy >= -1e-12), f"a negative mean energy: {energy}"
    assert np.all(np.diff(f) >= -1e-9), f"F falls: {f} at beta = {betas}"
    assert np.all(np.diff(energy) <= 1e-9), f"F is not concave: slopes {energy}"
    np.testing.assert_allclose((above - below) / (2 * step), energy, rtol=rtol, atol=1e-7)
    mass = np.exp(-exact.free_energy[0])
    np.testing.assert_allclose(mass, 1.0, atol=1e-6, err_msg="the prior's mass")


@typed
def check_relabelling(gibbs: Gibbs, *, key: Key, rtol: Positive = 1e-10) -> None:
    """Relabelling the hidden units of the declared unit model changes nothing.

    The declared model must be an `AbstractUnitModel` with all its weights free and priors that do
    not tell units apart. Energy and log-prior are compared at a draw of the prior and at the same
    draw with its units moved on by one.
    """
    model = gibbs.declared
    assert isinstance(model, AbstractUnitModel), "relabelling is a law of unit models"
    per_unit = {"readout", *model.unit_weights()}
    assert per_unit == set(weights_of(model)), "a weight that belongs to no unit"
    w = gibbs.sample_prior(key)
    other = {path: jnp.roll(leaf, 1, axis=0) for path, leaf in w.items()}

    np.testing.assert_allclose(_values(gibbs, other), _values(gibbs, w), rtol=rtol, atol=1e-12)
    drawn = with_weights(model, gibbs.constrain(w))
    renamed = with_weights(model, gibbs.constrain(other))
    if set(w) == per_unit:
        np.testing.assert_allclose(gibbs.energy_of(renamed), gibbs.energy_of(drawn), rtol=rtol)
