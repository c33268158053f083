"""Mean and error of autocorrelated numbers, by the diagnostics of numpyro."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._errors import DeclarationError

with warnings.catch_warnings():  # in a notebook numpyro asks for widgets, for bars never shown here
    warnings.filterwarnings("ignore", "IProgress not found")
    from numpyro import diagnostics


def check_unmasked(argument: str, values: object) -> None:
    """Raise `DeclarationError` for a masked array: as an array it loses its mask."""
    if isinstance(values, np.ma.MaskedArray):
        raise DeclarationError(
            argument,
            got=f"a masked array of shape {values.shape}",
            expected="numbers that all count",
            mend="leave out what is masked, values[~values.mask], or give it weight zero in "
            "bx.Empirical(data, weights=w)",
        )


def check_real(draws: "Array | np.ndarray", argument: str = "draws") -> None:
    """Raise `DeclarationError` for complex numbers, whose imaginary part NumPy would drop, for
    masked ones, whose mask it would, and for what is no number."""
    check_unmasked(argument, draws)
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
    if spread <= 1e-14 * max(abs(value), 1e-300):
        return (value, 0.0, total, 1.0) if exact else (value, np.nan, np.nan, np.nan)
    if row.shape[1] < 2:  # nothing is known of how its draws depend on each other
        return value, np.nan, np.nan, np.nan
    ess = float(diagnostics.effective_sample_size(row[..., None])[0])
    ess = min(max(ess, 1.0), total) if np.isfinite(ess) else 1.0
    r_hat = (
        float(diagnostics.split_gelman_rubin(row[..., None])[0]) if row.shape[1] >= 4 else np.nan
    )
    return value, float(np.std(row, ddof=1)) / np.sqrt(ess), ess, r_hat
