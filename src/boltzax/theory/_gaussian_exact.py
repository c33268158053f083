"""Closed forms: Gaussian weights with a quadratic energy, and the smallest singular model."""

from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import k0e, k1e

from ..core import typed
from ._arguments import Spectrum, log_counts
from ._result import ExactFreeEnergy


@typed
def quadratic_exact(
    eigenvalues: Spectrum, log_n: Annotated[ArrayLike, log_counts(700)]
) -> ExactFreeEnergy:
    """The free energy of `K(w) = ½ Σ μ_i w_i²` under `w_i ~ N(0, 1)`, at n = exp(log_n).

    `log Z = -½ Σ log(1 + nμ_i)`, `-∂ log Z/∂ log n = ½ Σ nμ_i/(1 + nμ_i)`, a Gaussian integral.
    The slope is half the effective number of parameters of MacKay 1992, Neural Computation 4:415.

    Args:
        eigenvalues: The `μ_i`.
        log_n: Natural logarithms of n.

    Raises:
        DeclarationError: A negative eigenvalue or `|log_n|` above 700.
    """
    log_n = np.asarray(log_n)
    mu = np.asarray(eigenvalues, dtype=np.float64).ravel()
    with np.errstate(divide="ignore"):
        exponent = log_n[..., None] + np.log(mu)
    log_z = -0.5 * np.sum(np.logaddexp(0.0, exponent), axis=-1)
    slope = 0.5 * np.sum(np.exp(-np.logaddexp(0.0, -exponent)), axis=-1)
    return ExactFreeEnergy(log_z, slope, np.full_like(log_z, 1e-15))


@typed
def linear_unit_exact(log_n: Annotated[ArrayLike, log_counts(700)]) -> ExactFreeEnergy:
    """The free energy of one linear hidden unit, `K(a, b) = ½ a² b²` under `a, b ~ N(0, 1)`.

    With `z = 1/(4n)` and modified Bessel functions, ::

        log Z = -½ log(2πn) + z + log K_0(z),    -∂ log Z/∂ log n = ½ + z - z K_1(z)/K_0(z).

    From `Z = E_b (1 + nb²)^(-½)` and DLMF 10.32.9 with `b² = (cosh t - 1)/(2n)`. Its limit is
    `normal_crossing((1, 1))`: ½ with multiplicity 2, approached as `½ - 1/log n`.

    Raises:
        DeclarationError: `|log_n|` above 700.
    """
    log_n = np.asarray(log_n)
    z = 0.25 * np.exp(-log_n)
    far = z > _FAR
    near = np.where(far, 1.0, z)
    log_z = -0.5 * (np.log(2 * np.pi) + log_n) + np.log(k0e(near))
    slope = 0.5 + near - near * k1e(near) / k0e(near)
    excess, derivative = _large(np.where(far, z, _FAR))
    log_z = np.where(far, np.log1p(excess), log_z)
    slope = np.where(far, derivative / (1 + excess), slope)
    return ExactFreeEnergy(log_z, slope, 4e-16 * np.maximum(1.0, near))


_FAR = 30.0


def _large(z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`S - 1` and `z dS/dz`, `K_0(z) = √(π/2z) exp(-z) S(z)` for z above 30 (DLMF 10.40.2).

    For small n, `log Z` is computed from these two, because larger terms would cancel.
    """
    excess, derivative, term = np.zeros_like(z), np.zeros_like(z), np.ones_like(z)
    for k in range(1, 40):
        term = -term * (2 * k - 1) ** 2 / (8 * k * z)
        excess, derivative = excess + term, derivative - k * term
    return excess, derivative
