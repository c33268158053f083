"""The cross-entropy of classes, with one or many positions in a datum, and checks of its labels."""

from typing import Annotated, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from ..core import Arrays, DeclarationError, Model, Said, eager, known, typed
from ._basis import widened
from ._check_loss import AbstractSupervised
from ._energy import AbstractCountedTerm, Target, split_datum
from ._measure import AbstractMeasure
from ._models import Predictor
from ._transformer import Transformer, check_ids

Counts: TypeAlias = Annotated[
    Literal["data", "tokens"] | None,
    Said(mend="say what n counts; a weight for each datum belongs into the measure"),
]
Ignored: TypeAlias = Annotated[
    int | None,
    Said(
        expected="an integer label, or None",
        mend="pass e.g. ignore=-100; for a mask let the data be (x, y, mask)",
    ),
]


@typed
class CrossEntropy(AbstractCountedTerm, AbstractSupervised):
    """`E(w) = ∫ Σ_t -log softmax(f(x)_t)_{y_t} μ(dz)` in nats, a sum over the positions of a datum.

    The last axis of the output holds the logits of the classes. The axes before it are positions:
    none for a classifier, one for a sequence (logits `[T, V]`, labels `[T]`). Labels are integer
    classes, one for each position, or class probabilities of the shape of the logits. A scalar
    output is the logit of class 1 of two; its label is a probability in [0, 1]. A class of
    probability 0 contributes 0 even if its logit is -inf.

    Args:
        model: Any callable pytree: `model(x)`, `x` one datum.
        measure: The measure of the data: pairs `(x, y)`, or triples `(x, y, mask)` with `mask` true
            at the positions that count; of `x` alone if there is a `target`.
        target: `y = target(x)`, or None.
        count: The unit of n, `"data"` or `"tokens"` (positions that count). It is required if a
            datum has several positions or some of them are ignored, because temperatures and the
            default of `local_learning_coefficient` depend on n. `E` is the same sum for both.
        ignore: The integer label of positions that do not count, e.g. -100.

    Raises:
        DeclarationError: By `compile`, if labels, mask or `count` do not match the logits, or a
            `Transformer` has no embedding of a token id.
    """

    model: Predictor
    measure: AbstractMeasure
    target: Target = None
    count: Counts = eqx.field(static=True, default=None, kw_only=True)
    ignore: Ignored = eqx.field(static=True, default=None, kw_only=True)

    @property
    def lengths(self) -> tuple[int, ...]:
        return (2, 3)

    def check_label(self, output, y) -> None:
        _check_shapes(output, y, self.labels_from)
        positions = tuple(output.shape[:-1])
        if self.ignore is not None and not jnp.issubdtype(y.dtype, jnp.integer):
            raise DeclarationError(
                "ignore",
                got=f"{self.ignore} for labels of dtype {y.dtype}",
                expected="integer labels, one of which is left out",
                mend="leave positions out by a mask: data (x, y, mask)",
            )
        masked = self.target is None and len(self.measure.datum) == 3
        if masked and tuple(self.measure.datum[2].shape) != positions:
            raise DeclarationError(
                "mask",
                got=f"shape {tuple(self.measure.datum[2].shape)}",
                expected=f"one entry for each position, {positions}",
                mend="give data (x, y, mask) with a mask of the shape of the positions",
            )
        partial = masked or self.ignore is not None
        if self.count is None and (positions or partial):
            raise DeclarationError(
                "count",
                got=f"None, with {positions or 1} positions in a datum"
                + (", some of which are ignored" if partial else ""),
                expected="the unit of n: 'data' or 'tokens' (positions that count)",
                mend="pass CrossEntropy(..., count='tokens'); temperatures depend on n",
            )
        self._check_values(len(output.shape), output.shape[-1] if output.shape else 2)

    @eager
    def _check_values(self, logits_ndim: int, classes: int) -> None:
        """Check the labels and masks of all data, and ids of a transformer, where known."""
        points, _ = self.measure.nodes()
        if self.target is None:
            x, labels, mask = points[0], points[1], points[2] if len(points) == 3 else None
        else:
            x, labels, mask = points, jax.vmap(self.target)(points), None
        if isinstance(self.model, Transformer):
            check_ids(self.model, x)
        if not known(labels, mask):
            return
        labels = np.asarray(labels)
        integer = _is_class(labels[0], logits_ndim)
        kept = np.ones(labels.shape if integer or logits_ndim == 0 else labels.shape[:-1], bool)
        if mask is not None:
            mask = np.asarray(mask)
            if not np.all((mask == 0) | (mask == 1)):
                raise DeclarationError(
                    "mask",
                    got=f"values between {mask.min()} and {mask.max()}",
                    expected="true or false (1 or 0) for each position",
                    mend="for a weight of each datum pass bx.Empirical(data, weights=w)",
                )
            kept = mask.astype(bool)
        if self.ignore is not None:
            kept = kept & (labels != self.ignore)
        values, top = labels[kept], classes - 1 if integer else 1
        if values.size and not (values.min() >= 0 and values.max() <= top):
            raise DeclarationError(
                self.labels_from,
                got=f"labels between {values.min()} and {values.max()}",
                expected=f"labels between 0 and {top}",
                mend="number the classes from 0 and give the model one logit for each; positions "
                "that do not count are left out by ignore=...",
            )
        if not integer and logits_ndim and values.size:
            sums = np.sum(values.astype(float), axis=-1)
            worst = sums[np.argmax(np.abs(sums - 1))]
            if abs(worst - 1) > _tolerance(values.dtype):
                raise DeclarationError(
                    self.labels_from,
                    got=f"class probabilities that sum to {worst:.6g}",
                    expected="probabilities of the classes, which sum to 1",
                    mend="divide them by their sum; for several labels of one datum write the loss "
                    "as bx.PerDatum, for a weight of each datum pass bx.Empirical(data, weights=w)",
                )

    @property
    def unit(self) -> str:
        return self.count or "data"

    def counted(self, datum: Arrays) -> Float[Array, ""]:
        if self.unit == "data":
            return widened(1)
        x, y, mask = self.parts(datum)
        out = eqx.filter_eval_shape(lambda model, x: model(x), self.model, x)
        return jnp.sum(widened(self._kept(out.shape[:-1], y, mask)))

    def parts(self, datum: Arrays) -> tuple[PyTree, Array, Array | None]:
        """Input, label and mask of one datum; the mask is None if the data have none."""
        if self.target is None and len(datum) == 3:
            return datum
        return (*split_datum(self.target, datum), None)

    def loss(self, model: Model, datum: Arrays) -> Float[Array, ""]:
        """The sum over positions. NaN for a label or a mask whose value is not valid."""
        x, y, mask = self.parts(datum)
        logits, y = widened(model(x)), jnp.asarray(y)
        _check_shapes(logits, y, self.labels_from)
        kept = self._kept(logits.shape[:-1], y, mask)
        valid = True
        if mask is not None and jnp.asarray(mask).dtype != bool:
            valid = jnp.all((jnp.asarray(mask) == 0) | (jnp.asarray(mask) == 1))
        if logits.ndim == 0:
            y, logits = jnp.where(kept, y, 0), jnp.where(kept, logits, 0.0)
            losses = jnp.where(kept, _binary(logits, widened(y).astype(logits.dtype)), 0.0)
            return jnp.where(valid, losses, jnp.nan)
        wide = kept[..., None]
        logits = jnp.where(wide, logits, 0.0)
        if _is_class(y, logits.ndim):
            losses = _of_classes(logits, jnp.where(kept, y, 0))
        else:
            even = 1 / logits.shape[-1]
            p = jnp.where(wide, widened(y).astype(logits.dtype), even)
            losses = _of_probabilities(logits, p, _tolerance(y.dtype))
        return jnp.where(valid, jnp.sum(jnp.where(kept, losses, 0.0)), jnp.nan)

    def _kept(self, positions: tuple[int, ...], y: Array, mask: Array | None) -> Bool[Array, "..."]:
        """True at the positions of a datum that count."""
        kept = jnp.ones(positions, bool)
        if mask is not None:
            kept = kept & jnp.asarray(mask).astype(bool)
        if self.ignore is not None:
            kept = kept & (jnp.asarray(y) != self.ignore)
        return kept


