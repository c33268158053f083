"""Means and errors of autocorrelated series (by numpyro), of independent samples, of counts."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._errors import DeclarationError
from ._tracing import check_known, known, library

with warnings.catch_warnings():  # in a notebook numpyro asks for widgets, for bars never shown here
    warnings.filterwarnings("ignore", "IProgress not found")
    from numpyro import diagnostics


CONSTANT = 1e-14
"""Spread of numbers that are constant, over their mean."""


def check_real(draws: "Array | np.ndarray", argument: str = "draws") -> None:
    """Raise `DeclarationError` unless an array holds real numbers: NumPy would drop the imaginary
    part of complex numbers, and the mask of masked ones."""
    if isinstance(draws, np.ma.MaskedArray):
        raise DeclarationError(
            argument,
            got=f"a masked array of shape {draws.shape}",
            expected="numbers that all count",
            mend="leave out what is masked, values[~values.mask], or give it weight zero in "
            "bx.Empirical(data, weights=w)",
        )
    held = draws if isinstance(draws, jax.Array | np.ndarray | np.generic) else np.asarray(draws)
    if not any(jnp.issubdtype(held.dtype, kind) for kind in (np.floating, np.integer, np.bool_)):
        raise DeclarationError(
            argument,
            got=f"an array of {held.dtype}",
            expected="real numbers",
            mend="average the real and the imaginary part each on its own",
        )


def series_means(draws: "Array | np.ndarray", exact: bool) -> np.ndarray:
    """Mean, standard error, ess and r_hat of draws `[*batch, chain, draw]`: `[*batch, 4]`.

    A constant sequence has no error, or with `exact` the error 0; see `Estimate.of_series`.
    """
    check_known("draws", draws, "the error of an autocorrelated mean")
    host = np.asarray(draws, dtype=np.float64)
    *batch, chains, length = host.shape
    flat = host.reshape(-1, chains, length)
    rows = np.array([_mean_row(row, exact) for row in flat]).reshape(*batch, 4)
    # the mean can have more digits than the process holds
    kept = rows[..., 0].astype(jnp.result_type(float)).astype(np.float64)
    lost = np.abs(kept - rows[..., 0])
    rows[..., 1] = np.where(rows[..., 1] > 0, np.hypot(rows[..., 1], lost), rows[..., 1])
    return rows


def _mean_row(row: np.ndarray, exact: bool) -> tuple[float, float, float, float]:
    total = float(row.size)
    value = float(np.mean(row))
    if not np.all(np.isfinite(row)):
        return np.nan, np.nan, 0.0, np.inf
    spread = float(np.std(row))
    if spread <= CONSTANT * max(abs(value), 1e-300):
        return (value, 0.0, total, 1.0) if exact else (value, np.nan, np.nan, np.nan)
    if row.shape[1] < 2:  # nothing is known of how its draws depend on each other
        return value, np.nan, np.nan, np.nan
    ess = float(diagnostics.effective_sample_size(row[..., None])[0])
    ess = min(max(ess, 1.0), total) if np.isfinite(ess) else 1.0
    r_hat = (
        float(diagnostics.split_gelman_rubin(row[..., None])[0]) if row.shape[1] >= 4 else np.nan
    )
    return value, float(np.std(row, ddof=1)) / np.sqrt(ess), ess, r_hat


def independent(values, what: str, exact: bool) -> tuple:
    """Mean, error of the mean and number of independent samples along the first axis.

    Sums are in float64 on the host, else in two passes; results are float32 at least. A constant
    has no error, or with `exact` the error 0.
    """
    xp = library(values)
    values = xp.asarray(values)
    check_some("values", values.shape[:1], 1, f"{what}, along the first axis")
    floating = jnp.issubdtype(values.dtype, jnp.floating)
    kind = jnp.promote_types(values.dtype if floating else jnp.result_type(float), jnp.float32)
    values, count = values.astype(np.float64 if xp is np else kind), values.shape[0]
    with np.errstate(invalid="ignore"):  # values that are not finite have no finite mean
        mean = xp.mean(values, axis=0)
        mean = mean + xp.mean(values - mean, axis=0) if xp is jnp else mean
        if count < 2:
            return mean.astype(kind), np.nan, count
        spread = xp.std(values, axis=0, ddof=1)
        kept = mean.astype(kind)
        constant = xp.ptp(values, axis=0) <= CONSTANT * xp.maximum(abs(mean), 1e-300)
        error = xp.hypot(spread / count**0.5, kept.astype(values.dtype) - mean)
    return kept, xp.where(constant, 0.0 if exact else np.nan, error), count


def check_some(argument: str, shape: tuple[int, ...], axes: int, what: str) -> None:
    """Raise `DeclarationError` for an array without some axes, or with nothing along them."""
    if len(shape) < axes or 0 in shape:
        raise DeclarationError(
            argument,
            got=f"an array with axes {shape} there",
            expected=f"at least one of the {what}",
            mend="look for a slice that leaves nothing, or for a missing axis",
        )


def check_counts(hits, samples) -> None:
    """Raise `DeclarationError` for hits that are no counts up to the number of samples."""
    if not known(hits, samples):
        return
    h, n = np.asarray(hits), np.asarray(samples)
    if np.any(n < 1) or np.any(h < 0) or np.any(h > n) or np.any(h != np.round(h)):
        raise DeclarationError(
            "hits",
            got=f"{repr(hits)[:60]} of {repr(samples)[:40]}",
            expected="counts between 0 and the number of samples, at least 1",
            mend="count with jnp.sum(hit, axis=0)",
        )
