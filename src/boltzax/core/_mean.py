"""The mean of numbers whose axes are named."""

import numpy as np
from jaxtyping import Array

from ._errors import DeclarationError
from ._estimate import Estimate
from ._series import check_real
from ._typing import typed


@typed
def mean_estimate(
    draws: Array | np.ndarray, *, axes: tuple[int, int] | None = None, exact: bool = False
) -> Estimate:
    """Mean over chains and draws, with the error of an autocorrelated mean.

    The numbers of a trace are averaged by `trace.mean(fn)` or `trace.mean_of(numbers)`, which know
    the axes.

    Args:
        draws: Numbers with axes `[chain, draw]`, or with more axes and `axes` given.
        axes: Which axes are chain and draw, e.g. `(0, 1)` for vectors `[chain, draw, entry]` and
            `(-2, -1)` for a curve `[beta, chain, draw]`.
        exact: Take a constant sequence for a number that is known exactly; see
            `Estimate.of_series`.

    Returns:
        An estimate of the shape of the other axes.

    Raises:
        DeclarationError: For an array of another number of axes than two without `axes`, or axes
            that it does not have.
    """
    check_real(draws)
    host = np.asarray(draws)
    if axes is None:
        if host.ndim != 2:
            raise DeclarationError(
                "draws",
                got=f"an array of shape {host.shape} without axes",
                expected="axes [chain, draw], or which axes are chain and draw",
                mend="use trace.mean(fn) or trace.mean_of(numbers); or pass axes=(0, 1) for "
                "[chain, draw, entry], axes=(-2, -1) for [beta, chain, draw]",
            )
        axes = (0, 1)
    if not _are_axes(axes, host.ndim):
        raise DeclarationError(
            "axes",
            got=f"{axes!r} for an array of shape {host.shape}",
            expected="two different axes of the array, chain and draw",
            mend="pass e.g. axes=(0, 1)",
        )
    if 0 in host.shape:
        raise DeclarationError(
            "draws",
            got=f"an array of shape {host.shape}",
            expected="at least one chain and one draw",
            mend="look for a slice that leaves nothing",
        )
    return Estimate.of_series(np.moveaxis(host, axes, (-2, -1)), exact=exact)


def _are_axes(axes: object, count: int) -> bool:
    if not isinstance(axes, tuple) or len(axes) != 2:
        return False
    whole = all(isinstance(axis, int) and -count <= axis < count for axis in axes)
    return whole and axes[0] % count != axes[1] % count
