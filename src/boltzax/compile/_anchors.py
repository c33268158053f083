"""Control variates at coordinates that may be traced, for kernels that move their anchor."""

import equinox as eqx
from jaxtyping import Array

from ._coordinates import Weights
from ._gibbs import Gibbs
from ._relative_energy import ControlledPotential, energy_slope, paired


def slope_at(gibbs: Gibbs, w: Weights) -> dict[str, Array]:
    """Derivative of the energy by the weights that move, over all data."""
    coordinates = gibbs.coordinates
    return energy_slope(gibbs.potential, coordinates.constrain(w), coordinates.moving)


def anchored(gibbs: Gibbs, w: Weights, slope: dict[str, Array]) -> Gibbs:
    """`gibbs.with_control_variates` at coordinates, with `slope = slope_at(gibbs, w)`.

    Energies are relative to those of the anchor, and `reference_energy` is not computed.
    """
    reference = gibbs.coordinates.constrain(w)
    potential = ControlledPotential(paired(gibbs.potential, reference), reference, slope)
    return eqx.tree_at(lambda g: g.potential, gibbs, potential)
