"""Random numbers of numpy from a key of jax."""

import jax
import numpy as np

from ._arguments import Key


def numpy_generator(key: Key) -> np.random.Generator:
    """A generator on the host, for what draws a number of values that depends on the data.

    Its stream is another one than that of `np.random.default_rng(seed)`, which may have made the
    data: a permutation test with the random numbers of its own data is no test.
    """
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return np.random.default_rng(np.random.SeedSequence(words, spawn_key=(len(words),)))
