"""Weights as a flat dictionary from path to array."""

import fnmatch
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PyTree


def path_name(path: tuple) -> str:
    """Readable name of a key path: `layers[0].weight`."""
    return jax.tree_util.keystr(path).lstrip(".") or "weights"


def weights_of(model: PyTree) -> dict[str, Any]:
    """The inexact-array leaves of a pytree by path, in tree order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(model)
    return {path_name(path): leaf for path, leaf in leaves if _is_weight(leaf)}


def _is_weight(leaf: Any) -> bool:
    # `eqx.is_inexact_array_like` fails on the tracers of jax 0.10
    return eqx.is_inexact_array(leaf) or isinstance(leaf, float | complex)


def with_weights(model: PyTree, weights: dict[str, Array]) -> PyTree:
    """The pytree with the leaves named in `weights` replaced; the others stay."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: weights.get(path_name(path), leaf), model
    )


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern names a path: exactly, as a prefix (`layers[0]`), or as a glob."""
    if pattern == path or fnmatch.fnmatchcase(path, pattern.replace("[", "[[]")):
        return True
    return path.startswith(pattern) and path[len(pattern)] in ".["
