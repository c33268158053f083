"""Parts of a model by name: layers, heads, neurons, as charts."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import numpy as np

from ..core import Count, DeclarationError, Model, Said, matches, named, path_name, shapes_of, typed
from ._chart import AbstractChart, Composed, Mask, Select
from ._transformer import Attention

Axes: TypeAlias = Annotated[
    Mapping[str, int] | int | None,
    Said(
        "an axis, or a dictionary from leaf to axis",
        'write e.g. axes={"up.weight": 0, "down.weight": 1}',
    ),
]
OWN = {"query": 0, "key": 0, "value": 0, "output": 0}
EQUINOX = {
    "query_proj.weight": 0, "query_proj.bias": 0,
    "key_proj.weight": 0, "key_proj.bias": 0,
    "value_proj.weight": 0, "value_proj.bias": 0,
    "output_proj.weight": 1,
}  # fmt: skip
FLAX = {
    **{f"{name}.{leaf}": axis for name in ("query", "key", "value") for leaf, axis in
       (("kernel", 1), ("bias", 0))},
    "out.kernel": 0,
}  # fmt: skip
"""The axis over heads (or a multiple of them) of the weights of attentions."""


@typed
def parts(
    model: Model,
    pattern: str,
    *,
    heads: Count | None = None,
    split: Count | None = None,
    axes: Axes = None,
) -> dict[str, AbstractChart]:
    """Name parts of a model: layers, attention heads, neurons. Each is a chart of its weights.

    Without `heads`, `split` and `axes`, each node that matches is one part. With `heads`, each
    attention that matches has one part for each head: query, key and value with their biases, and
    the output weights. Biases of the output belong to no head. Otherwise leaves are cut along an
    axis: for the neurons of two dense layers
    `axes={"up.weight": 0, "up.bias": 0, "down.weight": 1}`. Leaves that are not named belong to no
    part.

    Args:
        model: The model.
        pattern: The path of a node (`"blocks[0].attention"`), of a leaf, or a glob
            (`"blocks[*].mlp"`); `""` is the model. In a glob `[*]` is one index, `*` any text.
        heads: The number of heads of `bx.models.Transformer`, `eqx.nn.MultiheadAttention` or
            `nnx.MultiHeadAttention`.
        split: In how many equal pieces the leaves are cut; the length of the axis if None.
        axes: The axis along which leaves are cut: of all leaves, or from a path within the node, a
            prefix or a glob.

    Returns:
        From name to chart. Names are the path, `path.heads[i]` or `path.part[i]`.

    Raises:
        DeclarationError: For a pattern that names no weights; for heads of a module whose weights
            are not known; for leaves that cannot be cut.
    """
    if (axes is not None and heads is not None) or (split is not None and axes is None):
        raise DeclarationError(
            "axes",
            got=f"heads={heads}, split={split}, axes={axes}",
            expected="heads alone, or axes with or without split",
            mend='write e.g. heads=4, or split=8, axes={"weight": 0}',
        )
    weights, nodes = shapes_of(model), _nodes(model)
    found: dict[str, AbstractChart] = {}
    for path in _matching(pattern, nodes):
        inside = {leaf: shape for leaf, shape in weights.items() if _within(path, leaf) is not None}
        if heads is not None:
            cut = _cuts(path, inside, _head_axes(path, nodes[path], heads))
            found |= _pieces(path, "heads", inside, cut, heads)
        elif axes is not None:
            given = {"*": axes} if isinstance(axes, int) else axes
            cut = _cuts(path, inside, given, strict=True)
            found |= _pieces(path, "part", inside, cut, split)
        else:
            found[path or "model"] = Select(path or "*")
    return found


def _within(path: str, leaf: str) -> str | None:
    """The path of a leaf from a node; None if it is not within."""
    if not path:
        return leaf
    rest = leaf.removeprefix(path)
    inside = leaf.startswith(path) and rest[:1] in ("", ".", "[")
    return rest.removeprefix(".") if inside else None


def _nodes(model: Any) -> dict[str, Any]:
    """The nodes and leaves of a model that hold weights, by path; the model itself is `""`."""
    weights = shapes_of(model)
    found = {}

    def visit(node: Any, path: tuple) -> None:
        name = path_name(path) if path else ""
        if any(_within(name, leaf) is not None for leaf in weights):
            found.setdefault(name, node)
            children, _ = jax.tree_util.tree_flatten_with_path(
                node, is_leaf=lambda inner: inner is not node
            )
            for key, child in children:
                if child is not node:
                    visit(child, path + key)

    visit(model, ())
    return found


def _matching(pattern: str, nodes: dict[str, Any]) -> list[str]:
    paths = [path for path in nodes if pattern == path or (path and named(pattern, path))]
    if not paths:
        raise DeclarationError(
            "pattern",
            got=f"{pattern!r}, which names no weights",
            expected=f"one of {sorted(filter(None, nodes))}",
            mend="correct the path, or write a glob, e.g. 'blocks[*].mlp'",
        )
    return paths


def _head_axes(path: str, node: Any, heads: int) -> dict[str, int]:
    """The axes over heads of the leaves of an attention."""
    nnx = sys.modules.get("flax.nnx")  # a model can hold its modules only if it was imported
    if isinstance(node, Attention):
        there, axes = node.query.shape[0], OWN
    elif isinstance(node, eqx.nn.MultiheadAttention):
        there, axes = node.num_heads, EQUINOX
    elif nnx is not None and isinstance(node, nnx.MultiHeadAttention):
        there, axes = node.num_heads, FLAX
    else:
        raise DeclarationError(
            "heads",
            got=f"{path or 'the model'!r}, a {type(node).__name__}",
            expected="an attention of bx.models.Transformer, eqx.nn or flax nnx",
            mend='name the axes over heads: split=4, axes={"query.weight": 0, "out.weight": 1}',
        )
    if there != heads:
        raise DeclarationError(
            "heads",
            got=f"{heads}, for {path!r} with {there}",
            expected="the number of heads of the module",
            mend=f"write heads={there}",
        )
    return axes


def _cuts(
    path: str, inside: dict[str, tuple], axes: Mapping[str, int], *, strict: bool = False
) -> dict[str, int]:
    """The axis of each leaf that is cut; with `strict` each name must be that of a leaf."""
    relative = {leaf: _within(path, leaf) or "" for leaf in inside}
    cut: dict[str, int] = {}
    for pattern, axis in axes.items():
        named_leaves = [leaf for leaf, name in relative.items() if matches(pattern, name)]
        if strict and not named_leaves:
            raise _uncut(f"{pattern!r}, which is none of {list(relative.values())} in {path!r}")
        cut = dict.fromkeys(named_leaves, axis) | cut
    return {leaf: cut[leaf] for leaf in inside if leaf in cut}


def _pieces(
    path: str, word: str, inside: dict[str, tuple], cut: dict[str, int], count: int | None
) -> dict[str, AbstractChart]:
    """One chart for each piece of the leaves that are cut."""
    for leaf, axis in cut.items():
        if not -len(inside[leaf]) <= axis < len(inside[leaf]):
            raise _uncut(f"the axis {axis} of {leaf!r} of shape {inside[leaf]}")
    sizes = {leaf: inside[leaf][axis] for leaf, axis in cut.items()}
    count = count or (next(iter(sizes.values())) if len(set(sizes.values())) == 1 else None)
    if count is None or any(size % count for size in sizes.values()):
        raise _uncut(f"axes of sizes {sizes}" + (f" for {count} pieces" if count else ""))
    prefix = f"{path}." if path else ""
    return {
        f"{prefix}{word}[{i}]": Composed((Select(*cut), Mask(_masks(inside, cut, i, count))))
        for i in range(count)
    }


def _masks(inside: dict, cut: dict[str, int], number: int, count: int) -> dict[str, np.ndarray]:
    """One piece of each leaf: views of one row, which take no memory of the size of the leaf."""
    masks = {}
    for leaf, axis in cut.items():
        size = inside[leaf][axis]
        row = np.arange(size) // (size // count) == number
        behind = len(inside[leaf]) - 1 - axis % len(inside[leaf])
        masks[leaf] = np.broadcast_to(row.reshape(-1, *[1] * behind), inside[leaf])
    return masks


def _uncut(got: str) -> DeclarationError:
    return DeclarationError(
        "axes",
        got=got,
        expected="for each leaf an axis that is cut in equal pieces",
        mend="name leaves whose axes have one length, or multiples of `split`",
    )
