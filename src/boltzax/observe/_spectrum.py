"""The spectrum of the model's function, over draws."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..core import MEMORY, Count, Estimate, Key, Memory, typed
from ..declare import AbstractBasis, AbstractMeasure
from ..sample import AbstractDrawn, Trace, trace_of


@typed
def spectrum(
    trace: Trace | AbstractDrawn,
    measure: AbstractMeasure,
    count: Count,
    *,
    log: bool = False,
    order: Count | None = None,
    key: Key | None = None,
    memory: Memory = MEMORY,
) -> Estimate:
    """`⟨c_k²⟩` of the model's function in the orthonormal basis of `measure`; `[*beta, count]`.

    `c_k = ∫ f φ_k dμ`, so that `E f² = Σ_k c_k²` (Parseval). The integrals are by the quadrature of
    `measure`. For a function with kinks or jumps (ReLU) the tail can be wrong by any factor.
    Without `order`, therefore, two draws are computed by a second rule too (see
    `basis.coefficients`), and a spectrum that differs is refused.

    Args:
        trace: A run that kept its draws, or a result that has one.
        measure: The measure of the input, which has a basis.
        count: Number of coefficients.
        log: Give `⟨log c_k²⟩`, the typical rather than the mean spectrum.
        order: Nodes an axis, without a check.
        key: For weights that were integrated out, which are drawn again.
        memory: Bytes of intermediate values at once.

    Returns:
        An estimate of shape `[*beta, count]`, in units of the output squared (dimensionless with
        `log`).

    Raises:
        DeclarationError: For a trace without draws, a measure without a basis, and draws with kinks
            or jumps.
    """
    basis, trace = measure.basis(), trace_of(trace)
    squares = trace.mean(Squares(basis, count, order, log), key, memory=memory)
    if order is None:
        # the last draw of the first chain, at the first and at the last beta
        beta_axes = trace.betas.ndim
        for i in sorted({0, trace.betas.size - 1}):
            last = {
                path: leaf.reshape(-1, *leaf.shape[beta_axes:])[i, 0, -1]
                for path, leaf in (trace.w or {}).items()
            }
            gibbs = trace.gibbs.at(trace.betas.reshape(-1)[i])
            basis.coefficients(gibbs.complete(last, jax.random.key(0)), count)
    return squares


class Squares(eqx.Module):
    """The squared coefficients of a model's function, or their logarithms."""

    basis: AbstractBasis
    count: int = eqx.field(static=True)
    order: Count | None = eqx.field(static=True)
    log: bool = eqx.field(static=True)

    def __call__(self, model: Callable) -> Array:
        squares = self.basis.coefficients(model, self.count, self.order) ** 2
        return jnp.log(squares) if self.log else squares
