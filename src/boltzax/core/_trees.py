"""Weights as a flat dictionary from path to array."""

import fnmatch
import re
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def path_name(path: tuple) -> str:
    """Readable name of a key path: `layers[0].weight`."""
    return jax.tree_util.keystr(path).lstrip(".") or "weights"


class Setting(eqx.Module):
    """Arrays of a model that are settings and not weights.

    Args:
        value: Any pytree.
    """

    value: PyTree


def weights_of(model: PyTree) -> dict[str, Any]:
    """The weights of a model by path, in tree order.

    Weights are what equinox trains: inexact arrays, of jax or numpy (numpy scalars too). Python
    floats are settings. What a `Setting` holds, and state that a framework keeps in the model, such
    as running statistics
    (`eqx.nn.State`, variables of flax nnx other than `nnx.Param`), is not a weight either.

    Args:
        model: Any pytree.

    Returns:
        A dictionary from path, e.g. `layers[0].weight`, to leaf.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(model, is_leaf=_is_state)
    return {path_name(path): leaf for path, leaf in leaves if is_weight(leaf)}


def shared_weights(model: PyTree) -> dict[str, str]:
    """Weights that are one variable of flax nnx at several places: from each place to the first.

    As a pytree the model has such a weight several times, and the places are independent.
    """
    nnx = sys.modules.get("flax.nnx")  # a model can hold its variables only if it was imported
    if nnx is None:
        return {}
    nodes = jax.tree_util.tree_leaves_with_path(
        model, is_leaf=lambda node: isinstance(node, nnx.Variable)
    )
    first, shared = {}, {}
    for path, node in nodes:
        if isinstance(node, nnx.Param):
            leaves = jax.tree_util.tree_leaves_with_path(node)
            paths = [path_name((*path, *rest)) for rest, _ in leaves]
            places = first.setdefault(id(node), paths)
            if places is not paths:
                shared |= dict(zip(paths, places, strict=True))
    return shared


def shapes_of(model: PyTree) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of a model by path."""
    return {path: jnp.shape(leaf) for path, leaf in weights_of(model).items()}


def is_weight(leaf: Any) -> bool:
    """Whether a leaf of a model is an inexact array."""
    # `eqx.is_inexact_array` overlooks numpy arrays of bfloat16
    return eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.inexact)


def state_of(model: PyTree) -> tuple[str, ...]:
    """Paths of the inexact arrays of a model that are its state and not weights."""
    return tuple(path for path, leaf in settings_of(model).items() if is_weight(leaf))


def settings_of(model: PyTree) -> dict[str, Any]:
    """The numbers of a model by path that are not weights: settings, and arrays of its state."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(model)
    weights = weights_of(model)
    named = {path_name(path): leaf for path, leaf in leaves}
    return {
        path: leaf
        for path, leaf in named.items()
        if path not in weights and (isinstance(leaf, int | float | complex) or is_weight(leaf))
    }


def _is_state(node: Any) -> bool:
    """Whether a node of a model holds settings, or state of its framework: not trained."""
    if isinstance(node, eqx.nn.State | eqx.nn.StateIndex | Setting):
        return True
    nnx = sys.modules.get("flax.nnx")  # a model can hold its variables only if it was imported
    return nnx is not None and isinstance(node, nnx.Variable) and not isinstance(node, nnx.Param)


def with_weights(model: PyTree, weights: dict[str, Array]) -> PyTree:
    """The pytree with the leaves named in `weights` replaced; the others stay."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: weights.get(path_name(path), leaf), model
    )


def named(pattern: str, path: str) -> bool:
    """Whether a pattern is a path, or a glob for it. `[*]` is one index, `*` any text."""
    if pattern == path:
        return True
    pieces = (re.escape(piece).replace(r"\*", ".*") for piece in pattern.split("[*]"))
    return re.fullmatch(r"\[[^\[\]]*\]".join(pieces), path) is not None


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern matches a path: exactly, as a prefix (`layers[0]`), or as a glob."""
    if pattern == path or fnmatch.fnmatchcase(path, pattern.replace("[", "[[]")):
        return True
    return path.startswith(pattern) and path[len(pattern)] in ".["
