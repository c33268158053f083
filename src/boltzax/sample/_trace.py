"""The result of a run at one or many temperatures."""

import abc
import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from ..compile import Gibbs, Weights
from ..core import (
    MEMORY,
    Curve,
    DeclarationError,
    Estimate,
    Influence,
    Key,
    Memory,
    Status,
    at_hand,
    described,
    text_of_values,
    typed,
    weights_of,
)
from ._ensemble import Ensemble
from ._free_energy_bounds import Bounds

RUNS = "pass what bx.sample, bx.anneal or bx.local_learning_coefficient gave"


@described("a Trace", RUNS)
@typed
class Trace(eqx.Module):
    """Draws of a Gibbs measure, axes `[*beta, chain, draw]`.

    Args:
        energy: `∂U/∂β` at each draw: the energy, averaged over weights that were integrated out.
        energy_variance: `-∂²U/∂β²` there (0 if nothing was integrated out).
        w: The draws in unconstrained coordinates by path, `[*beta, chain, draw, *shape]`, or None.
        acceptance: Acceptance probability of the last step before each draw.
        divergent: Whether the kernel reported that step as divergent.
        bridges: For a ladder, the potential differences between neighbouring levels.
        status: Whether the run succeeded, or why it failed.
        gradients: How many gradients each chain had taken by each draw, warm-up included.
        reduced: Results of the reductions that ran inside the loop, by name.
        moved: Whether the kernel changed each leaf of the weights on the way to each draw; the last
            axis are the leaves in the order of their sorted paths.
        noise: For energies that are estimates (from minibatches), an unbiased estimate of the
            variance of each about the energy over all data; None for energies that are exact.
            Means of such energies are unbiased, and the noise is in their error bars.
        key: Of the weights that were integrated out, which functions of the draws draw again; None
            for a fixed one.
    """

    gibbs: Gibbs
    energy: Float[Array, "*beta chain draw"]
    energy_variance: Float[Array, "*beta chain draw"]
    acceptance: Float[Array, "*beta chain draw"]
    divergent: Bool[Array, "*beta chain draw"]
    w: Weights | None
    status: Status
    bridges: "Bridges | None" = None
    gradients: Float[Array, "*beta chain draw"] | None = None
    reduced: dict[str, PyTree] = eqx.field(default_factory=dict)
    moved: Bool[Array, "*beta chain draw leaf"] | None = None
    noise: Float[Array, "*beta chain draw"] | None = None
    key: Key | None = None

    @property
    def betas(self) -> Float[Array, "*beta"]:
        """Inverse temperatures of the draws."""
        return self.gibbs.beta

    @property
    def stuck(self) -> Bool[Array, "*beta"]:
        """At which betas a chain, or a leaf of its weights, never moved."""
        if self.moved is None:
            return jnp.zeros(self.betas.shape, bool)
        moved = at_hand(self.moved)
        return jax.device_put(~(moved.any(axis=-2).all(axis=(-2, -1))))

    def vouched(self, estimate: Estimate) -> Estimate:
        """An estimate from these draws, without an error where a chain never moved.

        Args:
            estimate: of shape `[*beta, ...]`.

        Returns:
            The estimate; its standard error, ess and r_hat are NaN at the betas that are `stuck`.
        """
        stuck = np.asarray(self.stuck)
        if self.bridges is not None:  # a ladder fails as a whole
            stuck = stuck | (self.status == Status.stuck)
        if not np.any(stuck):
            return estimate
        return estimate.unknown(
            stuck.reshape(stuck.shape + (1,) * (estimate.value.ndim - stuck.ndim))
        )

    def __getitem__(self, rows: slice) -> "Trace":
        """The run at some of its betas. The whole ladder is kept in `bridges`."""
        if not isinstance(rows, slice) or self.betas.ndim != 1:
            raise DeclarationError(
                "trace[...]",
                got=repr(rows) if self.betas.ndim == 1 else "one beta",
                expected="a slice of a run at several betas",
                mend="write e.g. trace[2:]",
            )
        return picked(self, rows)

    @property
    def weights(self) -> dict[str, Array]:
        """All weights of the model at each draw, by path, in the model's own coordinates.

        Weights that were integrated out are drawn from their conditional law, as in `evaluate`.
        """
        return self.evaluate(weights_of)

    @property
    def ensemble(self) -> Ensemble:
        """The draws as an `Ensemble` with the axes `[*beta, chain, draw]`.

        Raises:
            DeclarationError: For a trace without draws.
        """
        if self.w is None:
            raise DeclarationError(
                "trace",
                got="a trace without draws",
                expected="the draws of the weights",
                mend="run with keep=True",
            )
        return dataclasses.replace(self._places, w=self.w)

    @property
    def _places(self) -> Ensemble:
        """The ensemble without its weights."""
        several = self.betas.ndim
        betas = ("beta",) if several == 1 else tuple(f"beta_{i}" for i in range(several))
        axes = (*betas, "chain", "draw")
        return Ensemble(self.gibbs, {}, axes, self.energy.shape, key=self.key)

    def evaluate(self, fn: Callable, key: Key | None = None, *, memory: Memory = MEMORY) -> PyTree:
        """`fn(model)` at every draw, `[*beta, chain, draw, *shape]`: `Ensemble.map` of the draws.

        Args:
            fn: A function of the model that gives an array or a pytree of arrays. It is compiled
                once, as under `jax.jit`.
            key: For the weights that were integrated out: they are drawn from their conditional
                law, so that `fn` sees draws of the full posterior (the run's own if None).
            memory: Bytes of intermediate values at once.

        Raises:
            DeclarationError: For a trace without draws.
        """
        return self.ensemble.map(fn, key=key, memory=memory)

    def mean(
        self, fn: Callable, key: Key | None = None, *, memory: Memory = MEMORY
    ) -> PyTree[Estimate]:
        """Posterior mean `⟨fn(model)⟩` with the error of an autocorrelated mean.

        Args:
            fn: As in `evaluate`.
            key: As in `evaluate`.
            memory: As in `evaluate`.

        Returns:
            One `Estimate` for each array that `fn` gives, of shape `[*beta, *shape]`.

        Raises:
            DeclarationError: For a trace without draws.
        """
        return jax.tree.map(self.mean_of, self.evaluate(fn, key, memory=memory))

    def mean_of(self, values: Array | np.ndarray, *, exact: bool = False) -> Estimate:
        """Mean of numbers known at every draw, with the error of an autocorrelated mean.

        Args:
            values: Numbers `[*beta, chain, draw, *shape]`, as `evaluate` gives them.
            exact: Take a constant for a number that is known exactly. So are all constants of a
                run whose weights were all integrated out.

        Returns:
            An estimate of shape `[*beta, *shape]`, without an error at betas that are `stuck`.

        Raises:
            DeclarationError: For numbers with other leading axes.
        """
        return self.vouched(self._places.mean_of(values, exact=exact))

    def curve(self, values: Estimate | Influence) -> Curve:
        """Estimates at the betas of this run as a curve over `log n`, `n = beta x mass` of the
        first data measure.

        Args:
            values: of shape `[beta, *shape]`, such as `bx.learning_coefficient(trace)`.

        Raises:
            DeclarationError: for values of another shape, and a run at one beta.
        """
        return along(self.gibbs, values)

    @text_of_values
    def __repr__(self) -> str:
        *betas, chains, draws = self.energy.shape
        low, high = np.min(np.asarray(self.betas)), np.max(np.asarray(self.betas))
        at = (
            f"{np.prod(betas, dtype=int)} betas, {low:.4g} to {high:.4g}"
            if betas
            else f"beta {low:.4g}"
        )
        rate, bad = np.mean(np.asarray(self.acceptance)), np.mean(np.asarray(self.divergent))
        lines = [
            f"Trace of {chains} chains of {draws} draws at {at}",
            "mean energy " + repr(self.mean_of(self.energy)).replace("\n", "\n  "),
            f"acceptance {rate:.2f}, divergent {100 * bad:.1f}%",
            Status[self.status],
        ]
        if self.w:
            lines.append("The checks are of energies: single weights of a net may mix less.")
        return "\n  ".join(lines)


