"""Checks of a loss of one datum, by shape only: the model, its output, the labels."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..core import DeclarationError, path_name
from ..declare import AbstractDataTerm, CrossEntropy, SquaredError, TwoLayer
from ._check_labels import check_labels


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


def check_loss(term: AbstractDataTerm) -> None:
    """Whether the loss of one datum is a real scalar, and model, output and labels fit.

    Args:
        term: A term of the energy that looks at data.

    Raises:
        DeclarationError: naming the part that does not fit.
    """
    if isinstance(term, SquaredError | CrossEntropy):
        _check_prediction(term)
    try:
        out = _pure_shape_of(term.loss, term.model, term.measure.datum)
    except DeclarationError:
        raise
    except Exception as error:
        raise DeclarationError(
            "energy",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a loss of one datum of shape {_shapes(term.measure.datum)}",
            mend="write the loss for one datum; boltzax does the batching" + _hint(term.model),
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


def _check_prediction(term: SquaredError | CrossEntropy) -> None:
    datum = term.measure.datum
    lengths = (2, 3) if isinstance(term, CrossEntropy) else (2,)
    if term.target is None and not (isinstance(datum, tuple | list) and len(datum) in lengths):
        raise DeclarationError(
            "target",
            got=f"no target, and data of shape {_shapes(datum)}",
            expected="a target, or data that are pairs (x, y)",
            mend="pass target=bx.zero or a function, or use bx.Empirical((x, y))",
        )
    x = datum if term.target is not None else datum[0]
    try:
        f = _pure_shape_of(lambda model, x: model(x), term.model, x)
    except DeclarationError:
        raise
    except Exception as error:
        raise DeclarationError(
            "model",
            got=f"{type(error).__name__}: {_first_line(error)}",
            expected=f"a model of one datum x of shape {_shapes(x)}",
            mend="match the model's input to the measure's dimension (models see one datum)"
            + _hint(term.model),
        ) from error
    if not hasattr(f, "shape"):
        raise DeclarationError(
            "model",
            got=f"an output that is a {type(f).__name__}",
            expected="one array",
            mend="return one array from model(x)",
        )
    _check_no_broadcast(term, x)
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
    _check_target(term, f, y)


def _check_no_broadcast(term: AbstractDataTerm, x: PyTree) -> None:
    """The dot product of a scalar datum with the embedding of `TwoLayer` would broadcast."""
    if not isinstance(term.model, TwoLayer):
        return
    shape, dim = _shapes(x), term.model.embedding.shape[1]
    if shape != str((dim,)):
        raise DeclarationError(
            "model",
            got=f"dim = {dim}",
            expected=f"the dimension of the measure: data of shape {shape}",
            mend="declare the model with the dim of the data, of shape (dim,) each",
        )


def _check_target(term: SquaredError | CrossEntropy, f, y) -> None:
    shape = tuple(getattr(y, "shape", ()))
    if isinstance(term, SquaredError):
        constant = shape == () and term.target is not None
        if shape != tuple(f.shape) and not constant:
            raise DeclarationError(
                "target",
                got=f"shape {shape} against a model output of shape {tuple(f.shape)}",
                expected="equal shapes, so that nothing broadcasts silently",
                mend="reshape the labels or the model's output, e.g. y[:, None] or out[0]",
            )
        return
    check_labels(term, f, y)


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
