"""Checks of a loss of one datum, by shape only: the model, its output, the labels."""

import abc
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import Constraint, DeclarationError, Refused, path_name
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
    """A loss of the output of a model against a label: what the checks of it need to know."""

    model: eqx.AbstractVar[PyTree]
    measure: eqx.AbstractVar[AbstractMeasure]
    target: eqx.AbstractVar[PyTree]

    @property
    @abc.abstractmethod
    def lengths(self) -> tuple[int, ...]:
        """How many parts a datum may have without a target: `(x, y)`, and what else."""

    @abc.abstractmethod
    def check_label(self, output: Shape, y: Shape) -> None:
        """Whether shapes and dtypes of an output and a label fit; else a DeclarationError."""


def check_model(model: PyTree) -> None:
    """Whether a model is a fixed function: no dropout that draws.

    Args:
        model: The model of a term.

    Raises:
        DeclarationError: for an `eqx.nn.Dropout` in training mode with p > 0.
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
    """Whether the loss of one datum is a real scalar, and model, output and labels fit.

    Args:
        term: A term of the energy that looks at data: an `AbstractDataTerm`.
        model: The model it is asked about.

    Raises:
        DeclarationError: naming the part that does not fit.
    """
    loss, datum = term.loss, term.measure.datum
    if isinstance(term, AbstractSupervised):
        _check_prediction(term, model)
    try:
        out = _pure_shape_of(loss, model, datum)
    except DeclarationError:
        raise
    except Exception as error:
        raise DeclarationError(
            "energy",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a loss of one datum of shape {_shapes(datum)}",
            mend="write the loss for one datum; boltzax does the batching" + _hint(model),
        ) from error
    if not hasattr(out, "shape") or out.shape != ():
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
    datum = term.measure.datum
    pairs = isinstance(datum, tuple | list) and len(datum) in term.lengths
    if term.target is None and not pairs:
        raise DeclarationError(
            "target",
            got=f"no target, and data of shape {_shapes(datum)}",
            expected="a target, or data that are pairs (x, y)",
            mend="pass target=bx.zero or a function, or use bx.Empirical((x, y))",
        )
    x = datum if term.target is not None else datum[0]
    try:
        f = _pure_shape_of(lambda model, x: model(x), model, x)
    except DeclarationError:
        raise
    except Exception as error:
        raise DeclarationError(
            "model",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a model of one datum x of shape {_shapes(x)}",
            mend="match the model's input to the measure's dimension (models see one datum)"
            + _hint(model),
        ) from error
    if not hasattr(f, "shape"):
        raise DeclarationError(
            "model",
            got=f"an output that is a {type(f).__name__}",
            expected="one array",
            mend="return one array from model(x)",
        )
    _check_no_broadcast(model, x)
    try:
        y = datum[1] if term.target is None else jax.eval_shape(lambda x: term.target(x), x)
        y = jax.eval_shape(jnp.asarray, y) if not hasattr(y, "shape") else y
    except Exception as error:
        raise DeclarationError(
            "target",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a function of one datum x of shape {_shapes(x)}",
            mend="write the target for one datum",
        ) from error
    term.check_label(f, y)


def _check_no_broadcast(model: PyTree, x: PyTree) -> None:
    """The dot product of a scalar datum with the embedding of `TwoLayer` would broadcast."""
    if not isinstance(model, TwoLayer):
        return
    shape, dim = _shapes(x), model.embedding.shape[1]
    if shape != str((dim,)):
        raise DeclarationError(
            "model",
            got=f"dim = {dim}",
            expected=f"the dimension of the measure: data of shape {shape}",
            mend="declare the model with the dim of the data, of shape (dim,) each",
        )


def _hint(model: PyTree) -> str:
    """More to mend, for a model whose layers normalise by batches."""
    nodes = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, eqx.nn.BatchNorm))
    if any(isinstance(node, eqx.nn.BatchNorm) and not node.inference for node in nodes):
        return "; its BatchNorm is in training mode: eqx.nn.inference_mode(model)"
    return ""


def _pure_shape_of(fn: Callable, model: PyTree, datum: PyTree) -> PyTree:
    """Shapes and dtypes of `fn(model, datum)`, refusing a model that the call changes."""

    def watched(model, datum):
        before = jax.tree.leaves(model)
        out = fn(model, datum)
        after, _ = jax.tree_util.tree_flatten_with_path(model)
        same = len(before) == len(after)
        changed = [
            path_name(path)
            for (path, leaf), old in zip(after, before, strict=False)
            if leaf is not old
        ]
        if changed or not same:
            raise DeclarationError(
                "model",
                got=f"a model that a call changes: {', '.join(changed[:4]) or 'new leaves'}",
                expected="a model that is a function of its weights and one datum",
                mend="switch to evaluation, e.g. `model.eval()` in flax nnx: batch statistics and "
                "dropout of training are not those of one datum",
            )
        return out

    return _shape_of(watched, model, datum)


def _shape_of(fn: Callable, *arguments: PyTree) -> PyTree:
    """Shapes and dtypes of `fn(*arguments)`; leaves that are not arrays are taken as they are."""
    return eqx.filter_eval_shape(lambda *a: jax.tree.map(jnp.asarray, fn(*a)), *arguments)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else "no message"


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: tuple(getattr(leaf, "shape", ())), tree))
