"""Traces of functions of `AᵀA` by random probes, for operators too large to write down.

matfree (>= 0.6.3) does the work. Its bidiagonalisation divides by zero where the operator has a
lower rank than its depth, which then gives NaN.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import Key, map_within


class ProbeRows(NamedTuple):
    """Numbers of each probe, whose means over probes are traces.

    Args:
        trace: Of `AᵀA`.
        square: Of `(AᵀA)²`.
        entropy: Of `AᵀA log AᵀA`, `[probe, depth]`, too small by what the depth leaves out.
    """

    trace: Float[Array, " probe"]
    square: Float[Array, " probe"]
    entropy: Float[Array, "probe depth"]


def probe_traces(
    product: Callable[[Array], Array],
    size: int,
    *,
    key: Key,
    probes: int,
    depths: Sequence[int],
    memory: int,
) -> ProbeRows:
    """Traces of functions of `AᵀA` by probes of random signs.

    Args:
        product: `v -> A v`, linear, `[size]` to `[out]`.
        size: Number of columns of A.
        key: For the probes.
        probes: Their number.
        depths: Steps of the bidiagonalisation by Golub & Kahan, each at most the smaller size.
        memory: Bytes of intermediate values at once.
    """
    from matfree import decomp, funm, stochtrace  # slow to import

    like = jnp.zeros(size)
    integrands = [
        funm.monte_carlo_funm_product(funm.dense_funm_product_svd(_entropy), decomp.bidiag(depth))
        for depth in depths
    ]

    def of_probe(probe: Array) -> ProbeRows:
        image, transposed = jax.vjp(product, probe)
        back = transposed(image)[0]
        entropies = [integrand(product, probe) for integrand in integrands]
        return ProbeRows(image @ image, back @ back, jnp.stack(entropies))

    signs = stochtrace.sampler_signs(like, num=probes)(key)
    return map_within(of_probe, signs, memory)


def _entropy(x: Array) -> Array:
    return jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1.0)), 0.0)
