"""Declaration to Gibbs measure."""

from functools import partial
from typing import Annotated, Literal, TypeAlias

import jax.numpy as jnp
from jaxtyping import Array

from ..core import (
    Count,
    DeclarationError,
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
    Localisation,
    Prior,
    SquaredError,
    Temperature,
    as_independent,
    in_support,
    subsamplings,
)
from ._check import check_beta, check_terms, check_weights, masses_of
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
    """Check a declaration and lower it to one Gibbs measure `p(w) ∝ π(w) exp(-β E(w))`.

    Args:
        energy: What `beta` multiplies, `E = ∫ loss dμ`, or the `Violation` of interfaces (hard as
            beta -> ∞). `Localisation` terms go to the prior.
        prior: `Independent(...)` by path, or one distribution for all weights.
        beta: A number, or a `Temperature`.
        chart: Which weights are free (`Freeze`, `Select`, `Mask`, `Tie`); all, if not given.
        integral: How squared losses are evaluated. `"declared"` as written; `"nodes"` as rows of
            residuals; `"moments"` by the second moments of the data (models linear in features of
            the data); `"basis"` as `Σ c_k²` over `modes` functions of the measure's basis; `"auto"`
            takes moments where they apply, else nodes.
        marginalise: Integrate out a readout that enters linearly with a Gaussian prior: always
            (`True`), never (`False`), or when it is cheap (`None`).

    Raises:
        DeclarationError: Naming the argument, what it got, what was expected and the mend, before
            anything is traced or sampled.
    """
    terms = check_terms(automatic(energy))
    declared, base = check_weights(terms)
    value = check_beta(beta, terms)
    priors = automatic(as_independent(prior))
    lowered = coordinates(base, chart, priors.resolve)
    data = tuple((f, t) for f, t in terms if not isinstance(t, Localisation))
    springs = tuple((f, t) for f, t in terms if isinstance(t, Localisation))
    free = tuple(lowered.priors) + tuple(lowered.ties)
    parts = tuple(_lower(jnp.asarray(f, float), t, base, free, integral, modes) for f, t in data)
    _check_lowered(integral, parts)
    potential, reason = _choose(parts, lowered, springs, marginalise)
    integrated = potential.integrated()
    kept = {path: p for path, p in lowered.priors.items() if path not in integrated}
    for _, term in springs:
        _check_centre(lowered, weights_of(term.model))
    pulls = tuple(Plain(jnp.asarray(f, float), t) for f, t in springs)
    lowered = Coordinates(lowered.base, kept, lowered.indices, lowered.ties, pulls)
    return Gibbs(potential, lowered, value, declared, reason, masses_of(data))


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
    """Whether the rule has negative weights (a sparse one may), which have no square roots."""
    _, weights = term.measure.nodes()
    return refuted(lambda each: each >= 0, weights)


def _check_lowered(integral: str, parts: tuple[AbstractLowered, ...]) -> None:
    if integral in ("nodes", "moments", "basis") and all(isinstance(p, Plain) for p in parts):
        raise DeclarationError(
            "integral",
            got=f"{integral!r} for an energy without a squared loss over all data",
            expected="a SquaredError over a measure that is not subsampled, with weights >= 0",
            mend="use integral='auto'",
        )


def _choose(
    parts: tuple[AbstractLowered, ...],
    lowered: Coordinates,
    springs: tuple,
    marginalise: bool | None,
) -> tuple[AbstractPotential, str]:
    plain = EnergyPotential(parts)
    if marginalise is False:
        return plain, "marginalise=False"
    if springs:
        potential, reason = None, "the prior is localised"
    else:
        fixed = set(lowered.indices) | set(lowered.ties) | set(lowered.ties.values())
        budget = float("inf") if marginalise else BUDGET
        potential, reason = marginal_potential(parts, lowered.base, lowered.priors, fixed, budget)
    if potential is None:
        if marginalise:
            raise DeclarationError(
                "marginalise",
                got="True",
                expected="a readout that can be integrated out",
                mend=f"use marginalise=None; here {reason}",
            )
        return plain, reason
    return potential, ""


def _check_centre(lowered: Coordinates, centre: dict[str, Array]) -> None:
    for path, prior in lowered.priors.items():
        if refuted(partial(in_support, prior), centre[path]):
            raise DeclarationError(
                f"Localisation.{path}",
                got="a centre outside the prior's support",
                expected=f"weights in {prior.support}",
                mend="localise at a point the prior allows",
            )
