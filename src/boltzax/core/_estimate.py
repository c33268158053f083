"""A number with its error."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ._typing import typed

with warnings.catch_warnings():  # in a notebook numpyro asks for widgets, for bars never shown here
    warnings.filterwarnings("ignore", "IProgress not found")
    from numpyro import diagnostics


class Estimate(eqx.Module):
    """A Monte Carlo estimate: value, standard error, effective sample size, split r_hat.

    All four have one shape, e.g. `[beta]` for a curve, `[]` for a single number. The standard
    error is that of the mean of an autocorrelated sequence, sd/sqrt(ess), with `ess` from all
    chains and lags (Geyer's initial monotone sequence; Vehtari et al. 2021, Bayesian Analysis
    16:667, eq. 4.5), so it sees slow mixing inside a chain as well as disagreement between chains.
    """

    value: Float[Array, "*shape"]
    standard_error: Float[Array, "*shape"]
    ess: Float[Array, "*shape"]
    r_hat: Float[Array, "*shape"]

    def __getitem__(self, index) -> "Estimate":
        return jax.tree.map(lambda leaf: leaf[index], self)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def scaled(self, factor) -> "Estimate":
        """The estimate of `factor * quantity`."""
        factor = jnp.asarray(factor)
        return Estimate(
            self.value * factor, self.standard_error * jnp.abs(factor), self.ess, self.r_hat
        )

    def shifted(self, offset) -> "Estimate":
        """The estimate of `quantity + offset`, for an offset known exactly."""
        return Estimate(self.value + offset, self.standard_error, self.ess, self.r_hat)

    def z_score(self, truth) -> Float[Array, "*shape"]:
        """(value - truth) / standard_error: of order one if the error bar is honest."""
        return (self.value - jnp.asarray(truth)) / self.standard_error

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Central normal interval (lower, upper) of the given coverage."""
        half = jax.scipy.stats.norm.ppf(0.5 + level / 2) * self.standard_error
        return self.value - half, self.value + half

    def __repr__(self) -> str:
        if isinstance(self.value, Tracer) or not isinstance(self.value, jax.Array):
            return f"Estimate(shape={getattr(self.value, 'shape', None)})"
        if self.value.ndim == 0:
            return (
                f"{float(self.value):.5g} ± {float(self.standard_error):.2g} "
                f"(ess {float(self.ess):.0f}, r_hat {float(self.r_hat):.3f})"
            )
        rows = [repr(self[i]) for i in range(self.value.shape[0])]
        return "Estimate[\n  " + ",\n  ".join(rows) + "\n]"


@typed
def mean_estimate(draws: Float[Array, "*batch chain draw"]) -> Estimate:
    """Mean over chains and draws, with the error of an autocorrelated mean.

    A constant sequence has standard error 0, ess = chains x draws and r_hat 1. A non-finite draw
    makes the whole estimate non-finite: no chain is ever dropped.

    Runs on the host (NumPy), not under `jit`.
    """
    host = np.asarray(draws, dtype=np.float64)
    *batch, chains, length = host.shape
    flat = host.reshape(-1, chains, length)
    rows = np.array([_mean_row(row) for row in flat]).reshape(*batch, 4)
    return Estimate(*(jnp.asarray(rows[..., i], dtype=draws.dtype) for i in range(4)))


def _mean_row(row: np.ndarray) -> tuple[float, float, float, float]:
    total = float(row.size)
    value = float(np.mean(row))
    if not np.all(np.isfinite(row)):
        return np.nan, np.nan, 0.0, np.inf
    spread = float(np.std(row))
    if spread <= 1e-14 * max(abs(value), 1e-300):
        return value, 0.0, total, 1.0
    ess = float(diagnostics.effective_sample_size(row[..., None])[0])
    ess = min(max(ess, 1.0), total) if np.isfinite(ess) else 1.0
    r_hat = float(diagnostics.split_gelman_rubin(row[..., None])[0]) if row.shape[1] >= 4 else 1.0
    return value, float(np.std(row, ddof=1)) / np.sqrt(ess), ess, r_hat
