"""A Gibbs measure whose energy sees only a part of the weights; the part is data."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from ..core import DeclarationError
from ..declare import AbstractChart, Slots
from ._gibbs import Gibbs
from ._potential import RestrictedPotential


def restricted(gibbs: Gibbs, inside: dict[str, Bool[np.ndarray, "..."]]) -> Gibbs:
    """The measure in which weights outside a part follow the prior and do not reach the model.

    All measures of one `gibbs` have one structure: which weights are in the part is data.

    Args:
        gibbs: A measure over all weights, of a plain energy.
        inside: True at the entries of the part, as `inside_of` gives it.
    """
    masks = {path: jnp.asarray(mask) for path, mask in inside.items()}
    potential = RestrictedPotential(gibbs.potential, gibbs.coordinates.base, masks)
    return eqx.tree_at(lambda g: g.potential, gibbs, potential)


def inside_of(chart: AbstractChart, gibbs: Gibbs) -> dict[str, Bool[np.ndarray, "..."]]:
    """The entries that a chart leaves free, for each leaf of the model.

    Raises:
        DeclarationError: For a chart that ties weights, or frees none.
    """
    shapes = {path: tuple(leaf.shape) for path, leaf in gibbs.coordinates.base.items()}
    slots = chart.restrict(Slots(shapes, tuple(shapes), {}, {}))
    if slots.ties or not slots.free:
        raise DeclarationError(
            "parts",
            got="a chart that ties weights" if slots.ties else "a chart that frees no weights",
            expected="charts that select weights: Select, Mask, Freeze",
            mend="name the weights of the part, e.g. bx.Select('blocks[0].mlp')",
        )
    return {
        path: np.asarray(slots.masks.get(path, np.full(shape, path in slots.free)))
        for path, shape in shapes.items()
    }
