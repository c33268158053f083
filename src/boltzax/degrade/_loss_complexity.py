"""Complexity against loss: the Legendre transform of the free energy, and its phases."""

import itertools
from typing import NamedTuple

import equinox as eqx
import numpy as np
import scipy.special
from jaxtyping import Array, Float

from ..core import (
    POWER_QUANTILE,
    Curve,
    DeclarationError,
    Estimate,
    Influence,
    Outcome,
    at_hand,
    outcome_of,
    text_of_values,
    typed,
)
from ..observe import bridges_of
from ..sample import AbstractDrawn, Bridges, Trace, bar_series, trace_of
from ._outcome_words import words

FINE = 64
"""Places between two levels where the transform looks for its maximum."""
PLACES = 200
"""Energies at which the convexity of the prior mass is looked at."""
BARRIER = 1.0
"""Nats by which a complexity lies above its convex hull between two phases."""
CRITICAL = 4.0
"""Standard errors from which on a barrier is seen: it is the largest of many places."""


@typed
class Coexistence(eqx.Module):
    """Two phases with a gap between them, at one temperature.

    Args:
        beta: Inverse temperature at which both have the same weight: minus the slope of the hull.
        low: Energy of the phase of low energy at the gap.
        high: Energy of the other.
        barrier: How far the complexity lies above its convex hull in the gap, in nats.
    """

    beta: Estimate
    low: Float[Array, ""]
    high: Float[Array, ""]
    barrier: Estimate

    @text_of_values
    def __repr__(self) -> str:
        return (
            f"{float(self.low):.4g} and {float(self.high):.4g} at beta {self.beta:.4g}, "
            f"barrier {self.barrier:.3g} nats"
        )


@typed
class LossComplexity(eqx.Module):
    """What `loss_complexity` returns.

    Args:
        complexity: `C(e) = max_β [F(β) - β e]` over the energy, in nats.
        beta: The β of the maximum, `-dC/de`, `[energy]`.
        mass: `-log P_prior[E <= e]` over the energy, in nats: never less than `complexity`. None
            where weights were integrated out: energies are then no energies of single draws.
        coexistences: Phases with a gap between them, by rising energy.
        free_energy: `F(β)` over the whole ladder.
        mean_energy: `⟨E⟩` over the whole ladder.
        detectable: The height of a barrier that is detected with probability 0.95, in nats.
    """

    complexity: Curve
    beta: Float[Array, " energy"]
    mass: Curve | None
    coexistences: tuple[Coexistence, ...]
    free_energy: Curve
    mean_energy: Curve
    detectable: Float[Array, ""]

    @property
    def one_phase(self) -> Outcome:
        """`disagree` if phases coexist; `agree` if a barrier of one nat between two would have been
        detected; else `too_few`."""
        return outcome_of(bool(self.coexistences), bool(self.detectable <= BARRIER))

    @text_of_values
    def __repr__(self) -> str:
        told = words(self.one_phase, "one phase", "phases coexist", "undecided whether one phase")
        lines = [f"  {each!r}" for each in self.coexistences]
        head = f"LossComplexity, {told} (barrier seen from {float(self.detectable):.2g} nats)"
        return "\n".join([head, *lines, repr(self.complexity)])


