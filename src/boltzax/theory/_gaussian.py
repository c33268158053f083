"""Closed forms: Gaussian weights with a quadratic energy, and the smallest singular model."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import k0e, k1e

from boltzax.core import DeclarationError

from ._check import log_counts
from ._result import ExactFreeEnergy


def quadratic_exact(eigenvalues: ArrayLike, log_n: ArrayLike) -> ExactFreeEnergy:
    """`K(w) = ½ Σ μ_i w_i²` under `w_i ~ N(0, 1)`, at n = exp(log_n).

    `log Z = -½ Σ log(1 + nμ_i)`, `-∂ log Z/∂ log n = ½ Σ nμ_i/(1 + nμ_i)`: the Gaussian integral,
    MacKay 1992, Neural Computation 4:415-447 (half his effective number of parameters).

    Raises:
        DeclarationError: A negative eigenvalue or `|log_n|` above 700.
    """
    log_n = log_counts(log_n, 700)
    mu = np.asarray(eigenvalues, dtype=np.float64).ravel()
    if not np.all((mu >= 0) & np.isfinite(mu)):
        raise DeclarationError(
            "eigenvalues",
            got=repr(eigenvalues),
            expected="finite numbers, at least 0",
            mend="pass the spectrum of the Hessian of K times the prior variance",
        )
    with np.errstate(divide="ignore"):
        exponent = log_n[..., None] + np.log(mu)
    log_z = -0.5 * np.sum(np.logaddexp(0.0, exponent), axis=-1)
    slope = 0.5 * np.sum(np.exp(-np.logaddexp(0.0, -exponent)), axis=-1)
    return ExactFreeEnergy(log_z, slope, np.full_like(log_z, 1e-15))


def linear_unit_exact(log_n: ArrayLike) -> ExactFreeEnergy:
    """`K(a, b) = ½ a² b²` under `a, b ~ N(0, 1)`, at n = exp(log_n): one linear hidden unit.

    With `z = 1/(4n)` and modified Bessel functions, ::

        log Z = -½ log(2πn) + z + log K_0(z),    -∂ log Z/∂ log n = ½ + z - z K_1(z)/K_0(z).

    From `Z = E_b (1 + nb²)^(-½)` and DLMF 10.32.9 with `b² = (cosh t - 1)/(2n)`. Its limit is
    `normal_crossing((1, 1))`: ½ with multiplicity 2, approached as `½ - 1/log n`.

    Raises:
        DeclarationError: `|log_n|` above 700.
    """
    log_n = log_counts(log_n, 700)
    z = 0.25 * np.exp(-log_n)
    log_z = -0.5 * (np.log(2 * np.pi) + log_n) + np.log(k0e(z))
    slope = 0.5 + z - z * k1e(z) / k0e(z)
    error = 4e-16 * np.maximum(1.0, z)
    return ExactFreeEnergy(log_z, slope, error)
