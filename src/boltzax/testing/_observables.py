"""What every observable must pass: right values, and error bars that hold."""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from boltzax.compile import Gibbs
from boltzax.core import Count, Estimate, Key, Whole, typed, whole
from boltzax.sample import AbstractKernel, RandomWalk, sample

from ._conformance import THRESHOLD

FALSE_ALARM = 1e-6
"""Probability that the errors of a right observable are called wrong."""

SCATTER = 0.3
"""Scatter of the logarithm of an error about its trend with the value, from noise alone."""


@typed
def check_observable(
    observable: Callable,
    gibbs: Gibbs,
    truth: float | np.ndarray | jax.Array,
    kernel: AbstractKernel | None = None,
    *,
    key: Key,
    runs: Annotated[int, whole(8)] = 128,
    chains: Count = 4,
    warmup: Whole = 300,
    draws: Annotated[int, whole(4)] = 500,
) -> None:
    """Raise `AssertionError` unless an observable has the value and the error that it must.

    The check makes independent runs of a measure on which the answer is known, as one run at a
    vector of equal betas.

    - The result is an `Estimate` of shape `[beta, *truth.shape]`, finite, with positive errors.
    - Betas do not mix: applied to the run at some of its betas, the observable gives the same
      numbers as the whole run gives there.
    - Its value is right: the mean over the runs is the truth within 5 standard errors of their own
      scatter.
    - Its error is right: `Σ (value - truth)²` over the mean of the squared errors lies within the
      central 1 - 1e-6 of the chi-squared law. An error that forgets the correlation of successive
      draws, or counts draws twice, is found if it is too small by a third.
    - Its error is right in each run: between runs its logarithm scatters by at most 0.3 about a
      quadratic function of the value (the error of a skew estimator follows its value). An error
      that is too small in some runs and too large in others, by half and by a third, is found.

    False alarms: none in 140 checks (20 keys each of a mean, a variance, two energies, a learning
    coefficient and a heat capacity, whose logarithms scatter by at most 0.23 so; the variance also
    with 2000 draws). Errors from few draws scatter more: pass more `draws` then.

    Args:
        observable: A function from a `Trace` to an `Estimate`.
        gibbs: A measure at one beta on which the answer is known.
        truth: The answer at that beta.
        kernel: `RandomWalk()` if None: its draws are correlated, as those of a real run are.
        key: The key of the run.
        runs: The number of independent runs.
        chains: Chains of a run.
        warmup: Steps of warm-up of a run.
        draws: Draws a chain.
    """
    kernel, truth = RandomWalk() if kernel is None else kernel, np.asarray(truth, float)
    many = gibbs.at(jnp.full(runs, gibbs.beta))
    trace = sample(many, kernel, key=key, chains=chains, warmup=warmup, draws=draws, throw=False)
    found = observable(trace)
    assert isinstance(found, Estimate), (
        f"the observable returned a {type(found).__name__}, not an Estimate: "
        "return e.g. trace.mean_of(values)"
    )
    shape = (runs, *truth.shape)
    assert found.value.shape == shape, (
        f"an estimate of shape {found.value.shape} instead of {shape}"
    )
    value, error = np.asarray(found.value), np.asarray(found.standard_error)
    assert np.all(np.isfinite(value)), "values that are not finite"
    assert np.all(np.isfinite(error) & (error > 0)), "errors that are not finite and positive"
    part = observable(trace[2:5])
    near = np.allclose(part.value, value[2:5], rtol=1e-6)
    near &= np.allclose(part.standard_error, error[2:5], rtol=1e-6)
    if np.any(np.asarray(trace.energy_variance)):  # integrated weights are drawn anew for a part
        away = np.abs(np.asarray(part.value) - value[2:5])
        near = np.all(away < THRESHOLD * np.hypot(part.standard_error, error[2:5]))
    assert near, "observable(trace[2:5]) is not observable(trace)[2:5]: betas are mixed"
    # not of z-scores: the error of a right but skew estimator follows its value
    away = np.mean(value - truth, axis=0)
    spread = np.mean((value - truth) ** 2, axis=0) / np.mean(error**2, axis=0)
    allowed = THRESHOLD * np.std(value, axis=0, ddof=1) / runs**0.5
    assert np.all(np.abs(away) < allowed), f"biased: off by {away} in the mean of {runs} runs"
    low, high = stats.chi2(runs).ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2]) / runs
    assert np.all(spread < high), (
        f"errors too small: mean square over theirs {spread}, expected below {high:.2f}"
    )
    assert np.all(spread > low), (
        f"errors too large: mean square over theirs {spread}, expected above {low:.2f}"
    )
    _check_steady(value, error)


def _check_steady(value: np.ndarray, error: np.ndarray) -> None:
    """Raise if errors differ from run to run by more than their own noise; axis 0 is the run."""
    runs = len(value)
    scores = (value - value.mean(axis=0)) / np.maximum(value.std(axis=0), np.finfo(float).tiny)
    value, logs = (each.reshape(runs, -1).T for each in (scores, np.log(error)))
    free = runs - 3
    residual = [
        log - np.polyval(np.polyfit(x, log, 2), x) for x, log in zip(value, logs, strict=True)
    ]
    scatter = np.sqrt(np.sum(np.square(residual), axis=-1) / free)
    most = SCATTER * np.sqrt(stats.chi2(free).ppf(1 - FALSE_ALARM) / free)
    assert np.all(scatter < most), (
        f"errors differ from run to run: their logarithm scatters by {scatter}, expected below "
        f"{most:.2f}; if they are right, pass more draws"
    )