@typed
def loss_complexity(
    trace: Trace | AbstractDrawn, energies: Float[Array, " energy"] | None = None
) -> LossComplexity:
    """Complexity against loss along a ladder of temperatures.

    `C(e) = max_β [F(β) - β e]` is the least relative entropy to the prior, in nats, of a law of the
    weights with mean energy `e` or less (the law at `β*` has it), and `-dC/de = β*`. It is a lower
    bound on `-log P_prior[E <= e]`, the bits to be specified in order to come to `e`, and equal to
    it to leading order in large systems (Chernoff; Cramér). Where the latter is not convex, no
    temperature has a mean energy in between: two phases coexist (Maxwell's construction).

    `F` is that of Bennett's ratios; between levels it is a cubic Hermite interpolation with the
    mean energies as slopes, whose distance to one in another variable is in the errors. The prior's
    mass is summed over the draws of all levels with weights `1/Σ_k N_k exp(F_k - β_k E)` (Shirts &
    Chodera 2008, J. Chem. Phys. 129:124105, eq. 11).

    Args:
        trace: A run of `anneal`.
        energies: Where to evaluate, between the mean energies of the coldest level and the prior;
            by default at the mean energies of all levels but the first.

    Raises:
        DeclarationError: For a trace without a ladder, energies outside this range.
    """
    trace = trace_of(trace)
    bridges = bridges_of(trace)
    betas = np.asarray(bridges.betas, float)
    free, energy = Influence.of(np.asarray(bar_series(bridges))), Influence.of(bridges.energy)
    means = np.asarray(energy.value)
    places = np.unique(means[1:]) if energies is None else np.asarray(at_hand(energies), float)
    _check(places, means)
    complexity, beta = _legendre(betas, free, energy, places)
    single = not np.any(np.asarray(bridges.energy_variance))
    mass, found, detectable = None, (), np.inf
    if single:
        draws = _draws(bridges, betas, free)
        below = places[places >= np.min(draws.energy)]
        mass = Curve(below, draws.below(below), axis="energy")
        found, detectable = _coexistences(draws, float(betas.max()))
    return LossComplexity(
        Curve(places, complexity, axis="energy"),
        beta,
        mass,
        found,
        Curve(betas, free.estimate(exact=True), axis="beta", influence=free),
        Curve(betas, energy.estimate(exact=True), axis="beta", influence=energy),
        np.asarray(detectable),
    )


def _check(places: np.ndarray, means: np.ndarray) -> None:
    slack = 1e-9 * np.ptp(means)
    if not (np.all(places >= means.min() - slack) and np.all(places <= means.max() + slack)):
        raise DeclarationError(
            "energies",
            got=f"energies from {np.min(places):.6g} to {np.max(places):.6g}",
            expected=f"energies of the ladder, {means.min():.6g} to {means.max():.6g}",
            mend="anneal to a colder beta, or choose others",
        )


def _legendre(
    betas: np.ndarray, free: Influence, energy: Influence, places: np.ndarray
) -> tuple[Estimate, np.ndarray]:
    """`max_β [F(β) - β e]` at each energy, and the β of the maximum."""
    # in u = log(1 + β/β_0) the slope of F is flat where β⟨E⟩ tends to a learning coefficient
    scale = float(np.min(betas[betas > 0]))
    u = np.log1p(betas / scale)
    steps = np.linspace(u[:-1], u[1:], FINE, endpoint=False).T.ravel()
    fine = scale * np.expm1(np.append(steps, u[-1]))
    flat = _hermite(u, np.log1p(fine / scale), 1 / (betas + scale))
    plain = _hermite(betas, fine, np.ones_like(betas))
    values = [w @ np.asarray(free.value) + v @ np.asarray(energy.value) for w, v in (flat, plain)]
    best = np.argmax(values[0] - fine * places[:, None], axis=1)
    of_free, of_energy = (each[best] for each in flat)
    found = (free.times(of_free) + energy.times(of_energy)).shifted(-fine[best] * places)
    rule = np.abs(values[0] - values[1])[best]
    return found.estimate(exact=True).widened(rule), fine[best]


