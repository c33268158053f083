"""The result of a run."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import (
    MEMORY,
    DeclarationError,
    Estimate,
    RunError,
    Status,
    check_memory,
    map_within,
    mean_estimate,
    weights_of,
)
from ._bounds import Bounds


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

    @property
    def betas(self) -> Float[Array, "*beta"]:
        """Inverse temperatures of the draws."""
        return self.gibbs.beta

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
        )

    @property
    def weights(self) -> dict[str, Array]:
        """All weights of the model at each draw, by path, in the model's own coordinates.

        Weights that were integrated out are drawn from their conditional law, as in `evaluate`.
        """
        return self.evaluate(weights_of)

    def evaluate(
        self, fn: Callable, key: PRNGKeyArray | None = None, *, memory: int = MEMORY
    ) -> PyTree:
        """`fn(model)` at every draw, with leading axes `[*beta, chain, draw]`.

        Weights that were integrated out are drawn from their conditional law with `key` (default:
        a fixed one), so that `fn` sees draws of the full posterior.

        Args:
            fn: a function of the model that gives an array or a pytree of arrays.
            key: for the weights that were integrated out.
            memory: bytes of intermediate values at once; as many draws are looked at together as
                fit. The result does not depend on it by more than rounding.

        Returns:
            What `fn` gives, with axes `[*beta, chain, draw, *shape]`. For its mean use `mean`.

        Raises:
            DeclarationError: for a trace without draws, or a wrong `memory`.
        """
        memory = check_memory(memory)
        if self.w is None:
            raise DeclarationError(
                "trace",
                got="a trace without draws",
                expected="the draws of the weights",
                mend="run with keep=True",
            )
        shape = self.energy.shape
        keys = jax.random.split(jax.random.key(0) if key is None else key, shape)
        betas = jnp.broadcast_to(self.betas.reshape((*self.betas.shape, 1, 1)), shape)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(shape) :]), (self.w, keys, betas))

        def one(each):
            w, key, beta = each
            gibbs = eqx.tree_at(lambda g: g.beta, self.gibbs, beta)
            return fn(gibbs.complete(w, key))

        out = eqx.filter_jit(lambda flat: map_within(one, flat, memory))(flat)
        return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), out)

    def mean(
        self, fn: Callable, key: PRNGKeyArray | None = None, *, memory: int = MEMORY
    ) -> PyTree[Estimate]:
        """Posterior mean `⟨fn(model)⟩` with the error of an autocorrelated mean.

        Args:
            fn: a function of the model that gives an array or a pytree of arrays.
            key: for the weights that were integrated out, which are drawn again.
            memory: bytes of intermediate values at once, as in `evaluate`.

        Returns:
            One `Estimate` for each array that `fn` gives, of shape `[*beta, *shape]`.

        Raises:
            DeclarationError: for a trace without draws, or a wrong `memory`.
        """
        lead = self.energy.ndim - 2

        def one(values: Array) -> Estimate:
            values = jnp.asarray(values, float)
            return mean_estimate(jnp.moveaxis(values, (lead, lead + 1), (-2, -1)))

        return jax.tree.map(one, self.evaluate(fn, key, memory=memory))


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


def judge(energy: Array, divergent: Array, r_hat: float) -> Status:
    """The status that the draws themselves show; chains mix if the energy's r_hat is below."""
    if not bool(jnp.all(jnp.isfinite(energy))):
        return Status.non_finite
    if float(jnp.mean(divergent)) > 0.01:
        return Status.divergent
    estimate = mean_estimate(energy)
    mixed = np.asarray(estimate.r_hat) <= r_hat
    enough = np.asarray(estimate.ess) >= 4 * energy.shape[-2]
    return Status.successful if bool(np.all(mixed & enough)) else Status.not_mixed


def raise_for(trace: Trace, throw: bool, more: str = "") -> None:
    """Raise `RunError` for a failed run, with the evidence, unless the user takes it as it is."""
    if throw and trace.status != Status.successful:
        raise RunError(
            f"{Status[trace.status]}\nEvidence: {evidence(trace)}{more}. "
            "(Pass throw=False to get the result as it is.)"
        )


def evidence(trace: Trace) -> str:
    """What a status is judged by."""
    energy = trace.energy if trace.bridges is None else trace.bridges.energy
    estimate = mean_estimate(energy)
    worst, least = float(jnp.max(estimate.r_hat)), float(jnp.min(estimate.ess))
    said = f"largest r_hat of the energy {worst:.3f}, smallest ess {least:.0f}"
    divergent = float(jnp.mean(trace.divergent))
    said += f", divergent trajectories {100 * divergent:.1f}%"
    if trace.bridges is not None:
        trips, swaps = trace.bridges.round_trips, trace.bridges.swap_rate
        said += f", round trips {float(jnp.sum(trips)):.0f}, smallest swap rate "
        said += f"{float(jnp.min(swaps)):.2f}"
    return said