def _is_class(y: Array | np.ndarray, logits_ndim: int) -> bool:
    """Whether labels are integer classes: integers with one axis less than the logits."""
    return jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == logits_ndim - 1


def _tolerance(dtype) -> float:
    """How far the sum of class probabilities of a dtype may differ from 1."""
    exact = jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_)
    return 0.0 if exact else max(1e-4, 8 * float(jnp.finfo(dtype).eps))


def _check_shapes(logits, y, labels_from: str) -> None:
    """Check shapes and dtype of the labels of one datum, from this argument, against its logits."""
    shape, outputs, integer = tuple(y.shape), tuple(logits.shape), _is_class(y, len(logits.shape))
    if outputs and outputs[-1] == 1:
        raise DeclarationError(
            "model",
            got=f"logits of shape {outputs}, of one class",
            expected="a logit for each of at least two classes, or a scalar output, the logit of "
            "class 1 of two",
            mend="return a scalar from model(x), e.g. out[0]",
        )
    if shape != (outputs[:-1] if integer else outputs):
        raise DeclarationError(
            labels_from,
            got=f"labels of shape {shape} and dtype {y.dtype} for logits of shape {outputs}",
            expected=f"integer classes of shape {outputs[:-1]}, or probabilities of shape "
            f"{outputs}",
            mend="cast labels to integers, or give one probability for each class",
        )


def _of_classes(logits: Float[Array, "*position class"], y: Array) -> Float[Array, "*position"]:
    """The loss of integer classes; NaN for a class that does not exist (jax would wrap -1)."""
    log_p = jax.nn.log_softmax(logits)
    losses = -jnp.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
    return jnp.where((y >= 0) & (y < logits.shape[-1]), losses, jnp.nan)


def _of_probabilities(
    logits: Float[Array, "*position class"], y: Float[Array, "*position class"], tolerance: float
) -> Float[Array, "*position"]:
    """The loss of class probabilities; NaN for negative ones or a sum other than 1."""
    # a class of probability 0 contributes 0, also if its logit is -inf
    log_p = jnp.where(y == 0, 0.0, jax.nn.log_softmax(logits))
    valid = jnp.all(y >= 0, axis=-1) & (jnp.abs(jnp.sum(y, axis=-1) - 1) <= tolerance)
    return jnp.where(valid, -jnp.sum(y * log_p, axis=-1), jnp.nan)


def _binary(logit: Float[Array, ""], y: Float[Array, ""]) -> Float[Array, ""]:
    """The loss of two classes; NaN for a label outside [0, 1]."""
    loss_one = jnp.where(y == 0, 0.0, jax.nn.softplus(jnp.where(y == 0, 0.0, -logit)))
    loss_zero = jnp.where(y == 1, 0.0, jax.nn.softplus(jnp.where(y == 1, 0.0, logit)))
    return jnp.where((y >= 0) & (y <= 1), y * loss_one + (1 - y) * loss_zero, jnp.nan)
