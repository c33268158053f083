"""Checks of the labels of a cross-entropy: their shape against the logits, and their values."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core import DeclarationError, eager, known
from ._measure import AbstractMeasure


def is_class(y: Array, logits_ndim: int) -> bool:
    """Whether labels are integer classes: integers with one axis less than the logits."""
    return jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == logits_ndim - 1


def check_labels(
    measure: AbstractMeasure,
    target: PyTree,
    logits,
    y,
    *,
    ignore: int | None,
    count: str | None,
) -> None:
    """Whether labels, mask and what n counts of a cross-entropy fit the logits.

    Args:
        measure: The measure of the data.
        target: The declared target, or None.
        logits: Shape and dtype of the output for one datum.
        y: Shape and dtype of its label.
        ignore: The label of positions that do not count, or None.
        count: What n counts, or None.

    Raises:
        DeclarationError: naming `model`, `target`, `mask`, `ignore` or `count`.
    """
    check_shapes(logits, y)
    positions = tuple(logits.shape[:-1])
    if ignore is not None and not jnp.issubdtype(y.dtype, jnp.integer):
        raise DeclarationError(
            "ignore",
            got=f"{ignore} for labels of dtype {y.dtype}",
            expected="integer labels, one of which is left out",
            mend="leave positions out by a mask: data (x, y, mask)",
        )
    masked = target is None and len(measure.datum) == 3
    if masked:
        _check_mask_shape(measure.datum[2], positions)
    if count is None and (positions or masked or ignore is not None):
        raise DeclarationError(
            "count",
            got=f"None, with {positions or 1} positions a datum"
            + (" of which some are left out" if masked or ignore is not None else ""),
            expected="what n counts: 'data' or 'tokens' (positions that count)",
            mend="pass CrossEntropy(..., count='tokens'); temperatures depend on n",
        )
    _check_values(
        measure, target, ignore, len(logits.shape), logits.shape[-1] if logits.shape else 2
    )


def check_shapes(logits, y) -> None:
    """Whether shapes and dtype of the labels of one datum fit its logits.

    Raises:
        DeclarationError: naming `model` or `target`.
    """
    shape, positions = tuple(y.shape), tuple(logits.shape[:-1])
    if logits.shape and logits.shape[-1] == 1:
        raise DeclarationError(
            "model",
            got=f"logits of shape {tuple(logits.shape)}, of one class",
            expected="a logit for each of at least two classes, or a scalar output, the logit of "
            "class 1 of two",
            mend="return a scalar from model(x), e.g. out[0]",
        )
    if not (shape == tuple(logits.shape) or is_class(y, len(logits.shape))) or (
        is_class(y, len(logits.shape)) and shape != positions
    ):
        raise DeclarationError(
            "target",
            got=f"labels of shape {shape} and dtype {y.dtype} for logits of shape "
            f"{tuple(logits.shape)}",
            expected=f"integer classes of shape {positions}, or probabilities of shape "
            f"{tuple(logits.shape)}",
            mend="cast labels to integers, or give one probability a class",
        )


def _check_mask_shape(mask, positions: tuple[int, ...]) -> None:
    if tuple(mask.shape) != positions:
        raise DeclarationError(
            "mask",
            got=f"shape {tuple(mask.shape)}",
            expected=f"one entry for each position, {positions}",
            mend="give data (x, y, mask) with a mask of the shape of the positions",
        )


@eager
def _check_values(
    measure: AbstractMeasure, target: PyTree, ignore: int | None, logits_ndim: int, classes: int
) -> None:
    points, _ = measure.nodes()
    if target is None:
        labels, mask = points[1], points[2] if len(points) == 3 else None
    else:
        labels, mask = jax.vmap(target)(points), None
    if not known(labels, mask):
        return
    labels = np.asarray(labels)
    whole = is_class(labels[0], logits_ndim)
    kept = np.ones(labels.shape if whole or logits_ndim == 0 else labels.shape[:-1], bool)
    if mask is not None:
        kept = _as_mask(mask)
    if ignore is not None:
        kept = kept & (labels != ignore)
    values = labels[kept]
    _check_range(values, classes - 1 if whole else 1)
    if not whole and logits_ndim:
        _check_sums(values)


def _as_mask(mask: Array) -> np.ndarray:
    values = np.asarray(mask)
    if not np.all((values == 0) | (values == 1)):
        raise DeclarationError(
            "mask",
            got=f"values between {values.min()} and {values.max()}",
            expected="true or false (1 or 0) for each position",
            mend="a weight for each datum belongs into the measure: bx.Empirical(data, weights=w)",
        )
    return values.astype(bool)


def _check_range(values: np.ndarray, top: int) -> None:
    if values.size and not (values.min() >= 0 and values.max() <= top):
        raise DeclarationError(
            "target",
            got=f"labels between {values.min()} and {values.max()}",
            expected=f"labels between 0 and {top}",
            mend="number the classes from 0 and give the model one logit for each; positions that "
            "do not count are left out by ignore=...",
        )


def slack(dtype) -> float:
    """By how much the sum of class probabilities of a dtype may differ from 1."""
    exact = jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_)
    return 0.0 if exact else max(1e-4, 8 * float(jnp.finfo(dtype).eps))


def _check_sums(values: np.ndarray) -> None:
    sums = np.sum(values.astype(float), axis=-1)
    worst = sums[np.argmax(np.abs(sums - 1))] if sums.size else 1.0
    if abs(worst - 1) > slack(values.dtype):
        raise DeclarationError(
            "target",
            got=f"class probabilities that sum to {worst:.6g}",
            expected="probabilities of the classes, which sum to 1",
            mend="divide them by their sum; for several labels of one datum write the loss as "
            "bx.PerDatum, for a weight of each datum pass bx.Empirical(data, weights=w)",
        )
