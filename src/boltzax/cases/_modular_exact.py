"""Modular addition by a wide net with quadratic units: the exact law of a neuron, by quadrature."""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlog1py, xlogy

from ..core import Count, typed
from ..numerics import root
from ._arguments import Above, Finite, Modulus, Share
from ._modular_phases import ModularPhases, modular_phases

_PANELS, _POINTS = 12, 10
_ROOT_TOLERANCE = 1e-14


@typed
@final
@dataclass(frozen=True, eq=False)
class ModularExact:
    """The self-consistent net of `modular_exact` at one noise.

    Args:
        residual: `r`; the net leaves `y - f = r y`, on all of the table.
        eigenvalue: `λ` of the kernel of the net on the target, `r = s²/(s² + α λ)`.
        coupling: `U = u r²`, the strength of the field in the action of a mode.
        specialised: Probability that a mode of a neuron has left the minimum at 0:
            `|w_k||v_k| > threshold`. 0 where there is no second minimum.
        threshold: The maximum between the minima, `1/(U + √(U² - γ))`; NaN without one.
        gain: `-d log r_out/d log r` of the map `r → r_out = s²/(s² + α λ(r))`: an error of the
            field comes back so many times larger, with the other sign. The plain loop diverges
            above 1.
        memorisation: `M = [2(P-1) + (P-1)(P-3) ⟨|w_k|²⟩²/⟨|w_k|²|v_k|²⟩]/P²`, what the kernel of
            product units (`2 w_n v_m`) has on its diagonal, in units of `λ`. A pair that is left
            out alone keeps `(1 - M)` of its prediction if the law of the neurons stays: near 2/P
            where neurons specialise in few modes, near 1 where they do in all.
        phase: Of the closed forms `phases`: "gaussian-process", "mixed" or "features".
        error: Of the residual, from two resolutions.
    """

    modulus: int
    noise: float
    residual: float
    eigenvalue: float
    coupling: float
    specialised: float
    threshold: float
    gain: float
    memorisation: float
    phase: str
    phases: ModularPhases
    error: float

    @property
    def held_out(self) -> float:
        """`1 - (1 - r)(1 - M)`: residual on a pair that is left out, if the law stays."""
        return self.residual + self.memorisation * (1 - self.residual)

    def specialised_modes(self) -> NDArray[np.float64]:
        """`[(P+1)/2]`: probability that a neuron has 0, 1, ..., (P-1)/2 specialised modes.

        Modes are independent of each other given the field, so this is a binomial law.
        """
        count = (self.modulus - 1) // 2
        p, k = self.specialised, np.arange(count + 1)
        choose = gammaln(count + 1) - gammaln(k + 1) - gammaln(count - k + 1)
        return np.exp(choose + xlogy(k, p) + xlog1py(count - k, -p))


@typed
def modular_exact(
    modulus: Modulus,
    noise: Above,
    *,
    readout_scale: Above,
    gamma: Above = 1.0,
    width: Above = 1.0,
    fraction: Share = 1.0,
) -> ModularExact:
    """The infinite net that adds modulo `P`: residual, specialised fraction and phase.

    The net is `f_q(n, m) = (1/N) Σ_i a_iq (w_in + v_im)²` for the target
    `y_q = 1[n + m = q mod P] - 1/P`, on the whole table of `P²` pairs. Prior: `a_iq ~ N(0, σ_a²)`,
    and `w`, `v` each with `exp(-½|w|² - (γP/6) Σ_k |w_k|⁶)`, `w_k = (1/P) Σ_n w_n e^{-2πikn/P}`.
    Likelihood: Gaussian, of variance `s²/N`. Readout integrated out, the law of a neuron in the
    field `r y/s²` is a product over the modes `k = 1, ..., (P-1)/2` of `exp(-2 S_k)`, ::

        S_k = P [(|w_k|² + |v_k|²)/2 - u r² |w_k|²|v_k|² + (γ/6)(|w_k|⁶ + |v_k|⁶)],
        u = 2 σ_a² P²/s⁴,    λ = 4 σ_a² P² ⟨|w_k|²|v_k|²⟩,    r = s²/(s² + λ).

    `λ` grows with `r`, so that `r` is the one crossing of a falling with a rising curve: the
    solution is unique, and continuous in every parameter. A neuron's modes are independent: a
    theory of one mode is the theory of all of them.

    Rubin, Seroussi & Ringel (2024, ICLR, arXiv:2310.03789), with factors as derived in the
    documentation ("Modular addition").

    Args:
        modulus: `P`, odd.
        noise: `s²`.
        readout_scale: `σ_a`.
        gamma: `γ`.
        width: 1 for the mean-field units above. For the convention of the paper,
            `f = Σ_i a_i (w_i + v_i)²` with `a_i ~ N(0, σ_a²/N)` and noise `s²`, pass its `N`:
            `u = 2 σ_a² P²/(N s⁴)` and the same `λ`. The two agree for `σ_a² → N σ_a²`, `s² → N s²`.
        fraction: `α`, of the table that is data. Every sum over data is replaced by its mean over
            tables, `u → α² u`, `r = s²/(s² + α λ)`: an approximation that knows no memorisation.

    Raises:
        DeclarationError: An even modulus or one below 3, a fraction above 1, or numbers that are
            not positive.
    """
    p = modulus
    phases = modular_phases(
        p, readout_scale=readout_scale, gamma=gamma, width=width, fraction=fraction
    )
    s2 = noise
    coarse = _solve(p, s2, phases, 1, 0.0, 1.0)
    r = _solve(p, s2, phases, 2, max(coarse - 1e-5, 0.0), min(coarse + 1e-5, 1.0))
    coupling = _coupling(phases, s2, r)
    law = _law(p, coupling, phases.gamma, 2)
    barrier = _barrier(coupling, phases.gamma)
    mean = law.mean(law.product)
    inside = 0.0 if math.isnan(barrier) else _beyond(p, coupling, phases.gamma, barrier)
    size = float(law.weights.sum(axis=1) @ law.size)
    spread = law.mean((law.product - mean) ** 2)
    return ModularExact(
        modulus=p,
        noise=s2,
        residual=r,
        eigenvalue=4 * phases.strength * mean,
        coupling=coupling,
        specialised=inside,
        threshold=barrier,
        gain=(1 - r) * 4 * p * coupling * spread / mean,
        memorisation=(p - 1) * (2 + (p - 3) * size**2 / mean) / p**2,
        phase=phases.phase(s2),
        phases=phases,
        error=abs(r - coarse),
    )


