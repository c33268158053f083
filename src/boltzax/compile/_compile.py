"""Declaration to Gibbs measure."""

from functools import partial
from typing import Annotated, Literal, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array

from ..core import (
    Count,
    DeclarationError,
    Model,
    Said,
    automatic,
    eager,
    refuted,
    scalar,
    typed,
    weights_of,
)
from ..declare import (
    AbstractChart,
    AbstractDataTerm,
    AbstractEnergy,
    AbstractTerm,
    Distribution,
    Independent,
    Localisation,
    Prior,
    SquaredError,
    Temperature,
    as_independent,
    in_support,
    subsamplings,
)
from ._check import check_beta, check_masses, check_shared, check_terms, check_weights
from ._coordinates import Coordinates, coordinates
from ._gibbs import Gibbs
from ._marginal import BUDGET, marginal_potential
from ._potential import AbstractLowered, AbstractPotential, EnergyPotential, Plain
from ._residual import basis_residual, moment_residual, node_residual

Integral = Literal["auto", "declared", "nodes", "moments", "basis"]


InverseTemperature: TypeAlias = Annotated[
    Annotated[float | Array, scalar(array=True)] | Temperature,
    Said(
        expected="one number, or a Temperature",
        mend="pass beta=1.0, or beta=bx.temperature.watanabe(n); for a ladder pass betas to "
        "bx.anneal",
    ),
]


@typed
@eager
def compile(
    energy: AbstractEnergy,
    prior: Prior,
    *,
    beta: InverseTemperature = 1.0,
    chart: AbstractChart | None = None,
    integral: Integral = "auto",
    modes: Count = 64,
    marginalise: bool | None = None,
) -> Gibbs:
    """Check a declaration and compile it to one Gibbs measure `p(w) ∝ π(w) exp(-β E(w))`.

    Args:
        energy: The energy `E = ∫ loss dμ`, or the `Violation` of interfaces (a hard constraint as
            beta -> ∞). `Localisation` terms are added to the prior.
        prior: `Independent(...)` by path, or one distribution for all weights.
        beta: A number, or a `Temperature`.
        chart: The free weights (`Freeze`, `Select`, `Mask`, `Tie`); by default all.
        integral: How squared losses are evaluated: `"declared"` as written; `"nodes"` as one row of
            residuals for each node; `"moments"` by the second moments of the data, for models that
            are linear in features of the data; `"basis"` as `½ Σ c_k²` over the first `modes`
            functions of the measure's basis; `"auto"` by moments if possible, else by nodes.
        modes: Number of basis functions for `integral="basis"`.
        marginalise: Whether to integrate out weights that enter the model linearly and have a
            Gaussian prior; None does so if it is cheap.

    Returns:
        The measure; `print` it to see how each term is evaluated.

    Raises:
        DeclarationError: For a declaration that is wrong; it names the argument. Nothing has been
            sampled then.
    """
    terms = check_terms(automatic(energy))
    masses = check_masses(terms)
    declared, base = check_weights(terms)
    value = check_beta(beta, masses)
    priors = automatic(as_independent(prior))
    free_coordinates = coordinates(base, chart, priors.resolve)
    check_shared(energy, free_coordinates)
    data = tuple((f, t) for f, t in terms if not isinstance(t, Localisation))
    localisations = tuple((f, t) for f, t in terms if isinstance(t, Localisation))
    free = tuple(free_coordinates.priors) + tuple(free_coordinates.ties)
    parts = tuple(_lower(jnp.asarray(f, float), t, base, free, integral, modes) for f, t in data)
    if integral in ("nodes", "moments", "basis") and all(isinstance(p, Plain) for p in parts):
        raise DeclarationError(
            "integral",
            got=f"{integral!r} for an energy without a squared loss over all data",
            expected="a SquaredError over a measure that is not subsampled, with weights >= 0",
            mend="use integral='auto'",
        )
    potential, reason = _choose(parts, free_coordinates, localisations, marginalise)
    integrated = potential.integrated()
    kept = {path: p for path, p in free_coordinates.priors.items() if path not in integrated}
    for _, term in localisations:
        _check_centre(free_coordinates, weights_of(term.model))
    localised = tuple(Plain(jnp.asarray(f, float), t) for f, t in localisations)
    sampled = Coordinates(
        free_coordinates.base, kept, free_coordinates.indices, free_coordinates.ties, localised
    )
    return Gibbs(potential, sampled, value, declared, reason, masses)


class Nothing(AbstractTerm):
    """The energy that is zero for all weights of a model."""

    model: Model

    def value(self, model):
        return jnp.zeros(())

    def estimate(self, model, key):
        return jnp.zeros(())


@typed
def prior(
    model: Model, prior: Independent | Distribution, *, chart: AbstractChart | None = None
) -> Gibbs:
    """The prior over the weights of a model, as a Gibbs measure whose energy is zero.

    Args:
        model: A pytree that holds the weights.
        prior: `Independent(...)` by path, or one distribution for all weights.
        chart: The free weights; the others keep the values of the model. By default all.

    Returns:
        A measure that samplers and `log_probability` take.

    Raises:
        DeclarationError: As `compile`.
    """
    return compile(Nothing(model), prior, chart=chart, marginalise=False)


def _lower(
    factor: Array,
    term: AbstractTerm,
    base: dict[str, Array],
    free: tuple[str, ...],
    integral: Integral,
    modes: int,
) -> AbstractLowered:
    if not isinstance(term, SquaredError) or subsamplings(term) or _has_negative(term):
        return Plain(factor, term)
    if integral == "declared":
        return Plain(factor, term)
    if integral == "basis":
        return basis_residual(factor, term, modes)
    if integral in ("auto", "moments"):
        moments = moment_residual(factor, term, base, free)
        if moments is not None:
            return moments
        if integral == "moments":
            raise DeclarationError(
                "integral",
                got="'moments'",
                expected="a model linear in fewer features of the data than there are data, and "
                "data that are not being traced by jax.jit, vmap or grad",
                mend="use integral='auto'",
            )
    return node_residual(factor, term)


def _has_negative(term: AbstractDataTerm) -> bool:
    """Whether the quadrature has negative weights, as a sparse rule may; they have no roots."""
    _, weights = term.measure.nodes()
    return refuted(lambda weight: weight >= 0, weights)


def _choose(
    parts: tuple[AbstractLowered, ...],
    coords: Coordinates,
    localisations: tuple,
    marginalise: bool | None,
) -> tuple[AbstractPotential, str]:
    plain = EnergyPotential(parts)
    if marginalise is False:
        return plain, "marginalise=False"
    if localisations:
        potential, reason = None, "the prior is localised"
    else:
        fixed = set(coords.indices) | set(coords.ties) | set(coords.ties.values())
        budget = float("inf") if marginalise else BUDGET
        potential, reason = marginal_potential(parts, coords.base, coords.priors, fixed, budget)
    if potential is None:
        if marginalise:
            raise DeclarationError(
                "marginalise",
                got="True",
                expected="weights that enter linearly, with a Gaussian prior",
                mend=f"use marginalise=None; here {reason}",
            )
        return plain, reason
    return potential, ""


def _check_centre(coords: Coordinates, centre: dict[str, Array]) -> None:
    for path, prior in coords.priors.items():
        if refuted(partial(in_support, prior), centre[path]):
            raise DeclarationError(
                f"Localisation.{path}",
                got="a centre outside the prior's support",
                expected=f"weights in {prior.support}",
                mend="localise at a point inside the support",
            )
