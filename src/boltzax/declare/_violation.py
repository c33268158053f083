"""The energy of a contract: how far its output misses what is guaranteed."""

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core import Key, Model, typed
from ._chain import Specified
from ._energy import AbstractTerm


@typed
class Violation(AbstractTerm):
    """`E(w) = max(0, -margin(w))`: zero exactly where the contract (or circuit) holds.

    In units of the output. It is the largest violation and not its square: then the partition
    function at temperature T is `Z(T) = e^H + O(T)`, with a square only `O(√T)`.
    """

    contract: Specified
    model: PyTree

    def __init__(self, contract: Specified, model: Model | None = None):
        self.contract = contract
        self.model = contract.model if model is None else model

    def value(self, model: Model) -> Float[Array, ""]:
        margin = self.contract.margin(model)
        return jnp.where(margin < 0, -margin, 0.0)

    def estimate(self, model: Model, key: Key) -> Float[Array, ""]:
        return self.value(model)