def _coupling(phases: ModularPhases, noise: float, r: float) -> float:
    return 2 * phases.fraction**2 * phases.strength / (phases.width * noise**2) * r**2


def _barrier(coupling: float, gamma: float) -> float:
    if coupling**2 <= gamma:
        return math.nan
    return 1 / (coupling + math.sqrt(coupling**2 - gamma))


@typed
def modular_answer(
    modulus: Modulus,
    noise: Above,
    residual: Finite,
    phases: ModularPhases,
    refine: Count = 1,
) -> float:
    """`s²/(s² + α λ(r))`: the residual that a net makes whose neurons see the residual `r`.

    Falls as `r` rises. `modular_exact` is where it meets `r`.

    Args:
        residual: `r`.
        phases: Strength, width and fraction, as `modular_phases` gives them.
        refine: A factor on the nodes of the integral.
    """
    p = modulus
    law = _law(p, _coupling(phases, noise, residual), phases.gamma, refine)
    eigenvalue = 4 * phases.strength * law.mean(law.product)
    return noise / (noise + phases.fraction * eigenvalue)


def _solve(
    p: int, noise: float, phases: ModularPhases, refine: int, low: float, high: float
) -> float:
    def excess(r: float) -> float:
        return r - modular_answer(p, noise, r, phases, refine)

    if excess(low) > 0 or excess(high) < 0:
        low, high = 0.0, 1.0
    # relative: where there is little noise the residual is small
    return root(excess, low, high, rtol=_ROOT_TOLERANCE)


@dataclass(frozen=True, eq=False)
class _Law:
    """Weights of nodes in `(|w_k|², |v_k|²)`, `|w_k|²` along an axis, and the product."""

    weights: NDArray[np.float64]
    size: NDArray[np.float64]
    product: NDArray[np.float64]

    def mean(self, values: NDArray[np.float64]) -> float:
        return float(np.vdot(self.weights, values))


def _rule(refine: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Composite Gauss-Legendre nodes and weights on (0, 1)."""
    x, weight = np.polynomial.legendre.leggauss(_POINTS)
    panels = _PANELS * refine
    nodes = (np.arange(panels)[:, None] + 0.5 * (x + 1)) / panels
    return nodes.ravel(), np.tile(weight, panels) / (2 * panels)


def _edge(p: int, coupling: float, gamma: float) -> float:
    """Where the density of `|w|` ends."""
    top = (coupling + math.sqrt(max(coupling**2 - gamma, 0.0))) / gamma
    return math.sqrt(1.5 * top + 40 / p)


def _law(p: int, coupling: float, gamma: float, refine: int) -> _Law:
    """Nodes in `|w|`, `|v|`; the measure of `w` is flat over the complex plane."""
    x, weight = _rule(refine)
    edge = _edge(p, coupling, gamma)
    t = (edge * x) ** 2
    one = np.log(weight * x) - p * (t + gamma / 3 * t**3)
    log_density = one[:, None] + one + 2 * p * coupling * t[:, None] * t
    density = np.exp(log_density - log_density.max())
    return _Law(density / density.sum(), t, t[:, None] * t)


def _beyond(p: int, coupling: float, gamma: float, threshold: float) -> float:
    """Probability of `|w||v| > threshold`: nodes in `|v|` on either side of the edge."""
    x, weight = _rule(2)
    edge = _edge(p, coupling, gamma)
    w = edge * x
    cut = np.minimum(threshold / w, edge)
    logs = []
    for low, high in ((np.zeros_like(cut), cut), (cut, np.full_like(cut, edge))):
        v = low[:, None] + (high - low)[:, None] * x
        t, s = w[:, None] ** 2, v**2
        action = p * (t + s - 2 * coupling * t * s + gamma / 3 * (t**3 + s**3))
        measure = w[:, None] * v * weight[:, None] * weight * (high - low)[:, None]
        logs.append((-action, measure))
    top = max(float(action.max()) for action, _ in logs)
    below, above = (float(np.sum(measure * np.exp(action - top))) for action, measure in logs)
    return above / (below + above)