def _hermite(
    levels: np.ndarray, places: np.ndarray, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights `[place, level]` of `F` and `dF/dβ` at the levels in a cubic Hermite interpolation.

    Args:
        levels: Of the variable in which the interpolation is cubic.
        places: Of the same variable.
        slope: Of the variable by β, at the levels.
    """
    left = np.clip(np.searchsorted(levels, places, side="right") - 1, 0, len(levels) - 2)
    step = levels[left + 1] - levels[left]
    t, rows = (places - levels[left]) / step, np.arange(len(places))
    of_free, of_energy = np.zeros((2, len(places), len(levels)))
    of_free[rows, left], of_free[rows, left + 1] = 2 * t**3 - 3 * t**2 + 1, 3 * t**2 - 2 * t**3
    of_energy[rows, left] = (t**3 - 2 * t**2 + t) * step / slope[left]
    of_energy[rows, left + 1] = (t**3 - t**2) * step / slope[left + 1]
    return of_free, of_energy


class _Draws(NamedTuple):
    """The draws of all levels as draws of the prior.

    Args:
        energy: `[level, chain, draw]`.
        weight: Prior mass of each, over the mass of an equal draw, `[level, chain, draw]`.
        share: Probability that a draw of this energy is of each level, `[level', level, chain,
            draw]`.
        free: `F` of the levels.
    """

    energy: np.ndarray
    weight: np.ndarray
    share: np.ndarray
    free: Influence

    def below(self, energies: np.ndarray) -> Influence:
        """`-log P_prior[E <= e]`, with the errors of the draws and of `F`."""
        parts = [self._sum(self.energy <= e) for e in [*energies, np.inf]]
        sums = Influence.stack(parts)
        mass = np.asarray(sums.value)
        # on the host: the number of energies differs from run to run
        moved = {s: np.asarray(row) / mass[:, None, None] for s, row in sums.rows.items()}
        rows = {source: row[-1] - row[:-1] for source, row in moved.items()}
        return Influence(-np.log(mass[:-1] / mass[-1]), rows)

    def _sum(self, inside: np.ndarray) -> Influence:
        chosen = np.where(inside, self.weight, 0.0)
        slopes = -np.mean(self.share * chosen, axis=(2, 3)).sum(axis=1)
        moved = self.free.shifted(-np.asarray(self.free.value)).times(slopes[None])[0]
        return Influence.of(chosen.sum(axis=0)) + moved


def _draws(bridges: Bridges, betas: np.ndarray, free: Influence) -> _Draws:
    energy = np.asarray(bridges.energy, float)
    exponent = np.asarray(free.value)[:, None] - betas[:, None] * energy.ravel()
    total = scipy.special.logsumexp(exponent, axis=0)
    share = np.exp(exponent - total).reshape(len(betas), *energy.shape)
    return _Draws(energy, np.exp(-total).reshape(energy.shape), share, free)


def _coexistences(draws: _Draws, coldest: float) -> tuple[tuple[Coexistence, ...], float]:
    """Where `-log P_prior[E <= e]` lies above its convex hull, and the barrier that is detected."""
    share = np.linspace(0, 1, PLACES + 1)[1:]
    lowest, highest = np.min(draws.energy), np.max(draws.energy)
    even = lowest + (highest - lowest) * share
    energies = np.unique(np.concatenate([np.quantile(draws.energy, share), even]))
    if len(energies) < 5:
        return (), np.inf
    mass = draws.below(energies)
    values = np.asarray(mass.value)
    hull = _hull(energies, values)
    gaps = [(low, high) for low, high in itertools.pairwise(hull) if high - low > 1]
    quarters = np.linspace(0, len(energies) - 1, 5).astype(int)
    wide = list(zip(quarters[:-2], quarters[2:], strict=True))
    rows = [_barrier(energies, values, low, high) for low, high in [*gaps, *wide]]
    heights = mass.times(np.stack(rows)).estimate(exact=True)
    found = []
    for (low, high), height in zip(gaps, heights, strict=False):
        if float(height.value) >= max(BARRIER, CRITICAL * float(height.standard_error)):
            ends = np.zeros((1, len(energies)))
            ends[0, [low, high]] = np.array([1.0, -1.0]) / (energies[high] - energies[low])
            beta = mass.times(ends).estimate(exact=True)[0]
            if float(beta.value) > coldest:
                continue  # the phase of low energy was not sampled
            found.append(Coexistence(beta, energies[low], energies[high], height))
    return tuple(found), (CRITICAL + POWER_QUANTILE) * float(
        np.max(np.asarray(heights.standard_error))
    )


def _barrier(energies: np.ndarray, values: np.ndarray, low: int, high: int) -> np.ndarray:
    """Weights of the values in the largest height above the line between two places."""
    share = (energies[low : high + 1] - energies[low]) / (energies[high] - energies[low])
    line = (1 - share) * values[low] + share * values[high]
    top = 1 + int(np.argmax((values[low : high + 1] - line)[1:-1]))
    row = np.zeros(len(energies))
    row[low + top] += 1.0
    row[[low, high]] -= (1 - share[top], share[top])
    return row


def _hull(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Places of the lower convex hull of points with rising `x` (Andrew 1979)."""
    hull: list[int] = []
    for i in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2:]
            if (y[b] - y[a]) * (x[i] - x[a]) < (y[i] - y[a]) * (x[b] - x[a]):
                break
            hull.pop()
        hull.append(i)
    return hull
