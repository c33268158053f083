"""Keys of the weights that were integrated out, which functions of the draws draw again."""

import jax

from ..core import Key


def integrated_key(key: Key) -> Key:
    """The key of the weights that were integrated out, in a run of a key; the run itself splits it
    into fewer than so many."""
    return jax.random.fold_in(key, 1 << 20)


def completing_key(asked: Key | None, own: Key | None) -> Key:
    """The key that was asked for, else that of the draws, else a fixed one."""
    chosen = own if asked is None else asked
    return jax.random.key(0) if chosen is None else chosen
