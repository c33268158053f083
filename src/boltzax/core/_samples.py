"""Independent samples and counts."""

import jax.numpy as jnp
import numpy as np

from ._errors import DeclarationError
from ._series import check_real
from ._tracing import known, library


def independent(values, what: str) -> tuple:
    """Mean, error of the mean and number of independent samples along the first axis."""
    check_real(values, "values")
    xp = library(values)
    values = xp.asarray(values)
    check_some("values", values.shape[:1], 1, f"{what}, along the first axis")
    kind = values.dtype if jnp.issubdtype(values.dtype, jnp.floating) else jnp.result_type(float)
    values, count = values.astype(kind), values.shape[0]
    mean = xp.mean(values, axis=0)
    if count < 2:
        return mean, np.nan, count
    return mean, xp.std(values, axis=0, ddof=1) / count**0.5, count


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
    for name, value in (("hits", hits), ("samples", samples)):
        check_real(value, name)
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
