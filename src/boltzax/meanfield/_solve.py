"""The fixed point of a self-consistent field."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..core import (
    Count,
    DeclarationError,
    Key,
    Positive,
    Status,
    Whole,
    check_finite,
    raise_if_failed,
    refuted,
    text_of_values,
    typed,
)
from ._background import Background
from ._cumulant import AbstractCumulant, NodeCumulant, Rule, lower
from ._dual import figures
from ._node_errors import NodeErrors, Solver
from ._probe import Probe
from ._self_consistency import Particles, SelfConsistency

FEWEST = 100.0
"""Effective nodes below which a law is too thin to be believed."""
LARGE = 0.1
"""Error of the function by its nodes, in units of the target, from which it is not believed."""


class Uniqueness(eqx.Enumeration):
    """Whether a fixed point is unique, and the reason."""

    convex = "Unique: it minimises a strongly convex function, and the duality gap certifies it."
    met = "Unique: the update keeps order, and the loops from both corners of the box met."
    antitone = "Unique: the update falls everywhere, so it has one fixed point."
    several = "Not unique: more than one fixed point was found."
    unknown = "Unknown: all starts led to one fixed point, and nothing excludes others."


@typed
class FixedPoint(eqx.Module):
    """A self-consistent field, with its errors.

    Args:
        background: `f` at the nodes of the measure; `background(x)` anywhere.
        field: `g = (y - f)/T` at the nodes, `[node, *out]`.
        law: The law `ρ` of a neuron in that field, a `Probe` (None where it is a closed form).
        residual: `|T g + E_ρ[h] - y|`; no function of any law is nearer to self-consistency than
            `f` is to the exact solution on these nodes by more than this: `|f - f*| <= residual`.
        gap: Duality gap `F(ρ) - min F`, at most `½ residual²`.
        stiffness: `λ_max(Cov_ρ h)/T`. An error in the field comes back so many times larger, with
            the other sign: above 1 the plain loop `g -> (y - E_ρ[h])/T` diverges.
        loss: `½|f - y|²`.
        entropy: `-KL(ρ‖p0)` a neuron.
        free_energy: `F = loss - T entropy`: `-log Z = N F/T` to leading order in `N`.
        fluctuation: `trace Cov_ρ(h)`: a net of `N` independent draws has the loss
            `loss + fluctuation/(2N)`.
        thermal_fluctuation: `trace Cov_ρ(h) (1 + Cov_ρ(h)/T)⁻¹`: the same for a net of the Gibbs
            measure, whose neurons hold each other's fluctuations down.
        ess: Effective number of nodes of the law.
        errors: Standard errors of the above by the nodes over weights, under the same names.
        inside: Whether the field is in the domain of `Ψ`.
        unique: A `Uniqueness`.
        steps: Of Newton.
        status: What became of the run.
    """

    problem: SelfConsistency
    background: Background
    field: Float[Array, "node *out"]
    law: Probe | None
    residual: Float[Array, ""]
    gap: Float[Array, ""]
    stiffness: Float[Array, ""]
    loss: Float[Array, ""]
    entropy: Float[Array, ""]
    free_energy: Float[Array, ""]
    fluctuation: Float[Array, ""]
    thermal_fluctuation: Float[Array, ""]
    ess: Float[Array, ""]
    errors: NodeErrors
    inside: Bool[Array, ""]
    unique: Uniqueness
    steps: Int[Array, ""]
    status: Status

    def draw(self, key: Key, count: Count) -> Particles:
        """`count` neurons of the law (unconstrained coordinates, leading axis)."""
        if self.law is None:
            raise DeclarationError(
                "draw",
                got="a fixed point from a closed form",
                expected="a law on nodes",
                mend="call `solve` without `cumulant`",
            )
        return self.law.draw(key, count)

    @text_of_values
    def __repr__(self) -> str:
        known = ((self.loss, self.errors.loss), (self.free_energy, self.errors.free_energy))
        loss, free = (f"{float(value):.5g} ± {float(error):.1g}" for value, error in known)
        return (
            f"FixedPoint at T = {float(self.problem.temperature):.4g}: loss {loss}, "
            f"free energy {free}, entropy {float(self.entropy):.4g} ± "
            f"{float(self.errors.entropy):.1g} a neuron\n  "
            f"residual {float(self.residual):.2g}, gap {float(self.gap):.2g}, "
            f"{int(self.steps)} steps, stiffness {float(self.stiffness):.3g}\n  "
            f"{float(self.ess):.0f} effective nodes of the law\n  "
            f"{Uniqueness[self.unique]}\n  {Status[self.status]}"
        )


@typed
def solve(
    problem: SelfConsistency,
    *,
    rule: Rule = "sobol",
    order: Count | None = None,
    seed: Whole = 0,
    cumulant: AbstractCumulant | None = None,
    start: FixedPoint | None = None,
    refinements: Whole = 3,
    replicates: Whole = 4,
    tolerance: Positive | None = None,
    steps: Count = 500,
    throw: bool = True,
) -> FixedPoint:
    """The self-consistent field: damped Newton on the convex dual, from no field.

    `T g + ∇Ψ(g) = y` is where `D(g) = (T/2)|g|² + Ψ(g) - ⟨y, g⟩` is least. `D` is strongly convex:
    there is one solution on the nodes, and the duality gap says how far it is.

    The nodes of the measure are those of `problem.measure`: quadrature, quasi-Monte-Carlo
    (`rule="sobol"`) or data.

    Args:
        rule: Nodes over the weights of one neuron, as of `bx.GaussianMeasure` in the standard
            normal variables that the weights are images of: "sobol" (default, `order` a power of
            two, 4096), "hermite", "trapezoid". A readout that is linear with a Gaussian prior is
            integrated out.
        order: Number of nodes, as of `rule`.
        seed: Of the scrambling of Sobol's sequence.
        cumulant: `Ψ` in closed form, instead of nodes.
        start: A fixed point nearby (of another temperature) to start from.
        refinements: While fewer than 1,000 Sobol nodes carry the law, new ones are drawn where it
            is and the field is solved for again, so many times at most.
        replicates: Further scramblings of Sobol nodes, each solved for from the field of the first,
            whose spread gives `errors` (of other rules one coarser rule is solved); 0 leaves the
            errors NaN. The status is `few_nodes` where the function is off by a tenth of `|y|`.
        tolerance: Of the residual, relative to `|y|`; 1e-9 in float64 and 1e-5 in float32.
        steps: Most steps of Newton.
        throw: Raise `RunError` if the run failed; else look at `status`.

    Raises:
        DeclarationError: A measure with negative weights; a target, or a field to start from, that
            is not finite.
    """
    if refuted(lambda w: w >= 0, problem.measure.nodes()[1]):
        raise DeclarationError(
            "measure",
            got="negative weights",
            expected="a measure, so that ⟨u, v⟩ is an inner product",
            mend="choose another rule than 'sparse'",
        )
    target = problem.to_vector(problem.targets())
    if start is not None:
        check_finite("start", start.field, "start from a fixed point whose status is successful")
    nodes = lower(problem, rule, order, seed) if cumulant is None else cumulant
    if tolerance is None:
        tolerance = 1e-9 if target.dtype == jnp.float64 else 1e-5
    begin = jnp.zeros_like(target) if start is None else problem.to_vector(start.field)
    drawn = isinstance(nodes, NodeCumulant) and rule == "sobol"
    if isinstance(cumulant, NodeCumulant):  # nodes of another solution: there are no others like it
        replicates = 0
    goal, rounds = jnp.asarray(tolerance, target.dtype), refinements if drawn else 0
    solver = Solver(problem, target, goal, steps, rounds, rule, order, seed)
    nodes, found = solver.settled(nodes, begin, seed)
    dual = solver.dual(nodes)
    known, errors = figures(dual, found.field), solver.errors(nodes, found, replicates)
    off = drawn & (jnp.linalg.norm(errors["background"]) > LARGE * jnp.linalg.norm(target))
    for values in (known, errors):
        for name in ("background", "field"):
            values[name] = problem.from_vector(values[name])
    background, field = Background(known.pop("background")), known.pop("field")
    law = None
    if isinstance(nodes, NodeCumulant):
        background = Background(background.values, nodes.function(found.field))
        law = Probe(problem, background, field, nodes)
    ess, inside = nodes.ess(found.field), jnp.isfinite(dual.value(found.field))
    status = Status.where(found.converged, Status.successful, Status.not_converged)
    status = Status.where(inside & jnp.isfinite(found.residual), status, Status.non_finite)
    thin = ((ess < FEWEST) | off) & (status == Status.successful)
    status = Status.where(thin, Status.few_nodes, status)
    sure = found.converged & inside
    result = FixedPoint(
        problem=problem,
        background=background,
        field=field,
        law=law,
        ess=ess,
        errors=NodeErrors(**errors),
        residual=found.residual,
        gap=0.5 * found.residual**2,
        inside=inside,
        unique=Uniqueness.where(sure, Uniqueness.convex, Uniqueness.unknown),
        steps=found.steps,
        status=status,
        **known,
    )
    return raise_if_failed(result, status, throw)
