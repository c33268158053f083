"""What survives of a target at a temperature: models linear in their weights, circuits of bits."""

import math
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np
from numpy.typing import NDArray

from ..core import DeclarationError, Fraction, Said, typed
from ..numerics import root
from ._arguments import Above, Betas, Spectrum

Powers = Annotated[
    Spectrum,
    Said(
        expected="finite numbers, at least 0, one for each eigenvalue",
        mend="pass (vectors.T @ y) ** 2",
    ),
]


@typed
@final
@dataclass(frozen=True, eq=False)
class ExactSurvival:
    """What survives at given inverse temperatures, without sampling; all of the shape of `betas`.

    Args:
        survival: 1 at zero temperature, 0 where the energy does not act.
        free_energy: `F = -log Z`, nats, with `F(β=0) = 0`.
        energy: `⟨E⟩ = dF/dβ`.
        heat_capacity: `β² Var E`, dimensionless.
    """

    survival: NDArray[np.float64]
    free_energy: NDArray[np.float64]
    energy: NDArray[np.float64]
    heat_capacity: NDArray[np.float64]


@typed
def linear_survival(eigenvalues: Spectrum, powers: Powers, betas: Betas) -> ExactSurvival:
    """A target under a model that is linear in Gaussian weights, `E = ½ |f - y|²`.

    With the eigenvalues `w_i` of the prior covariance of `f` on the data (the kernel matrix, its
    rows weighted as the measure weights the data) and the powers `c_i² = (v_i·y)²` of the target
    along its eigenvectors, the overlap `⟨f⟩·y/|y|²` and the free energy are ::

        Σ c_i² βw_i/(1 + βw_i) / Σ c_i²,    F = ½ Σ log(1 + βw_i) + ½ β Σ c_i²/(1 + βw_i),

    Gaussian integrals (Rasmussen & Williams 2006, eqs. 2.25 and 2.30, with noise variance `1/β`).
    An eigenvector dies at the temperature of its eigenvalue, whatever its power.

    Args:
        eigenvalues: `w_i`.
        powers: `c_i²`, not all 0.
        betas: Inverse temperatures.

    Raises:
        DeclarationError: For numbers that are negative, or another number of powers.
    """
    w, c = _modes(eigenvalues, powers)
    beta = np.asarray(betas, np.float64)[..., None]
    # all from s = βw and the part r = 1/(1 + βw) that the data leave free
    s = beta * w
    r = 1 / (1 + s)
    free_energy = 0.5 * np.sum(np.log1p(s) + beta * c * r, axis=-1)
    energy = 0.5 * np.sum(w * r + c * r**2, axis=-1)
    capacity = np.sum(0.5 * (s * r) ** 2 + beta * c * s * r**3, axis=-1)
    survival = np.sum(c * s * r, axis=-1) / np.sum(c)
    return ExactSurvival(survival, free_energy, energy, capacity)


@typed
def linear_temperature(eigenvalues: Spectrum, powers: Powers, level: Fraction = 0.5) -> float:
    """The temperature at which `linear_survival` is `level`; of one mode `w (1 - level)/level`.

    Args:
        eigenvalues: As in `linear_survival`.
        powers: As in `linear_survival`.
        level: Of the survival.

    Raises:
        DeclarationError: As `linear_survival`; and where a part of the target above `1 - level`
            lies outside what the model can represent.
    """
    w, c = _modes(eigenvalues, powers)
    used = (w > 0) & (c > 0)
    w, c = w[used], c[used] / np.sum(c)
    if not np.sum(c) > level:
        raise DeclarationError(
            "eigenvalues",
            got=f"a share {np.sum(c):.3g} of the target along eigenvalues above 0",
            expected=f"more than the level, {level:g}",
            mend="lower `level`",
        )

    def above(log_t: float) -> float:
        return float(np.sum(c / (1 + np.exp(log_t - np.log(w))))) - level

    # one mode: T = w (share - level)/level
    edge = math.log((np.sum(c) - level) / level)
    low, high = np.log(np.min(w)) + edge - 1, np.log(np.max(w)) + edge + 1
    return math.exp(root(above, float(low), float(high)))


@typed
def circuit_survival(usefulness: Above, bits: Above, betas: Betas) -> ExactSurvival:
    """A circuit that is whole or absent: prior probability `2^-bits`, energy `-usefulness`.

    With `Z = 1 + 2^-bits (e^{βu} - 1)` the survival is the probability `2^-bits e^{βu}/Z` of the
    circuit. It falls from 1 to 0 at `circuit_temperature`, over a range of temperatures that is
    narrower the more bits there are: a first-order transition.

    Args:
        usefulness: How much the circuit lowers the energy, in its units.
        bits: Minus the binary logarithm of the prior probability of the circuit.
        betas: Inverse temperatures.

    Raises:
        DeclarationError: For numbers that are not positive.
    """
    beta = np.asarray(betas, np.float64)
    on = beta * usefulness - bits * math.log(2)
    off = math.log(-math.expm1(-bits * math.log(2)))
    survival = np.exp(-np.logaddexp(0.0, off - on))
    other = np.exp(-np.logaddexp(0.0, on - off))
    capacity = (beta * usefulness) ** 2 * survival * other
    return ExactSurvival(survival, -np.logaddexp(on, off), -usefulness * survival, capacity)


@typed
def circuit_temperature(usefulness: Above, bits: Above, level: Fraction = 0.5) -> float:
    """`u / log((2^bits - 1) level/(1 - level))`, where `circuit_survival` is `level`.

    At half survival it tends to `u/(bits log 2)`: usefulness over description length, in nats.

    Args:
        usefulness: As in `circuit_survival`.
        bits: As in `circuit_survival`.
        level: Of the survival.

    Raises:
        DeclarationError: For numbers that are not positive, and a level that the prior alone
            exceeds (`level <= 2^-bits`).
    """
    nats = bits * math.log(2)
    rise = nats + math.log(-math.expm1(-nats)) + math.log(level / (1 - level))
    if not rise > 0:
        raise DeclarationError(
            "level",
            got=f"{level:g} for a circuit of {bits:g} bits",
            expected=f"more than the probability of the circuit under the prior, {2**-bits:.3g}",
            mend="raise `level`",
        )
    return usefulness / rise


def _modes(eigenvalues: Spectrum, powers: Powers) -> tuple[NDArray, NDArray]:
    w, c = (np.asarray(each, np.float64).ravel() for each in (eigenvalues, powers))
    if w.shape != c.shape or not np.sum(c) > 0:
        raise DeclarationError(
            "powers",
            got=f"{c.size} numbers of sum {np.sum(c):g} for {w.size} eigenvalues",
            expected="one for each eigenvalue, not all 0",
            mend="pass (vectors.T @ y) ** 2 with the eigenvectors of the same matrix",
        )
    return w, c
