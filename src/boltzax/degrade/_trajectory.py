"""Principal components of a trajectory, against those of a random walk and of a relaxation."""

from typing import Annotated

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from ..core import (
    Count,
    DeclarationError,
    Fraction,
    Key,
    Said,
    at_hand,
    numpy_generator,
    text_of_values,
    typed,
    whole,
)
from ..sample import Ensemble
from ._trajectory_null import NullTest, innovations, relaxation_test, relaxed, walk_test

Path = Annotated[
    Ensemble | Float[Array, "time dim"],
    Said("an Ensemble over checkpoints, or points [time, dim]", "pass the weights at each time"),
]
SHOWN = 10
"""Components that are kept, at most."""
ROUNDING = 2.0**-46
"""Relative size of innovations that the arithmetic here makes."""
BANDS = 199
"""Shuffled trajectories for the bands of the spectrum."""


@typed
class TrajectorySpectrum(eqx.Module):
    """What `trajectory_spectrum` returns.

    Args:
        fractions: Share of the variance over time of each principal component, `[component]`.
        components: Their courses in time, of unit length, `[time, component]`.
        cosines: `|⟨component k, cosine k⟩|`, 1 for the components of a random walk in many
            dimensions, `[component]`.
        expected: `fractions` of a random walk in many dimensions.
        walk_band: 95% band of `fractions` for a random walk with these increments, `[2,
            component]`: the signs of whole increments are random.
        relaxation_band: The same for a relaxation: its innovations are permuted in time.
        memory: `φ` of the relaxation that agrees best.
        walk: The test against a random walk without drift.
        relaxation: The test against a relaxation.
    """

    fractions: Float[Array, " component"]
    components: Float[Array, "time component"]
    cosines: Float[Array, " component"]
    expected: Float[Array, " component"]
    walk_band: Float[Array, "2 component"]
    relaxation_band: Float[Array, "2 component"]
    memory: Float[Array, ""]
    walk: NullTest
    relaxation: NullTest

    @text_of_values
    def __repr__(self) -> str:
        rows = zip(
            self.fractions, self.expected, self.walk_band.T, self.relaxation_band.T, self.cosines,
            strict=True,
        )  # fmt: skip
        lines = [
            f"  {k + 1}: {f:.3f} (many dimensions {e:.3f}; walk {w[0]:.3f} to {w[1]:.3f}; "
            f"relaxation {r[0]:.3f} to {r[1]:.3f}; cosine {c:.3f})"
            for k, (f, e, w, r, c) in enumerate(rows)
        ][:4]
        tests = [
            f"random walk: {self.walk!r}",
            f"relaxation, φ = {float(self.memory):.2f}: {self.relaxation!r}",
        ]
        return "\n".join(["TrajectorySpectrum", *lines, *tests])