BY_BETA = (
    "energy", "energy_variance", "acceptance", "divergent", "w", "gradients", "reduced", "moved",
    "noise",
)  # fmt: skip
"""Fields of a trace with the leading axes `[*beta]`."""


def picked(trace: Trace, rows: slice | np.ndarray) -> Trace:
    """The run at some of its betas, with every field. The whole ladder is kept in `bridges`."""
    count = len(trace.betas)

    def part(leaf):
        mine = np.ndim(leaf) and len(leaf) == count  # a reduction can have numbers of another kind
        return jax.device_put(np.asarray(leaf)[rows]) if mine else leaf

    fields = {name: jax.tree.map(part, vars(trace)[name]) for name in BY_BETA}
    gibbs = eqx.tree_at(lambda g: g.beta, trace.gibbs, part(trace.betas))
    bridges = trace.bridges
    if bridges is not None:
        requested = tuple(np.asarray(bridges.requested)[rows].tolist())
        bridges = dataclasses.replace(bridges, requested=requested)
    return dataclasses.replace(trace, gibbs=gibbs, bridges=bridges, **fields)


def along(gibbs: Gibbs, values: Estimate | Influence, influence: Influence | None = None) -> Curve:
    """Values at the betas of a measure as a curve over `log n`; see `Trace.curve`."""
    mass = float(gibbs.masses[0])
    with np.errstate(divide="ignore"):
        log_n = np.log(np.asarray(gibbs.beta, float) * mass)
    unit = "" if mass == 1.0 else "n = β × mass"
    return Curve(log_n, values, axis="log n", unit=unit, influence=influence)


@described("a result that has one", RUNS)
class AbstractDrawn(eqx.Module):
    """A result computed from a trace. Functions that take a trace take it too, and use its `trace`.

    `trace` holds the draws. Excess energies are measured from `reference`.
    """

    trace: eqx.AbstractVar[Trace]

    @property
    @abc.abstractmethod
    def reference(self) -> Float[Array, ""]:
        """The energy from which the excess of the draws is measured."""


@typed
def trace_of(trace: Trace | AbstractDrawn) -> Trace:
    """The draws of a trace, or of a result that has one."""
    return trace.trace if isinstance(trace, AbstractDrawn) else trace


class Bridges(eqx.Module):
    """Differences of potential between neighbouring levels of a ladder, and its traffic.

    `up[k] = U(w_k, β_{k+1}) - U(w_k, β_k)` at the draws of level k, `down[k]` the same difference
    at the draws of level k+1; axes `[pair, chain, draw]`. `swap_rate` is the mean acceptance of
    swaps by pair, `round_trips` counts journeys hot-cold-hot by chain. `requested` are the levels
    that the user asked for. `bounds` are upper bounds on the free energy at some of them, from runs
    that began elsewhere.
    """

    betas: Float[Array, " level"]
    energy: Float[Array, "level chain draw"]
    energy_variance: Float[Array, "level chain draw"]
    up: Float[Array, "pair chain draw"]
    down: Float[Array, "pair chain draw"]
    swap_rate: Float[Array, " pair"]
    round_trips: Array
    requested: tuple[int, ...] = eqx.field(static=True)
    bounds: Bounds | None = None
