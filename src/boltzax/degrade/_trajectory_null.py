"""Exact null laws of a trajectory: a random walk, and a noisy relaxation towards a point."""

import dataclasses
from collections.abc import Callable, Iterator

import equinox as eqx
import numpy as np
import scipy.fft
from jaxtyping import Array, Float

from ..core import (
    POWER_QUANTILE,
    Fraction,
    Outcome,
    at_most_level,
    outcome_of,
    permutation_test,
    text_of_values,
    typed,
)
from ..numerics import minimum
from ._outcome_words import words

SHARE = 0.25
"""The smallest share of the power of the increments in one slow mode that matters."""
RATES = np.linspace(0.0, 1.0, 51)
"""Memories φ of a relaxation that are tried."""
ERRORS = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
"""Distances from the memory of least squares that are tried too, in its standard errors."""
SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5)
"""Shares of power whose detection beside a fitted memory is tried."""
TRIALS = 20
"""Paths in which a share has to be detected."""
BLOCK = 2**22
"""Numbers in the shuffled increments at once."""


@typed
class NullTest(eqx.Module):
    """A test of a trajectory against a null law, by increments that are shuffled in time.

    Args:
        statistic: Largest distance between the share of power in the `k` slowest modes of the
            increments and `k/modes`, its value for white increments.
        p_value: `(1 + #{shuffled >= statistic})/(1 + shuffles)`.
        critical: The statistic above which the p-value is at most `level`.
        detectable: The share of the increments' power in their slowest mode that is detected with
            probability 0.95; for a relaxation the least of a few shares that was detected in 20 of
            20 simulated paths, for another memory can explain a part of it. Infinite if
            there are too few shuffles or increments.
        level: p-value at or below which the null law is refused.
    """

    statistic: Float[Array, ""]
    p_value: Float[Array, ""]
    critical: Float[Array, ""]
    detectable: Float[Array, ""]
    level: Fraction = eqx.field(static=True)

    @property
    def outcome(self) -> Outcome:
        """`disagree` if the p-value is at most `level`; `too_few` if a quarter of the power in one
        slow mode would not have been detected; else `agree`."""
        seen = at_most_level(self.p_value, self.level)
        return outcome_of(seen, bool(self.detectable <= SHARE))

    @text_of_values
    def __repr__(self) -> str:
        told = words(self.outcome, "agrees", "disagrees", "undecided")
        return (
            f"{told} (p {float(self.p_value):.3g}, statistic "
            f"{float(self.statistic):.3g}, critical {float(self.critical):.3g}, seen from "
            f"{float(self.detectable):.2g})"
        )


def walk_test(steps: np.ndarray, rng: np.random.Generator, shuffles: int, level: float) -> NullTest:
    """Whether increments `[step, dim]` are independent and symmetric about 0: by random signs.

    The modes are sines, `DST-I`: those of the increments of a cosine, so that the power of mode `k`
    is the variance of the trajectory along its k-th cosine over that of a random walk.
    """

    def signs(count: int) -> np.ndarray:
        return rng.choice([-1.0, 1.0], (count, len(steps), 1))

    def shuffled(count: int) -> np.ndarray:
        return signs(count) * steps

    def cumulated(x: np.ndarray) -> np.ndarray:
        return _cumulated(scipy.fft.dst(x, type=1, axis=-2, norm="ortho"))

    return _test(steps, cumulated, shuffled, shuffles, level)


def relaxation_test(
    path: np.ndarray,
    rng: np.random.Generator,
    shuffles: int,
    level: float,
    rounding: float = 0.0,
) -> tuple[NullTest, float]:
    """Whether `x_t = c + φ x_(t-1) + e_t` with exchangeable `e_t`, for some φ: by permutations.

    The memory φ is the one at which the statistic is least, so that the p-value is at least that
    of the true φ. The modes are cosines, `DCT-II`, without the mean. A path whose innovations are
    rounding alone is a relaxation: its p-value is 1.

    Args:
        path: Points `[time, dim]`.
        rng: For the permutations.
        shuffles: Their number.
        level: p-value at or below which the null law is refused.
        rounding: Norm of innovations that rounding explains.
    """
    phi, _ = fitted_memory(path)
    noise = innovations(path, phi)
    if np.linalg.norm(noise) <= rounding:
        return NullTest(*(np.asarray(x) for x in (0.0, 1.0, 0.0, 0.0)), level), phi

    def shuffled(count: int) -> np.ndarray:
        order = rng.permuted(np.tile(np.arange(len(noise)), (count, 1)), axis=1)
        return noise[order]

    found = _test(noise, _free_of_mean, shuffled, shuffles, level)
    detectable = _detectable_beside(path, phi, noise, float(found.critical), rng)
    return dataclasses.replace(found, detectable=np.asarray(detectable)), phi


