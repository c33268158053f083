"""Components in series, seen as one."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import DeclarationError, Model, typed
from ..declare import Chain, Component, Contract, Independent, outputs
from ._old_forms import of_chain


@typed
class Series(eqx.Module):
    """Models one after the other: `x -> parts[-1](... parts[0](x))`."""

    parts: tuple[Model, ...]

    def __call__(self, x: Float[Array, " dim"]) -> Array:
        for part in self.parts:
            x = jnp.atleast_1d(part(x))
        return x


@typed
def in_series(components: Chain | Sequence[Component]) -> Component:
    """Components in series as one: a `Series`, independent priors, the composition of the logics.

    Args:
        components: A chain, or components in their order.

    Raises:
        DeclarationError: If there is none, or if a truth table lacks a value that comes in.
    """
    parts = components.components if isinstance(components, Chain) else tuple(components)
    if not parts:
        raise DeclarationError(
            "components",
            got="none",
            expected="a sequence of components",
            mend="pass e.g. (amplifier, amplifier)",
        )
    prior = {
        f"parts[{i}].{pattern}": distribution
        for i, part in enumerate(parts)
        for pattern, distribution in part.prior.by_pattern.items()
    }
    values = next((list(dict(part.logic)) for part in parts if part.logic is not None), [])
    given = values
    for part in parts:
        values = outputs(part, values)
    logic = dict(zip(given, values, strict=True)) or None
    return Component(Series(tuple(part.model for part in parts)), Independent(prior), logic)


@of_chain("components", "first", "last")
@typed
def end_to_end(chain: Chain) -> Contract:
    """The contract of a chain seen as one component; nothing is required at its joints.

    Raises:
        DeclarationError: If a truth table lacks what the component before it gives.
    """
    return Contract(in_series(chain), chain.first, chain.last, points=chain.points)
