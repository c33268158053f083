"""Products of random transfer matrices as a dynamics: frames that grow, and how fast."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..core import DeclarationError, got
from ..sample import AbstractDynamics

Frames = Float[Array, "chain d k"]
State = tuple[Frames, Float[Array, "chain k"], Float[Array, " chain"]]


class TransferProducts(AbstractDynamics):
    """Independent products of random matrices, applied to orthonormal frames of k vectors.

    A step draws one matrix for each chain, and makes the frame orthonormal again (Benettin et al.
    1980, Meccanica 15:9). A record holds the logarithms of the stretches since the last one,
    `growth` `[chain, k]`, and the `length` that the matrices stand for, `[chain]`.
    """

    transfer: Callable

    def init(self, start: Frames, key: PRNGKeyArray, warmup: int) -> State:
        frames = jnp.linalg.qr(start)[0]
        return frames, jnp.zeros((len(start), start.shape[-1])), jnp.zeros(len(start))

    def step(self, state, key, gain, time, warmup):
        frames, growth, length = state
        matrices, lengths = jax.vmap(self.drawn)(jax.random.split(key, len(frames)))
        frames, stretch = _orthonormal(jnp.matmul(matrices, frames))
        at_rest = time == warmup
        growth, length = (jnp.where(at_rest, 0.0, each) for each in (growth, length))
        return frames, growth + stretch, length + lengths

    def record(self, state, draw):
        frames, growth, length = state
        empty = (frames, jnp.zeros_like(growth), jnp.zeros_like(length))
        return empty, {"growth": growth, "length": length}

    def drawn(self, key: PRNGKeyArray) -> tuple[Float[Array, "d d"], Float[Array, ""]]:
        """One matrix, and the length that it stands for (1 if it has none)."""
        out = self.transfer(key)
        matrix, length = out if isinstance(out, tuple) and len(out) == 2 else (out, 1.0)
        matrix, length = jnp.asarray(matrix, float), jnp.asarray(length, float)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or length.shape != ():
            raise DeclarationError(
                "transfer",
                got=f"a function that gives {got(out)}",
                expected="a function of a key that gives one square matrix [d, d], or a pair of "
                "the matrix and its length",
                mend="return e.g. jnp.array([[energy - draw, -1.0], [1.0, 0.0]])",
            )
        return matrix, length

    @property
    def dim(self) -> int:
        """Rows of a matrix."""
        return eqx.filter_eval_shape(self.drawn, jax.random.key(0))[0].shape[0]


def _orthonormal(frames: Frames) -> tuple[Frames, Float[Array, "chain k"]]:
    """Orthonormal frames of the same subspaces, and the logarithms of the stretches."""
    if frames.shape[-1] == 1:
        largest = jnp.max(jnp.abs(frames), axis=1, keepdims=True)  # squares would overflow
        size = largest * jnp.linalg.norm(frames / largest, axis=1, keepdims=True)
        return frames / size, jnp.log(size[:, 0])
    q, r = jnp.linalg.qr(frames)
    return q, jnp.log(jnp.abs(jnp.diagonal(r, axis1=-2, axis2=-1)))
