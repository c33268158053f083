"""Jacobians between two places of a model, as linear maps."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..core import DeclarationError, errors_named, map_within
from ..declare import Replace, activations, patched, taps


class Between(eqx.Module):
    """The value at one place of a model as a function of that at another, both as vectors.

    Args:
        of: The place whose value it is; the output of the model if None.
        by: The place whose value is varied; the datum if None.
    """

    of: str | None = eqx.field(static=True)
    by: str | None = eqx.field(static=True)

    def at(self, model: PyTree, datum: PyTree) -> tuple[Callable[[Array], Array], Array]:
        """The function for one datum, and the vector where it is taken."""
        value = datum if self.by is None else activations(model, datum, self.by)[self.by]
        point, restored = ravel_pytree(value)

        def fn(vector: Array) -> Array:
            given, changed = restored(vector), model
            if self.by is not None:
                changed, given = patched(model, {self.by: Replace(given)}), datum
            out = (
                changed(given) if self.of is None else activations(changed, given, self.of)[self.of]
            )
            return ravel_pytree(out)[0]

        return fn, point

    def jacobian(self, model: PyTree, datum: PyTree, memory: int) -> Float[Array, "out into"]:
        """The derivative at one datum, by the rows or the columns, whichever are fewer.

        At least in float32: of shorter numbers there are no singular values.
        """
        fn, point = self.at(model, datum)
        value = jax.eval_shape(fn, point)
        if value.size <= point.size:
            pull = jax.vjp(fn, point)[1]
            rows = jnp.eye(value.size, dtype=value.dtype)
            found = map_within(lambda row: pull(row)[0], rows, memory)
        else:
            push = jax.linearize(fn, point)[1]
            found = map_within(push, jnp.eye(point.size, dtype=point.dtype), memory).T
        return found.astype(jnp.promote_types(found.dtype, jnp.float32))

    def sizes(self, model: PyTree, data: PyTree) -> tuple[int, int]:
        """Entries of the value and of what it is varied by.

        Raises:
            DeclarationError: For places that the model does not have, a place of whole numbers, and
                data without one leading axis.
        """
        lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(data)}
        if len(lengths) != 1 or lengths & {(), (0,)}:
            raise DeclarationError(
                "data",
                got=f"arrays of leading axes {sorted(lengths)}",
                expected="one array of data, or a pytree of arrays, along the first axis",
                mend="pass inputs[None] for one datum",
            )
        first = jax.tree.map(lambda leaf: leaf[0], data)
        places = taps(model, first)
        for name, place in (("of", self.of), ("by", self.by)):
            if place is not None and place not in places:
                raise DeclarationError(
                    name,
                    got=repr(place),
                    expected=f"one of {sorted(places)}, or None",
                    mend="correct the name (bx.taps(model, x) lists them)",
                )
        varied = jax.tree.leaves(first if self.by is None else places[self.by])
        if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in varied):
            raise DeclarationError(
                "by",
                got="the datum, of whole numbers" if self.by is None else repr(self.by),
                expected="a place of real numbers, by which a derivative can be taken",
                mend='name the place of the embedding, by="embedding"',
            )
        with errors_named("data", expected="inputs of the model", mend="try model(data[0]) first"):
            return _sizes(self, model, first)


def as_arrays(data: PyTree) -> PyTree:
    """Data as they are, nested lists of numbers as one array.

    Raises:
        DeclarationError: For lists of unequal lengths.
    """
    if not all(isinstance(leaf, bool | int | float) for leaf in jax.tree.leaves(data)):
        return data
    with errors_named("data", expected="lists of equal lengths", mend="pass an array [datum, ...]"):
        return np.asarray(data)


def _sizes(between: Between, model: PyTree, datum: PyTree) -> tuple[int, int]:
    def run(model: PyTree, datum: PyTree) -> tuple[Array, Array]:
        fn, point = between.at(model, datum)
        return fn(point), point

    out, into = eqx.filter_eval_shape(run, model, datum)
    return out.size, into.size
