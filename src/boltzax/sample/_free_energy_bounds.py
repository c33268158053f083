"""Upper bounds on the free energy."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import logsumexp

from ..core import Estimate, Whole, typed

SIGMAS = 4.0
"""Standard errors by which a run must lie above a bound to contradict it."""

NATS = 7.0
"""`exp(-NATS)` is the chance that one of the bounds of a run lies too low."""


@typed
class Bounds(eqx.Module):
    """Upper bounds on `F(β)` from annealed importance sampling between a Gaussian and the measure.

    A trial is a normalised Gaussian `q` in the unconstrained coordinates. Particles are drawn from
    it and carried to the measure at `β` by Metropolis moves along `q^(1-t) (π exp(-U))^t`; each has
    in the end a weight whose mean is `Z(β)`, whatever the moves (Jarzynski 1997; Neal 2001). Hence

    - `F ≤ ⟨-log weight⟩`, the mean work. With no moves this is the bound of Gibbs and Bogoliubov,
      `⟨U⟩_q + KL(q | π)`;
    - `P(-log mean(weight) < F - a) ≤ exp(-a)` for any `a > 0` (Markov's inequality).

    Both hold where the particles stay in one region of the weights. Then the bound is about the
    free energy of the region, which is never below `F`.

    Args:
        betas: Inverse temperatures, `[beta]`.
        log_weights: Logarithms of the weights, `[trial, beta, particle]`; `-inf` for a particle
            that found no finite density, and for trials left out.
        names: What each trial began with.
        evaluations: How many evaluations of the log-density all this took (a gradient counts as
            two).
    """

    betas: Float[Array, " beta"]
    log_weights: Float[Array, "trial beta particle"]
    names: tuple[str, ...] = eqx.field(static=True)
    evaluations: Whole = eqx.field(static=True)

    @property
    def free_energy(self) -> Estimate:
        """The lowest mean work at each beta, shape `[beta]`, in nats: `F` is at most this."""
        work = self._mean_work()
        best = np.argmin(_above(work), axis=0)
        return work[best, np.arange(len(best))]

    @property
    def highest(self) -> Float[Array, " beta"]:
        """The value at each beta that `F` exceeds with small chance only, in nats.

        The least, over the trials, of two numbers that hold for any law of the works, also for
        skew ones of which a few particles show nothing. With `c = 7 + log(2 * number of trials and
        betas)` and `n` particles

        - `-log mean(weight) + c`, by Markov's inequality;
        - the largest work plus `c/n`: a share above `1 - exp(-c/n)` of larger works would have
          shown, up to a chance of `exp(-c)`, so that `Z ≥ exp(-c/n) exp(-largest work)`.

        The chance that one of them all lies too low is at most `exp(-7)`, 1 in 1,000.
        """
        logs = np.asarray(self.log_weights, float)
        margin = NATS + np.log(2 * max(logs[..., 0].size, 1))
        work = np.max(-logs, axis=-1) + margin / logs.shape[-1]
        with np.errstate(divide="ignore"):
            average = np.log(logs.shape[-1]) - logsumexp(logs, axis=-1)
        average = np.where(np.isnan(average), np.inf, average)
        average = average + margin
        return jnp.asarray(np.min(np.minimum(work, average), axis=0))

    def _mean_work(self) -> Estimate:
        """`⟨-log weight⟩`, `[trial, beta]`; infinite where a particle found no finite density."""
        work = -np.asarray(self.log_weights, float)
        good = np.all(np.isfinite(work), axis=-1)
        safe = np.where(good[..., None], work, 0.0)
        mean = Estimate.of_samples(np.moveaxis(safe, -1, 0), exact=True)
        return mean.shifted(np.where(good, 0.0, np.inf))

    def excess(self, free_energy: Estimate) -> np.ndarray:
        """By how many nats a free energy at these betas lies above the bounds, errors allowed for.

        `F - 4 standard errors - highest`; a positive number contradicts the run.
        """
        lowest = np.asarray(free_energy.value) - SIGMAS * np.asarray(free_energy.standard_error)
        return lowest - np.asarray(self.highest)

    def __repr__(self) -> str:
        return f"Bounds: F is at most {self.free_energy!r}\n  at beta = {np.asarray(self.betas)}"


def _above(work: Estimate) -> np.ndarray:
    """Values with the errors allowed for; infinite ones stay so."""
    value, error = np.asarray(work.value), np.asarray(work.standard_error)
    return np.where(np.isfinite(value), value + SIGMAS * error, np.inf)
