"""The cross-entropy of classes, one or many positions a datum."""

from typing import Annotated, Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from ..core import Arrays, Model, Said, typed
from ._basis import widened
from ._check_labels import check_labels, check_shapes, is_class, slack
from ._check_loss import AbstractSupervised
from ._energy import AbstractCountedTerm, Target, split_datum
from ._measure import AbstractMeasure
from ._models import Predictor

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

    The last axis of the output holds the logits of the classes, the axes before it the positions:
    none for a plain classifier, one for a sequence (logits `[T, V]`, labels `[T]`). Labels are
    integer classes, one for each position, or class probabilities of the shape of the logits. A
    scalar output is the logit of class 1 of two, with a label in [0, 1]. A logit of -inf costs
    nothing where its class has no probability.

    Args:
        model: Any callable pytree: `model(x)`, `x` one datum.
        measure: The measure of the data: pairs `(x, y)`, or triples `(x, y, mask)` with `mask` true
            at the positions that count; of `x` alone if there is a `target`.
        target: `y = target(x)`, or None.
        count: What n counts, `"data"` or `"tokens"` (positions that count). It must be said where a
            datum has several positions or some are left out, because the temperatures and the
            default of `local_learning_coefficient` depend on n. `E` is the same sum either way.
        ignore: The integer label of positions that do not count, e.g. -100.
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
        check_labels(self.measure, self.target, output, y, ignore=self.ignore, count=self.count)

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
        """Input, label and mask of one datum."""
        if self.target is None and len(datum) == 3:
            return datum
        return (*split_datum(self.target, datum), None)

    def loss(self, model: Model, datum: Arrays) -> Float[Array, ""]:
        x, y, mask = self.parts(datum)
        logits, y = widened(model(x)), jnp.asarray(y)
        check_shapes(logits, y)
        kept = self._kept(logits.shape[:-1], y, mask)
        if logits.ndim == 0:
            y, logits = jnp.where(kept, y, 0), jnp.where(kept, logits, 0.0)
            losses = jnp.where(kept, _binary(logits, widened(y).astype(logits.dtype)), 0.0)
            return jnp.where(_is_mask(mask), losses, jnp.nan)
        wide = kept[..., None]
        logits = jnp.where(wide, logits, 0.0)
        if is_class(y, logits.ndim):
            losses = _of_classes(logits, jnp.where(kept, y, 0))
        else:
            even = 1 / logits.shape[-1]
            p = jnp.where(wide, widened(y).astype(logits.dtype), even)
            losses = _of_probabilities(logits, p, slack(y.dtype))
        return jnp.where(_is_mask(mask), jnp.sum(jnp.where(kept, losses, 0.0)), jnp.nan)

    def _kept(self, positions: tuple[int, ...], y: Array, mask: Array | None) -> Bool[Array, "..."]:
        """Which positions of a datum count."""
        kept = jnp.ones(positions, bool)
        if mask is not None:
            kept = kept & jnp.asarray(mask).astype(bool)
        if self.ignore is not None:
            kept = kept & (jnp.asarray(y) != self.ignore)
        return kept


def _is_mask(mask: Array | None) -> Bool[Array, ""] | bool:
    """Whether all entries say yes or no; others are weights, and do not belong there."""
    if mask is None or jnp.asarray(mask).dtype == bool:
        return True
    mask = jnp.asarray(mask)
    return jnp.all((mask == 0) | (mask == 1))


def _of_classes(logits: Float[Array, "*position class"], y: Array) -> Float[Array, "*position"]:
    """NaN for a class that does not exist: -1 would be taken for the last."""
    log_p = jax.nn.log_softmax(logits)
    losses = -jnp.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]
    return jnp.where((y >= 0) & (y < logits.shape[-1]), losses, jnp.nan)


def _of_probabilities(
    logits: Float[Array, "*position class"], y: Float[Array, "*position class"], slack: float
) -> Float[Array, "*position"]:
    """NaN for labels that are no probabilities of the classes."""
    # a class without probability costs nothing, be its logit -inf
    log_p = jnp.where(y == 0, 0.0, jax.nn.log_softmax(logits))
    fits = jnp.all(y >= 0, axis=-1) & (jnp.abs(jnp.sum(y, axis=-1) - 1) <= slack)
    return jnp.where(fits, -jnp.sum(y * log_p, axis=-1), jnp.nan)


def _binary(logit: Float[Array, ""], y: Float[Array, ""]) -> Float[Array, ""]:
    """NaN for a label that is no probability."""
    one = jnp.where(y == 0, 0.0, jax.nn.softplus(jnp.where(y == 0, 0.0, -logit)))
    zero = jnp.where(y == 1, 0.0, jax.nn.softplus(jnp.where(y == 1, 0.0, logit)))
    return jnp.where((y >= 0) & (y <= 1), y * one + (1 - y) * zero, jnp.nan)
