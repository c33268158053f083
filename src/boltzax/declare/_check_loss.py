"""Checks of the loss of one datum, by shape only: the model, its output, the labels."""

import abc
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import Constraint, DeclarationError, Refused, errors_named, path_name
from ._measure import AbstractMeasure
from ._models import TwoLayer


def _shape(value: Any) -> Any:
    if not isinstance(value, jax.ShapeDtypeStruct | jax.Array | np.ndarray | np.generic):
        raise Refused
    return value


Shape: TypeAlias = Annotated[
    Any,
    Constraint(
        "an array, or its shape and dtype", "pass an array or a jax.ShapeDtypeStruct", _shape
    ),
]


class AbstractSupervised(eqx.Module):
    """A loss that compares the output of a model with a label."""

    model: eqx.AbstractVar[PyTree]
    measure: eqx.AbstractVar[AbstractMeasure]
    target: eqx.AbstractVar[PyTree]

    @property
    @abc.abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """The allowed numbers of parts of a datum without a target: 2 for `(x, y)`."""

    @property
    def labels_from(self) -> str:
        """The argument that gives the labels: the target, or the measure by its data."""
        return "measure" if self.target is None else "target"

    @abc.abstractmethod
    def check_label(self, output: Shape, y: Shape) -> None:
        """Raise a DeclarationError unless shapes and dtypes of an output and a label match."""


def check_model(model: PyTree) -> None:
    """Check that a model is deterministic.

    Args:
        model: The model of a term.

    Raises:
        DeclarationError: For an `eqx.nn.Dropout` in training mode with p > 0.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(
        model, is_leaf=lambda node: isinstance(node, eqx.nn.Dropout)
    )
    for path, node in leaves:
        if isinstance(node, eqx.nn.Dropout) and not node.inference and node.p > 0:
            raise DeclarationError(
                f"model.{path_name(path)}",
                got=f"Dropout(p={node.p}) in training mode, which is random and needs a key",
                expected="a model that is a function of its weights and one datum",
                mend="switch to inference: eqx.nn.inference_mode(model)",
            )


def check_loss(term, model: PyTree) -> None:
    """Check that the loss of one datum is a real scalar, and that model, output and label match.

    Args:
        term: A term of the energy with a measure, an `AbstractDataTerm`.
        model: The model to evaluate it at.

    Raises:
        DeclarationError: Naming `model`, `target` or `energy`.
    """
    datum, loss = term.measure.datum, term.loss
    if isinstance(term, AbstractSupervised):
        _check_prediction(term, model)
    expected = f"a loss of one datum of shape {_shapes(datum)}"
    mend = "write the loss for one datum; boltzax does the batching" + _hint(model)
    with errors_named("energy", expected=expected, mend=mend):
        out = _pure_shape_of(loss, model, datum)
    if not isinstance(out, jax.ShapeDtypeStruct) or out.shape != ():
        raise DeclarationError(
            "energy",
            got=f"a loss of shape {_shapes(out)}",
            expected="a scalar loss for one datum",
            mend="sum over the outputs of one datum, e.g. jnp.sum(...)",
        )
    if not jnp.issubdtype(out.dtype, jnp.floating):
        raise DeclarationError(
            "energy",
            got=f"a loss of dtype {out.dtype}",
            expected="a real floating-point loss",
            mend="return a float; for accuracies use a differentiable surrogate",
        )


def _check_prediction(term: AbstractSupervised, model: PyTree) -> None:
    datum, target = term.measure.datum, term.target
    if target is None and not (isinstance(datum, tuple | list) and len(datum) in term.lengths):
        raise DeclarationError(
            "target",
            got=f"no target, and data of shape {_shapes(datum)}",
            expected="a target, or data that are pairs (x, y)",
            mend="pass target=bx.zero or a function, or use bx.Empirical((x, y))",
        )
    x = datum if target is not None else datum[0]
    expected = f"a model of one datum x of shape {_shapes(x)}"
    mend = "match the model's input to the measure's dimension (models see one datum)"
    with errors_named("model", expected=expected, mend=mend + _hint(model)):
        output = _pure_shape_of(lambda model, x: model(x), model, x)
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise DeclarationError(
            "model",
            got=f"an output that is a {type(output).__name__}",
            expected="one array",
            mend="return one array from model(x)",
        )
    # the dot product of a scalar datum with the embedding of `TwoLayer` would broadcast
    if isinstance(model, TwoLayer) and _shapes(x) != str((model.embedding.shape[1],)):
        raise DeclarationError(
            "model",
            got=f"dim = {model.embedding.shape[1]}",
            expected=f"the dimension of the measure: data of shape {_shapes(x)}",
            mend="declare the model with the dim of the data, of shape (dim,) each",
        )
    y = datum[1] if target is None else None
    if target is not None:
        expected = f"a function of one datum x of shape {_shapes(x)}"
        with errors_named("target", expected=expected, mend="write the target for one datum"):
            y = jax.eval_shape(lambda x: jnp.asarray(target(x)), x)
    term.check_label(output, y)


def _hint(model: PyTree) -> str:
    """An addition to the mend, for batch normalisation in training mode, and flax linen."""
    nodes = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, eqx.nn.BatchNorm))
    if any(isinstance(node, eqx.nn.BatchNorm) and not node.inference for node in nodes):
        return "; its BatchNorm is in training mode: eqx.nn.inference_mode(model)"
    if any(kind.__module__.startswith("flax.linen") for kind in type(model).__mro__):
        return "; a module of flax linen: bx.models.Function(lambda w, x: net.apply(w, x), w)"
    return ""


def _pure_shape_of(fn: Callable, model: PyTree, datum: PyTree) -> PyTree:
    """Shapes and dtypes of `fn(model, datum)`; a DeclarationError if the call changes the model."""

    def watched(model, datum):
        before = jax.tree.leaves(model)
        out = fn(model, datum)
        after, _ = jax.tree_util.tree_flatten_with_path(model)
        pairs = zip(after, before, strict=False)
        changed = [path_name(path) for (path, leaf), old in pairs if leaf is not old]
        if changed or len(before) != len(after):
            raise DeclarationError(
                "model",
                got=f"a model that a call changes: {', '.join(changed[:4]) or 'new leaves'}",
                expected="a model that is a function of its weights and one datum",
                mend="switch to evaluation, e.g. `model.eval()` in flax nnx: batch statistics and "
                "dropout of training are not those of one datum",
            )
        return jax.tree.map(jnp.asarray, out)

    return eqx.filter_eval_shape(watched, model, datum)


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: tuple(getattr(leaf, "shape", ())), tree))