@typed
def random_walk_spectrum(times: Annotated[int, whole(2)]) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of a centred random walk of `T` points in many dimensions.

    Eigenvalues `1/(2 - 2 cos(πk/T))`, `k = 1 .. T-1`, in units of the variance of an increment,
    with the sum `(T² - 1)/6`: shares 60.8, 15.2, 6.8, 3.8% for long walks. The components are
    cosines, `(2/T)^½ cos(πk(t - ½)/T)`, so that two of them against each other draw a Lissajous
    curve (Antognini & Sohl-Dickstein 2018, NeurIPS, arXiv:1806.08805).

    Args:
        times: Number of points `T`.

    Returns:
        Eigenvalues `[component]` and components `[time, component]`.
    """
    k, t = np.arange(1, times), np.arange(1, times + 1)
    values = 1 / (4 * np.sin(np.pi * k / (2 * times)) ** 2)
    return values, np.sqrt(2 / times) * np.cos(np.pi * np.outer(t - 0.5, k) / times)


@typed
def trajectory_spectrum(
    trajectory: Path,
    *,
    key: Key,
    shuffles: Count = 999,
    level: Fraction = 0.05,
) -> TrajectorySpectrum:
    """Principal components of a trajectory, and tests against two trajectories without a plan.

    A random walk has few large components, smooth in time, which look like a clock or like stages.
    So has a noisy relaxation to a point. Components say something of a training only beyond these.

    - Random walk: increments that are independent and symmetric about 0. Their sizes may change
      with time and differ by direction. The test gives them random signs, and is exact.
    - Relaxation, `x_t = c + φ x_(t-1) + e_t` with one memory `0 <= φ <= 1`: an Ornstein-Uhlenbeck
      process about any centre from any start, a straight line with noise, or an exponential decay.
      The innovations `e_t` are exchangeable in time. The test permutes them, at the φ that agrees
      best, so that it is conservative: at a level of 5% it refused 0 to 7% of relaxations with φ
      from 0.5 to 0.995 and starts up to 1000 standard deviations of the noise away (33 settings of
      100). A line or a decay without noise has the p-value 1.

    Both look at the power spectrum of the increments or innovations (Bartlett 1955, Introduction to
    Stochastic Processes, sect. 9.2), which is flat under the null law. They need no number of
    dimensions and no Gaussian law. Points much closer in time than the memory of the optimiser's
    momentum are not independent: thin the trajectory first.

    Args:
        trajectory: Points `[time, dim]`, evenly spaced in time, or an `Ensemble` with the axis
            `checkpoint`, whose coordinates are taken.
        key: For the shuffles.
        shuffles: Number of random signs, and of permutations.
        level: p-value at or below which a null law is refused.

    Raises:
        DeclarationError: For fewer than four points, numbers that are not finite, no motion, and
            an ensemble with other axes.
    """
    points, rounding = _points(trajectory)
    path = _reduced(points)
    rng = numpy_generator(key)
    steps = np.diff(path, axis=0)
    walk = walk_test(steps, rng, shuffles, level)
    relaxation, phi = relaxation_test(path, rng, shuffles, level, rounding)
    fractions, components = _components(path)
    count = min(SHOWN, len(fractions), len(path) - 1)
    values, cosines = random_walk_spectrum(len(path))
    overlap = np.abs(np.sum(components[:, :count] * cosines[:, :count], axis=0))
    kept = (fractions, components, values / values.sum())
    fractions, components, expected = (each[..., :count] for each in kept)
    return TrajectorySpectrum(
        fractions,
        components,
        overlap,
        expected,
        _band(lambda: _walked(steps, rng), count),
        _band(lambda: relaxed(path, phi, rng.permutation(innovations(path, phi))), count),
        np.asarray(phi),
        walk,
        relaxation,
    )


def _points(trajectory: Ensemble | Array) -> tuple[np.ndarray, float]:
    """`[time, dim]` on the host, and the norm of innovations that rounding explains."""
    if isinstance(trajectory, Ensemble):
        if trajectory.axes != ("checkpoint",):
            raise DeclarationError(
                "trajectory",
                got=f"an ensemble with axes {trajectory.axes}",
                expected='the axis "checkpoint" alone',
                mend='make it by bx.Ensemble.of_models(gibbs, models, axes=("checkpoint",))',
            )
        leaves = [np.asarray(leaf) for leaf in trajectory.w.values()]
        points = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    else:
        points = np.asarray(at_hand(trajectory))
    points = points.astype(float)
    with np.errstate(over="ignore"):
        single = np.array_equal(points, points.astype(np.float32))
    moves = points.shape[1] > 0 and len(points) > 3 and np.all(np.isfinite(points))
    if not moves or not np.any(np.ptp(points, axis=0)):
        raise DeclarationError(
            "trajectory",
            got=f"{len(points)} points of dimension {points.shape[1]}",
            expected="at least 4 finite points that are not all equal",
            mend="pass the weights at more times, [time, dim]",
        )
    _, exponent = np.frexp(np.max(np.abs(points)))
    points = np.ldexp(points, -exponent)  # so that squares neither overflow nor vanish
    coarse = 4 * float(np.finfo(np.float32).eps) if single else ROUNDING
    return points, coarse * float(np.linalg.norm(points))


def _reduced(points: np.ndarray) -> np.ndarray:
    """The same trajectory in at most as many coordinates as points: a rotation of it."""
    centred = points - points.mean(axis=0)
    if centred.shape[1] <= len(centred):
        return centred
    return np.asarray(np.linalg.qr(centred.T, mode="r")).T


def _components(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the variance and courses in time, the largest first."""
    vectors, singular, _ = np.linalg.svd(path - path.mean(axis=0), full_matrices=False)
    return singular**2 / np.sum(singular**2), vectors


def _walked(steps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    signs = rng.choice([-1.0, 1.0], (len(steps), 1))
    return np.concatenate([np.zeros_like(steps[:1]), np.cumsum(signs * steps, axis=0)])


def _band(shuffled, count: int) -> np.ndarray:
    """2.5% and 97.5% quantiles of the shares of shuffled trajectories."""
    paths = [shuffled() for _ in range(BANDS)]
    centred = [path - path.mean(axis=0) for path in paths]
    values = np.stack([np.linalg.eigvalsh(x.T @ x)[: -count - 1 : -1] for x in centred])
    totals = np.array([np.sum(x**2) for x in centred])
    return np.quantile(values / totals[:, None], [0.025, 0.975], axis=0)
