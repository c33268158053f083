"""The result of a run."""

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
    finite,
    refuted,
    typed,
    weights_of,
)
from ._bounds import Bounds
from ._ensemble import Ensemble
from ._interrupt import checked

RUNS = "pass what bx.sample, bx.anneal or bx.local_learning_coefficient gave"


@described("a Trace", RUNS)
@typed
class Trace(eqx.Module):
    """Draws of a Gibbs measure, axes `[*beta, chain, draw]`.

    Args:
        energy: `∂U/∂β` at each draw: the energy, averaged over weights that were integrated out.
        energy_variance: `-∂²U/∂β²` there (0 if nothing was integrated out).
        w: The draws in unconstrained coordinates by path, `[*beta, chain, draw, *shape]`, or None.
        acceptance: What the kernel reported.
        divergent: What the kernel reported.
        bridges: For a ladder, what free-energy differences between neighbours need.
        status: What became of the run.
        gradients: How many gradients each chain had taken by each draw, warm-up included.
        reduced: Results of the reductions that ran inside the loop, by name.
        moved: Whether the kernel changed each leaf of the weights on the way to each draw; the last
            axis are the leaves in the order of their sorted paths.
        noise: For energies that are estimates (from minibatches), an unbiased estimate of the
            variance of each about the energy over all data; None for energies that are exact.
            Means of such energies are unbiased, and the noise is in their error bars.
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
        if self.bridges is not None:  # a ladder stands or falls as a whole
            stuck = stuck | (self.status == Status.stuck)
        if not np.any(stuck):
            return estimate
        return estimate.unknown(
            stuck.reshape(stuck.shape + (1,) * (estimate.value.ndim - stuck.ndim))
        )

    def __getitem__(self, rows: slice) -> "Trace":
        """The run at some of its betas; the ladder below them stays whole."""
        if not isinstance(rows, slice) or self.betas.ndim != 1:
            raise DeclarationError(
                "trace[...]",
                got=repr(rows) if self.betas.ndim == 1 else "one beta",
                expected="a slice of a run at several betas",
                mend="write e.g. trace[2:]",
            )
        numbers = (self.energy, self.energy_variance, self.acceptance, self.divergent, self.w)
        bridges = self.bridges
        if bridges is not None:
            bridges = dataclasses.replace(bridges, requested=bridges.requested[rows])
        return Trace(
            self.gibbs.at(self.betas[rows]),
            *jax.tree.map(lambda leaf: leaf[rows], numbers),
            self.status,
            bridges,
            moved=None if self.moved is None else self.moved[rows],
            noise=None if self.noise is None else self.noise[rows],
        )

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
        several = self.betas.ndim
        betas = ("beta",) if several == 1 else tuple(f"beta_{i}" for i in range(several))
        axes = (*betas, "chain", "draw")
        return Ensemble(self.gibbs, self.w, axes, self.energy.shape)

    def evaluate(self, fn: Callable, key: Key | None = None, *, memory: Memory = MEMORY) -> PyTree:
        """`fn(model)` at every draw, with leading axes `[*beta, chain, draw]`.

        Weights that were integrated out are drawn from their conditional law with `key` (default:
        a fixed one), so that `fn` sees draws of the full posterior.

        Args:
            fn: a function of the model that gives an array or a pytree of arrays. It is compiled
                once: what it reads from outside is read at the first call, as under `jax.jit`.
            key: for the weights that were integrated out.
            memory: bytes of intermediate values at once; as many draws are looked at together as
                fit. The result does not depend on it by more than rounding.

        Returns:
            What `fn` gives, with axes `[*beta, chain, draw, *shape]`. For its mean use `mean`.

        Raises:
            DeclarationError: for a trace without draws.
        """
        return self.ensemble.map(fn, key=key, memory=memory)

    def mean(
        self, fn: Callable, key: Key | None = None, *, memory: Memory = MEMORY
    ) -> PyTree[Estimate]:
        """Posterior mean `⟨fn(model)⟩` with the error of an autocorrelated mean.

        Args:
            fn: a function of the model that gives an array or a pytree of arrays.
            key: for the weights that were integrated out, which are drawn again.
            memory: bytes of intermediate values at once, as in `evaluate`.

        Returns:
            One `Estimate` for each array that `fn` gives, of shape `[*beta, *shape]`.

        Raises:
            DeclarationError: for a trace without draws.
        """
        return jax.tree.map(self.mean_of, self.evaluate(fn, key, memory=memory))

    def mean_of(self, values: Array | np.ndarray, *, exact: bool = False) -> Estimate:
        """Mean of numbers known at every draw, with the error of an autocorrelated mean.

        Args:
            values: numbers with leading axes `[*beta, chain, draw]`, as `evaluate` gives them.
            exact: take a constant for a number that is known exactly. So are all constants of a
                run whose weights were all integrated out.

        Returns:
            An estimate of shape `[*beta, *shape]`; without an error at betas that are `stuck`.

        Raises:
            DeclarationError: for numbers with other leading axes.
        """
        values, lead = np.asarray(values, float), self.energy.ndim - 2
        if values.shape[: lead + 2] != self.energy.shape:
            raise DeclarationError(
                "values",
                got=f"an array of shape {values.shape}",
                expected=f"leading axes [*beta, chain, draw] of sizes {self.energy.shape}",
                mend="pass what trace.evaluate(fn) gives, or use trace.mean(fn)",
            )
        rows = np.moveaxis(values, (lead, lead + 1), (-2, -1))
        known = exact or not self.gibbs.coordinates.priors
        return self.vouched(Estimate.of_series(rows, exact=known))

    def curve(self, values: Estimate | Influence) -> Curve:
        """Estimates at the betas of this run as a curve over `log n`, `n = beta x mass` of the
        first data measure.

        Args:
            values: of shape `[beta, *shape]`, such as `bx.learning_coefficient(trace)`.

        Raises:
            DeclarationError: for values of another shape, and a run at one beta.
        """
        return along(self.gibbs, values)


def along(gibbs: Gibbs, values: Estimate | Influence, influence: Influence | None = None) -> Curve:
    """Values at the betas of a measure as a curve over `log n`; see `Trace.curve`."""
    mass = float(gibbs.masses[0])
    with np.errstate(divide="ignore"):
        log_n = np.log(np.asarray(gibbs.beta, float) * mass)
    unit = "" if mass == 1.0 else "n = β × mass"
    return Curve(log_n, values, axis="log n", unit=unit, influence=influence)


@described("a result that has one", RUNS)
class AbstractDrawn(eqx.Module):
    """A result that stands on draws: what takes a trace takes it too, and uses its `trace`.

    `trace` are the draws, and `reference` the energy from which their excess is measured.
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


