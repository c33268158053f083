"""Thermodynamic integration along a ladder, every interval with its own error."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..sample import Bridges


def integration_series(bridges: Bridges) -> tuple[Float[Array, "level chain draw"], np.ndarray]:
    """A series whose mean is `∫_0^{β_k} ⟨E⟩ dβ`, and the error of the rule at each level.

    The rule is the cubic Hermite rule in `u = log(1 + β/β_0)`, where `β_0 = (⟨E⟩ - E_min)/Var E` at
    the prior and `E_min` is the lowest energy seen. In this variable the integrand is
    `dF/du = (β + β_0) ⟨E - E_min⟩`, constant for energies with a Gamma law (`E ∝ χ²`), smooth from
    `β = 0` on, and flat where `β ⟨E⟩` tends to a learning coefficient. Its slopes come from the
    variances: `d²F/du² = dF/du - (β + β_0)² Var E`.

    Error of an interval of length `h` with values `g` and slopes `s` at its ends: the cubic rule is
    the mean of the two quadratic rules that leave one slope out. Half their distance,
    `|h (g_0 - g_1)/6 + h² (s_0 + s_1)/12|`, bounds the cubic rule's error for smooth integrands,
    being of one order less. It changes sign, and vanishes for some integrands that are not cubic:
    what the slopes change, `h² (s_0 - s_1)/12`, is added to it in squares. Errors of intervals add
    in squares.
    """
    betas = np.asarray(bridges.betas, float)
    energy = np.asarray(bridges.energy, float)
    centred = energy - energy.mean(axis=(1, 2), keepdims=True)
    variance = centred**2 + np.asarray(bridges.energy_variance, float)
    increments, errors = hermite(betas, energy, variance)
    zero = np.zeros((1, *energy.shape[1:]))
    series = np.concatenate([zero, np.cumsum(increments, axis=0)])
    rule = np.sqrt(np.concatenate([[0.0], np.cumsum(errors**2)]))
    return jnp.asarray(series, bridges.up.dtype), rule


def hermite(
    betas: np.ndarray, energy: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Integral of the energy over each interval `[pair, ...]`, and the rule's errors `[pair]`."""
    wide = (slice(None), None, None)
    lowest = energy.min()
    spread = variance[0].mean()
    scale = (energy[0].mean() - lowest) / spread if spread > 0 else 1.0
    scale = scale if np.isfinite(scale) and scale > 0 else 1.0
    shifted = (betas + scale)[wide]
    value = shifted * (energy - lowest)
    slope = value - shifted**2 * variance
    width = np.diff(np.log1p(betas / scale))[wide]
    correction = width**2 / 12 * (slope[:-1] - slope[1:])
    increments = width / 2 * (value[:-1] + value[1:]) + correction
    increments = increments + lowest * np.diff(betas)[wide]
    value, slope = (each.mean(axis=(1, 2), keepdims=True) for each in (value, slope))
    halves = width / 6 * (value[:-1] - value[1:]) + width**2 / 12 * (slope[:-1] + slope[1:])
    return increments, np.hypot(halves, correction.mean(axis=(1, 2), keepdims=True))[:, 0, 0]
