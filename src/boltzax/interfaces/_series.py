"""Components in series, seen as one."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import DeclarationError, Model, typed
from ..declare import Component, Contract, Independent, Interface
from ._family import Points


@typed
class Series(eqx.Module):
    """Models one after the other: `x -> parts[-1](... parts[0](x))`."""

    parts: tuple[Model, ...]

    def __call__(self, x: Float[Array, " dim"]) -> Array:
        for part in self.parts:
            x = jnp.atleast_1d(part(x))
        return x


@typed
def in_series(components: Sequence[Component]) -> Component:
    """Components in series as one: a `Series`, independent priors, the composition of the logics.

    Raises:
        DeclarationError: If there is none, or if one gives a value that the next does not know.
    """
    parts = tuple(components)
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
    logic = None
    for table in (dict(part.logic) for part in parts if part.logic is not None):
        lacking = set() if logic is None else set(logic.values()) - set(table)
        if lacking:
            raise DeclarationError(
                "components",
                got=f"a component whose logic lacks {sorted(map(repr, lacking))}, which the one "
                "before it gives",
                expected="an output value for each value that comes in",
                mend="complete its truth table",
            )
        logic = table if logic is None else {v: table[w] for v, w in logic.items()}
    return Component(Series(tuple(part.model for part in parts)), Independent(prior), logic)


@typed
def end_to_end(
    components: Sequence[Component], first: Interface, last: Interface, *, points: Points = 33
) -> Contract:
    """The contract of components in series, seen as one: nothing is said of what is between.

    Raises:
        DeclarationError: If there are no components, or the shapes or values do not match.
    """
    return Contract(in_series(components), first, last, points=points)
