"""Mean losses to compare an estimate with: of w*, the localising prior, the best constant."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..compile import Gibbs
from ..declare import (
    AbstractDataTerm,
    AbstractEnergy,
    CrossEntropy,
    SquaredError,
    total_amount,
)
from ._local_cost import PRIOR_DRAWS


class Losses(NamedTuple):
    """Losses over the mass of the data, in the units of the energy; None where not known.

    Args:
        at_minimum: Of w*.
        of_prior: Median of draws of the localising prior alone.
        of_constant: Of the best prediction that does not depend on the input.
        residual_variance: Mean squared residual of w*, over data and outputs, in units of the noise
            variance that the loss assumes: 1, or 1/c for c times a squared error.
    """

    at_minimum: float
    of_prior: float
    of_constant: float | None
    residual_variance: float | None


def losses(
    energy: AbstractEnergy, gibbs: Gibbs, key: PRNGKeyArray, batches: bool = False
) -> Losses:
    """The losses that an estimate at w* is compared with.

    Args:
        energy: As declared.
        gibbs: The localised posterior, its energies counted from that of w*.
        key: For the draws of the prior.
        batches: Whether their losses are of one minibatch each, or over all data.
    """
    mass, reference = data_mass(gibbs), float(gibbs.reference_energy)
    of_prior = reference + np.asarray(_prior_energies(gibbs, key, batches), float)
    of_prior = float(np.median(np.where(np.isnan(of_prior), np.inf, of_prior)))
    constant, variance = _of_one_term(energy, gibbs)
    constant = None if constant is None else constant / mass
    return Losses(reference / mass, of_prior / mass, constant, variance)


def data_mass(gibbs: Gibbs) -> float:
    """What divides the energy to a mean loss, as in `total_amount`."""
    return float(total_amount(gibbs.masses))


@eqx.filter_jit
def _prior_energies(gibbs: Gibbs, key: PRNGKeyArray, batches: bool) -> Float[Array, " draw"]:
    def at_draw(key):
        if not batches:
            return gibbs.energy(gibbs.sample_prior(key))
        key_draw, key_batch = jax.random.split(key)
        return gibbs.energy_estimate(gibbs.sample_prior(key_draw), key_batch)

    return jax.lax.map(at_draw, jax.random.split(key, PRIOR_DRAWS))


def _of_one_term(energy: AbstractEnergy, gibbs: Gibbs) -> tuple[float | None, float | None]:
    """Energy of the best constant, and the residual variance of w*; None where not known."""
    data = [(f, term) for f, term in energy.terms() if isinstance(term, AbstractDataTerm)]
    if len(data) != 1 or not isinstance(data[0][1], SquaredError | CrossEntropy):
        return None, None
    factor, term = float(data[0][0]), data[0][1]
    if isinstance(term, CrossEntropy):
        return factor * float(_best_logits(term)), None
    best, variance = _best_mean(term, gibbs)
    return factor * float(best), factor * float(variance)


class Constant(eqx.Module):
    """A model that does not depend on its input."""

    value: Array

    def __call__(self, x) -> Array:
        return self.value


def _output_shape(term: SquaredError | CrossEntropy) -> tuple[int, ...]:
    points, _ = term.measure.nodes()
    datum = jax.tree.map(lambda leaf: leaf[0], points)
    has_label = term.target is None
    return eqx.filter_eval_shape(lambda m, z: m(z[0] if has_label else z), term.model, datum).shape


@eqx.filter_jit
def _best_mean(term: SquaredError, gibbs: Gibbs) -> tuple[Array, Array]:
    """`½ ∫ |y - ȳ|²`, and `∫ |r|²` of w* a datum and output.

    The first is computed from value and slope at a constant that is the mean up to rounding, so
    that no digits are lost where the labels are far from 0.
    """
    mass = term.measure.mass
    zero = jnp.zeros(_output_shape(term), jnp.result_type(float))

    def value(c):
        return term.measure.integrate(lambda z: term.loss(Constant(c), z))

    about = -jax.grad(value)(zero) / mass
    at_mean, slope = jax.value_and_grad(value)(about)
    best = at_mean - 0.5 * jnp.sum(slope**2) / mass
    variance = 2 * term.value(gibbs.declared) / (mass * max(zero.size, 1))
    return best, variance


@eqx.filter_jit
def _best_logits(term: CrossEntropy) -> Array:
    """`Σ_y N_y log(N/N_y)`: the counts of the labels from value and slope at logits 0.

    One law of the labels for all positions of a sequence. At logits 0 the loss of a label is
    `log K`, and its slope in a logit is `1/K` minus the label's fraction.
    """
    shape = _output_shape(term)
    classes = shape[-1:] or ()

    def value(c):
        logits = jnp.broadcast_to(c, shape)
        return term.measure.integrate(lambda z: term.loss(Constant(logits), z))

    at_zero, slope = jax.value_and_grad(value)(jnp.zeros(classes))
    count = classes[0] if classes else 2
    total = at_zero / jnp.log(count)
    labels = total / count - slope
    labels = labels if classes else jnp.stack([labels, total - labels])
    labels = jnp.maximum(labels, 0.0)
    return jnp.sum(jnp.where(labels > 0, labels * jnp.log(total / labels), 0.0))
