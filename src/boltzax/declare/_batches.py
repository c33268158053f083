"""Batches of data on the host: shuffled by a key, and resumable at any step."""

from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..core import Constraint, Count, DeclarationError, Key, Refused, Whole, errors_named, typed
from ._empirical import permuted
from ._tokens import Windows

MOST = 2**31 - 1
"""Most data of a source."""
EPOCHS = 2**32
"""Epochs with an order of their own."""


def _source(value: Any) -> Any:
    arrays = isinstance(value, tuple | dict) and value
    parts = jax.tree.leaves(value) if arrays else [value]
    if arrays and not all(isinstance(part, np.ndarray | jax.Array) for part in parts):
        raise Refused
    if any(isinstance(part, str | bytes | type | np.ma.MaskedArray) for part in parts):
        raise Refused
    try:
        for part in parts:
            _ = len(part), part[0]
    except Exception:
        raise Refused from None
    return value


Source: TypeAlias = Annotated[
    Any,
    Constraint(
        "data with len(source) and source[index]: an array, a np.memmap, a tuple or dictionary of "
        "arrays, bx.Windows, or a sequence of data",
        "pass e.g. bx.Windows(ids, 64), or (x, y); write the texts of an iterator to a file first: "
        "tokens.encode_to(path, texts)",
        _source,
    ),
]


@typed
class Batches(eqx.Module):
    """Batches of a source in random order, every datum at most once in an epoch.

    `batches[step]` is the batch of a step, counted through all epochs. It is a function of the key
    and the step alone, so that a run which is resumed at a step sees the same batches::

        for step, batch in batches.after(done): ...

    Each epoch has an order of its own. Data that do not fill a batch are left out of that epoch.
    Only the data of a batch are read, and no permutation is stored: a source can be larger than
    memory. The texts of an iterator become a source by `tokens.encode_to(path, texts)`, which
    writes their ids to a file, and `bx.Windows` of it.

    Args:
        source: An array, a `np.memmap`, a tuple or a dictionary of arrays (the first axis is over
            data), `bx.Windows`, or any object with `len(source)` and `source[i]`, a pytree of
            numbers and arrays.
        batch_size: Data of a batch.
        key: Key of the order.
        shuffle: Whether the order is random; else it is that of the source.
        size: The number of data of the source.
    """

    source: Any
    batch_size: int = eqx.field(static=True)
    key: PRNGKeyArray
    shuffle: bool = eqx.field(static=True)
    size: int = eqx.field(static=True)

    def __init__(self, source: Source, batch_size: Count, *, key: Key, shuffle: bool = True):
        sizes = {len(part) for part in _parts(source)}
        if len(sizes) != 1 or not batch_size <= max(sizes) <= MOST:
            raise DeclarationError(
                "source",
                got=f"{sorted(sizes)} data for batches of {batch_size}",
                expected=f"one length, from {batch_size} to {MOST}",
                mend="pass arrays of one length, and smaller batches",
            )
        self.source, self.batch_size = source, batch_size
        self.key, self.shuffle = key, shuffle
        self.size = sizes.pop()

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return self.size // self.batch_size

    def indices(self, step: Whole) -> np.ndarray:
        """The indices of the data of a step, `[batch]`.

        Raises:
            DeclarationError: For a step after 2^32 epochs.
        """
        epoch, position = divmod(step, self.per_epoch)
        if epoch >= EPOCHS:
            raise DeclarationError(
                "step",
                got=f"{step}, of epoch {epoch}",
                expected=f"a step below {EPOCHS * self.per_epoch}, of the first 2^32 epochs",
                mend="start again with another key",
            )
        places = position * self.batch_size + np.arange(self.batch_size, dtype=np.int32)
        if not self.shuffle:
            return places
        return np.asarray(permuted(jax.random.fold_in(self.key, epoch), self.size, places))

    def __getitem__(self, step: Whole) -> PyTree:
        chosen = self.indices(step)
        if isinstance(self.source, Windows | np.ndarray | jax.Array):
            return self.source[chosen]
        if isinstance(self.source, tuple | dict):
            return jax.tree.map(lambda part: part[chosen], self.source)
        data = [self.source[int(i)] for i in chosen]
        with errors_named("source", expected="data of one shape", mend="pad them to one shape"):
            return jax.tree.map(lambda *leaves: np.stack(leaves), *data)

    def after(self, done: Whole = 0) -> Iterator[tuple[int, PyTree]]:
        """Steps from `done` on with their batches, without end.

        Args:
            done: The steps that are done: the first step to give.
        """
        step = done
        while True:
            yield step, self[step]
            step += 1

    def __iter__(self) -> Iterator[PyTree]:
        return (batch for _, batch in self.after())

    def __repr__(self) -> str:
        return f"Batches({self.size} data, {self.per_epoch} batches of {self.batch_size})"


def _parts(source: Any) -> list:
    return jax.tree.leaves(source) if isinstance(source, tuple | dict) else [source]
