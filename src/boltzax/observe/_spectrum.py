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

    `c_k = ∫ f φ_k dμ`, so that `E f² = Σ_k c_k²` (Parseval). The integrals are by the quadrature of
    `measure`, unchecked: for a function with kinks or jumps (ReLU) the tail is wrong by any factor.
    `measure.basis().coefficients(model, count)` of one model refuses such a function.

    Args:
        trace: A run with its draws (`keep=True`), or a result that has one.
        measure: The measure of the input, which has a basis.
        count: Number of coefficients.
        log: Give `⟨log c_k²⟩`, the typical rather than the mean spectrum.
        key: For weights that were integrated out, which are drawn again.
        memory: Bytes of intermediate values at once.

    Returns:
        An estimate of shape `[*beta, count]`, in units of the output squared (dimensionless with
        `log`).

    Raises:
        DeclarationError: For a trace without draws, or a measure without a basis.
    """
    basis = measure.basis()

    def squares(model: Callable):
        c = basis.coefficients(model, count)
        return jnp.log(c**2) if log else c**2

    return trace_of(trace).mean(squares, key, memory=memory)