def fitted_memory(path: np.ndarray) -> tuple[float, float]:
    """The memory φ in `[0, 1]` at which the statistic is least, and the statistic there.

    Far from the centre a path determines φ to a small part of the step of a grid. So places about
    the φ of least squares, in units of its error, are tried too, and the best is refined.
    """
    before, after = (x - x.mean(axis=0) for x in (path[:-1], path[1:]))
    square = max(float(np.sum(before**2)), 1e-300)
    middle = float(np.clip(np.sum(before * after) / square, 0.0, 1.0))
    modes, slopes = (_modes(x) for x in (after - middle * before, before))
    # power of each mode as a polynomial in φ - middle
    constant, mixed, curved = (
        np.sum(x * y, axis=-1) for x, y in ((modes, modes), (modes, slopes), (slopes, slopes))
    )

    def distance(phi: float | np.ndarray) -> np.ndarray:
        moved = np.asarray(phi)[..., None] - middle
        power = np.maximum(constant - 2 * moved * mixed + moved**2 * curved, 0.0)
        return _distance(_of_power(power))

    error = np.sqrt(np.sum(constant) / len(before) / square)
    near = middle + error * np.append(-ERRORS, [0.0, *ERRORS])
    places = np.unique(np.clip(np.concatenate([RATES, near]), 0.0, 1.0))
    values = distance(places)
    best = int(np.argmin(values))
    refined = minimum(distance, places[max(best - 1, 0)], places[min(best + 1, len(places) - 1)])
    phi = min(float(places[best]), refined, key=lambda x: float(distance(x)))
    return phi, float(distance(phi))


def relaxed(path: np.ndarray, phi: float, noise: np.ndarray) -> np.ndarray:
    """The relaxation with these innovations, from the start of a path and with its centre."""
    drift = np.mean(path[1:] - phi * path[:-1], axis=0)
    found = [path[0]]
    for each in noise:
        found.append(drift + phi * found[-1] + each)
    return np.stack(found)


def _detectable_beside(
    path: np.ndarray, phi: float, noise: np.ndarray, critical: float, rng: np.random.Generator
) -> float:
    """The least of `SHARES` of power in a slow mode that is detected in all of `TRIALS` paths.

    Another memory can explain a part of a slow motion: it is fitted anew to each path.
    """
    count = len(noise)
    slow = np.cos(np.pi * (np.arange(count) + 0.5) / count) * np.sqrt(2 / count)

    def seen(share: float) -> bool:
        ratio = np.sqrt(share / (1 - share))
        for _ in range(TRIALS):
            direction = rng.normal(size=count) @ noise
            size = ratio * np.linalg.norm(noise) / np.linalg.norm(direction)
            moved = rng.permutation(noise) + size * np.outer(slow, direction)
            new = relaxed(path, phi, moved)
            if fitted_memory(new)[1] < critical:
                return False
        return True

    return next((share for share in SHARES if seen(share)), np.inf)


def innovations(path: np.ndarray, phi: float) -> np.ndarray:
    """`x_t - φ x_(t-1)`, without its mean over time."""
    noise = path[1:] - phi * path[:-1]
    return noise - noise.mean(axis=0)


def _modes(x: np.ndarray) -> np.ndarray:
    return scipy.fft.dct(x, type=2, axis=-2, norm="ortho")[..., 1:, :]


def _free_of_mean(x: np.ndarray) -> np.ndarray:
    return _cumulated(_modes(x))


def _cumulated(modes: np.ndarray) -> np.ndarray:
    """The share of power in the slowest modes, `[..., mode]`, less that of white noise."""
    return _of_power(np.sum(modes**2, axis=-1))


def _of_power(power: np.ndarray) -> np.ndarray:
    """The same of the power of each mode; without any power that of white noise, 0."""
    power, count = np.cumsum(power, axis=-1), power.shape[-1]
    white = np.arange(1, count + 1) / count
    total = power[..., -1:]
    return np.where(total > 0, power / np.where(total > 0, total, 1.0) - white, 0.0)


def _distance(cumulated: np.ndarray) -> np.ndarray:
    return np.max(np.abs(cumulated), axis=-1)


def _test(
    steps: np.ndarray, cumulated: Callable, shuffled: Callable, shuffles: int, level: float
) -> NullTest:
    value = float(_distance(cumulated(steps)))
    parts = [cumulated(shuffled(count)) for count in _blocks(shuffles, steps.size)]
    null = np.concatenate([_distance(part) for part in parts])
    first = np.concatenate([part[:, 0] for part in parts])
    p_value, critical = permutation_test(value, null, level, 1e-12)
    detectable = _detectable(float(critical), float(np.std(first)), parts[0].shape[-1])
    return NullTest(*(np.asarray(x) for x in (value, p_value, critical, detectable)), level)


def _detectable(critical: float, spread: float, modes: int) -> float:
    """The share of power in one mode that is detected with probability `POWER`.

    A share `s` moves the first step of the statistic to `s (1 - 1/modes)`, with the variance
    `(1 - s)² v + 2 s (1 - s) modes v`: `v` is that of the noise in a mode, and the other term that
    of its product with the slow motion, in a direction in which the noise is as elsewhere.
    """
    share = np.linspace(0, 1, 1001)[1:-1]
    variance = spread**2 * ((1 - share) ** 2 + 2 * share * (1 - share) * modes)
    seen = share * (1 - 1 / modes) - POWER_QUANTILE * np.sqrt(variance) >= critical
    return float(share[np.argmax(seen)]) if np.any(seen) else np.inf


def _blocks(total: int, size: int) -> Iterator[int]:
    """Counts of shuffles that fit into memory together."""
    step = max(1, BLOCK // max(size, 1))
    for start in range(0, total, step):
        yield min(step, total - start)
