"""The spectrum of the model's function, over draws."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from ..core import MEMORY, Estimate
from ..declare import AbstractMeasure
from ..sample import AbstractDrawn, Trace, trace_of


def spectrum(
    trace: Trace | AbstractDrawn,
    measure: AbstractMeasure,
    count: int,
    *,
    log: bool = False,
    key: PRNGKeyArray | None = None,
    memory: int = MEMORY,
) -> Estimate:
    """`⟨c_k²⟩` of the model's function in the orthonormal basis of `measure`; `[*beta, count]`.

    `c_k = ∫ f φ_k dμ`, so that `E f² = Σ_k c_k²` (Parseval). With `log`, `⟨log c_k²⟩`: the typical
    rather than the mean spectrum. Needs a trace with its draws (`keep=True`); weights that were
    integrated out are drawn again with `key`. `memory` bounds the bytes of intermediate values.
    """
    basis = measure.basis()

    def squares(model: Callable):
        c = basis.coefficients(model, count)
        return jnp.log(c**2) if log else c**2

    return trace_of(trace).mean(squares, key, memory=memory)
