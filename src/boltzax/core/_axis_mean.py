"""The mean of numbers over chosen axes."""

import numpy as np
from jaxtyping import Array

from ._autocorrelation import check_some
from ._errors import DeclarationError
from ._estimate import Estimate
from ._tracing import check_known
from ._typing import typed


@typed
def mean_estimate(
    draws: Array | np.ndarray, *, axes: tuple[int, int] | None = None, exact: bool = False
) -> Estimate:
    """Mean over chains and draws, with the error of an autocorrelated mean.

    For the numbers of a trace use `trace.mean(fn)` or `trace.mean_of(numbers)`, which know the
    axes.

    Args:
        draws: Numbers with axes `[chain, draw]`, or with more axes and `axes` given.
        axes: Which axes are chain and draw, e.g. `(0, 1)` for vectors `[chain, draw, entry]` and
            `(-2, -1)` for a curve `[beta, chain, draw]`.
        exact: Treat a constant sequence as a number that is known exactly; see
            `Estimate.of_series`.

    Returns:
        An estimate of the shape of the other axes.

    Raises:
        DeclarationError: For numbers that are not real, an array without two axes where `axes` is
            not given, axes that it does not have, and no draws.
    """
    check_known("draws", draws, "mean_estimate")
    host = np.asarray(draws)
    if axes is None and host.ndim != 2:
        raise DeclarationError(
            "draws",
            got=f"an array of shape {host.shape} without axes",
            expected="axes [chain, draw], or which axes are chain and draw",
            mend="use trace.mean(fn) or trace.mean_of(numbers); or pass axes=(0, 1) for "
            "[chain, draw, entry], axes=(-2, -1) for [beta, chain, draw]",
        )
    chain, draw = axes or (0, 1)
    there = all(-host.ndim <= axis < host.ndim for axis in (chain, draw))
    if not there or (chain - draw) % host.ndim == 0:
        raise DeclarationError(
            "axes",
            got=f"{axes!r} for an array of shape {host.shape}",
            expected="two different axes of the array, chain and draw",
            mend="pass e.g. axes=(0, 1)",
        )
    check_some("draws", host.shape, 2, "chains and draws")
    return Estimate.of_series(np.moveaxis(host, (chain, draw), (-2, -1)), exact=exact)