def judge(records: dict[str, PyTree], r_hat: float) -> Status:
    """The status that the draws themselves show.

    Args:
        records: what a run recorded, by name, with axes `[*beta, chain, draw]`: `energy`,
            `divergent`, and if they are there `moved` and `log_prior`.
        r_hat: chains have mixed if that of the energy is at most this. Where the energy is constant
            though the chains move, the log-density of the prior is judged instead.

    Returns:
        The first of `non_finite`, `stuck`, `divergent`, `not_mixed` that holds, or `successful`.
    """
    energy, moved = records["energy"], records.get("moved")
    if refuted(finite, energy):
        return Status.non_finite
    if moved is not None and refuted(lambda each: each.any(axis=-2), moved):
        return Status.stuck
    if float(at_hand(records["divergent"]).mean()) > 0.01:
        return Status.divergent
    estimate = Estimate.of_series(energy)
    found, ess = np.asarray(estimate.r_hat), np.asarray(estimate.ess)
    if moved is not None and "log_prior" in records:
        prior = Estimate.of_series(records["log_prior"])
        found = np.where(np.isnan(found), prior.r_hat, found)
        ess = np.where(np.isnan(ess), prior.ess, ess)
    good = (found <= r_hat) & (ess >= 4 * energy.shape[-2])
    return Status.successful if bool(np.all(good)) else Status.not_mixed


def raise_for(trace: Trace, throw: bool, more: str = "") -> None:
    """Raise `RunError` for a failed run, with the evidence, unless the user takes it as it is.

    For one that was interrupted, `Interrupted` with the trace.
    """
    checked(trace, trace.status, throw, lambda: f"Evidence: {evidence(trace)}{more}.")


def evidence(trace: Trace) -> str:
    """What a status is judged by."""
    energy = trace.energy if trace.bridges is None else trace.bridges.energy
    estimate = Estimate.of_series(energy)
    worst, least = float(jnp.max(estimate.r_hat)), float(jnp.min(estimate.ess))
    said = f"largest r_hat of the energy {worst:.3f}, smallest ess {least:.0f}"
    divergent = float(jnp.mean(trace.divergent))
    said += f", divergent trajectories {100 * divergent:.1f}%"
    if trace.bridges is not None:
        trips, swaps = trace.bridges.round_trips, trace.bridges.swap_rate
        said += f", round trips {float(jnp.sum(trips)):.0f}, smallest swap rate "
        said += f"{float(jnp.min(swaps)):.2f}"
    return said + _stillness(trace)


def _stillness(trace: Trace) -> str:
    """Which weights of how many chains never moved, and what their gradient is, in words."""
    if trace.moved is None:
        return ""
    still = ~np.any(np.asarray(trace.moved), axis=-2).reshape(-1, trace.moved.shape[-1])
    paths = sorted(trace.gibbs.coordinates.priors)
    counts = [f"{path} in {n} of {len(still)}" for path, n in zip(paths, still.sum(0)) if n]
    if not counts:
        return ""
    said = f", weights that never moved (chains): {'; '.join(counts[:5])}"
    said += f", mean acceptance {float(jnp.mean(trace.acceptance)):.2f}"
    if trace.w is not None:
        chain = int(np.flatnonzero(still.any(1))[0])
        undefined = _undefined_gradient(trace, chain)
        if undefined:
            said += f", the gradient there is not finite in {', '.join(undefined[:5])}"
    return said


def _undefined_gradient(trace: Trace, chain: int) -> list[str]:
    """Leaves in which the gradient at the last draw of a chain (of all betas) is not finite."""
    rows = trace.energy.shape[-2:]
    last = {
        path: leaf.reshape(-1, rows[1], *leaf.shape[trace.energy.ndim :])[chain, -1]
        for path, leaf in (trace.w or {}).items()
    }
    beta = jnp.repeat(trace.betas.reshape(-1), rows[0])[chain]
    gradient = _gradient(eqx.tree_at(lambda g: g.beta, trace.gibbs, beta), last)
    return [path for path, leaf in sorted(gradient.items()) if not np.all(np.isfinite(leaf))]


@eqx.filter_jit
def _gradient(gibbs: Gibbs, w: Weights) -> Weights:
    return jax.grad(gibbs.log_prob)(w)
