"""The posterior localised at the weights of the declared model."""

import math

import equinox as eqx

from ..compile import Gibbs, compile
from ..core import DeclarationError, automatic, weights_of
from ..declare import AbstractChart, AbstractEnergy, Independent, Normal, Temperature


def localised(
    energy: AbstractEnergy,
    temperature: Temperature | float | None,
    localisation: float,
    chart: AbstractChart | None,
    relative: bool = True,
) -> Gibbs:
    """The Gibbs measure of all weights, the localising Gaussian as its prior.

    Args:
        energy: As declared.
        temperature: A number is β; None is `1/log n`, n the mass of the measure.
        localisation: γ.
        chart: Which weights move; all if None.
        relative: Whether energies are counted from that of w*.

    Raises:
        DeclarationError: For a mass that gives no temperature.
    """
    # a temperature needs one mass; without one it is chosen here
    beta = Temperature(1.0) if temperature is None else temperature
    wide = compile(energy, Normal(), beta=beta, chart=chart, marginalise=False)
    if temperature is None:
        mass = float(wide.masses[0])
        if mass <= math.e:
            raise DeclarationError(
                "temperature",
                got=f"None for a measure of mass {mass:.4g}",
                expected="a measure whose mass is the number of data, or a temperature",
                mend="pass temperature=bx.temperature.watanabe(n), or use bx.Empirical(data)",
            )
        wide = wide.at(Temperature(mass / math.log(mass)).beta(mass))
    centre, width = weights_of(wide.declared), localisation**-0.5
    paths = wide.coordinates.priors
    prior = Independent({path: Normal(centre[path], width, validate_args=False) for path in paths})
    resolved = automatic(prior).resolve(wide.coordinates.base, set(paths))
    priors = {path: resolved[path] for path in paths}
    # a second `compile` would trace the model again
    gibbs = eqx.tree_at(lambda measure: measure.coordinates.priors, wide, priors)
    return gibbs.relative_to() if relative else gibbs
