"""Standard normals at half the cost, for steps as cheap as the gradient of a minibatch.

`jax.random.normal` takes 64 bits of Threefry a number (it folds two words into one) and inverts the
distribution function; for a net of 1e5 weights that is a third of a gradient over 500 data. Here a
word of 32 bits makes two numbers, by Box & Muller (1958, Ann. Math. Stat. 29:610): 20 bits for the
radius, which reaches 5.4 standard deviations, as `jax.random.normal` does in float32, and 12 for
the direction, one of 4096 equally spaced ones: all moments below the 4096th are those of a uniform
direction.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry2x32_p
from jaxtyping import Array, Float, PRNGKeyArray

LARGE = 1 << 15
"""Leaves from this size on have their own counters, in their own shape, so that they stay split."""


def normals(
    shapes: dict[str, tuple[int, ...]], key: PRNGKeyArray
) -> dict[str, Float[Array, "..."]]:
    """Independent standard normals in float32 of each shape, by a Threefry key."""
    sizes = {path: int(np.prod(shape)) for path, shape in shapes.items()}
    small = {path: size for path, size in sizes.items() if size < LARGE}
    first, second = jax.random.key_data(key)
    found, start = {}, 0
    if small:
        flat = _normals((sum(small.values()),), first, second, 0)
    for path, size in small.items():
        found[path] = flat[start : start + size].reshape(shapes[path])
        start += size
    for number, path in enumerate(path for path in shapes if path not in small):
        found[path] = _normals(shapes[path], first, second, number + 1)
    return {path: found[path] for path in shapes}


def _normals(shape: tuple[int, ...], first: Array, second: Array, stream: int) -> Array:
    *before, last = shape
    quarter = (*before, -(-last // 4))
    rows = int(np.prod(before, dtype=np.int64))
    assert rows * quarter[-1] < 2**32, "a leaf has more numbers than a stream has counters"
    count = jnp.zeros(quarter, jnp.uint32)
    for axis in range(len(quarter)):
        stride = int(np.prod(quarter[axis + 1 :], dtype=np.int64))
        count = count + lax.broadcasted_iota(jnp.uint32, quarter, axis) * jnp.uint32(stride)
    key = [jnp.broadcast_to(word, quarter) for word in (first, second)]
    words = threefry2x32_p.bind(*key, count, jnp.full(quarter, stream, jnp.uint32))
    parts = [part for word in words for part in _box_muller(word)]
    # without the barrier each part would be computed anew for every entry of the whole
    return jnp.concatenate(lax.optimization_barrier(parts), axis=-1)[..., :last]


def _box_muller(word: Array) -> tuple[Array, Array]:
    """Two normals of each word: bits 12-31 make the radius, 3-11 the place within an eighth of
    the circle, 0-2 choose the eighth."""
    uniform = ((word >> 12).astype(jnp.int32).astype(jnp.float32) + 0.5) * 2.0**-20
    radius = jnp.sqrt(-2 * jnp.log(uniform))
    place = (((word >> 3) & 0x1FF).astype(jnp.int32).astype(jnp.float32) + 0.5) * 2.0**-9
    sine, cosine = place * _horner(SINE, place**2), _horner(COSINE, place**2)
    swap = (word & 1) == 0
    x, y = jnp.where(swap, sine, cosine), jnp.where(swap, cosine, sine)
    return _signed(radius * x, word << 30), _signed(radius * y, word << 29)


def _signed(value: Array, word: Array) -> Array:
    """The sign changed where the first bit of `word` is set."""
    bits = lax.bitcast_convert_type(value, jnp.uint32) ^ (word & np.uint32(0x80000000))
    return lax.bitcast_convert_type(bits, jnp.float32)


def _fit(values: np.ndarray, places: np.ndarray, degree: int) -> list[float]:
    """Coefficients in powers of the square of the place, at Chebyshev's nodes."""
    return np.polynomial.Polynomial.fit(places**2, values, degree, domain=[-1, 1]).coef.tolist()


_PLACES = np.cos(np.pi * (np.arange(64) + 0.5) / 128)
SINE = _fit(np.sin(np.pi / 4 * _PLACES) / _PLACES, _PLACES, 3)
COSINE = _fit(np.cos(np.pi / 4 * _PLACES), _PLACES, 4)


def _horner(coefficients: list[float], x: Array) -> Array:
    total = jnp.full_like(x, coefficients[-1])
    for each in coefficients[-2::-1]:
        total = total * x + each
    return total
