"""Sampling algorithms of blackjax as kernels."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from ..core import DeclarationError, Fraction, Positive, typed
from ._blackjax_algorithm import Algorithm, builder, checked, library, missing
from ._kernel import AbstractCosted, AbstractKernel, Move, Tuning
from ._unadjusted import AbstractUnadjusted, StepSize, size


class BlackjaxState(NamedTuple):
    """The state of the algorithm, and the tuning (None if nothing is learned)."""

    inner: Any
    tuning: Tuning | None


class AdjustedBlackjax(AbstractCosted):
    """An algorithm with a Metropolis test; see `Blackjax`."""

    algorithm: Algorithm
    target_acceptance: float

    def init(self, gibbs, w, key, warmup):
        tuning = Tuning.start(w, 0.1) if self.algorithm.learned else None
        return self._placed(gibbs, w, key, tuning)

    def step(self, gibbs, state: BlackjaxState, key, gain, warmup):
        values = self.algorithm.found(state.tuning)
        inner, said = self.algorithm.step(gibbs, state.inner, key, values)
        acceptance = said.get("acceptance_rate", said.get("is_accepted"))
        if acceptance is None:
            raise DeclarationError(
                "algorithm",
                got=f"one that reports {', '.join(said)}",
                expected="one that reports `acceptance_rate` or `is_accepted`",
                mend="without a Metropolis test only blackjax.mclmc is known",
            )
        acceptance = jnp.asarray(acceptance, float)
        undefined = jnp.isnan(acceptance)
        acceptance = jnp.where(undefined, 0.0, acceptance)
        tuning = state.tuning
        if tuning is not None:
            tuning = tuning.update(inner.position, acceptance, self.target_acceptance, gain)
        divergent = undefined | said.get("is_divergent", False)
        move = Move(acceptance, divergent, self.algorithm.gradients(inner, said))
        return BlackjaxState(inner, tuning), move

    def position(self, state: BlackjaxState):
        return state.inner.position

    def cost(self):
        return self.algorithm.cost()

    def moved(self, gibbs, state: BlackjaxState, w, key):
        return self._placed(gibbs, w, key, state.tuning)

    def _placed(self, gibbs, w, key, tuning) -> BlackjaxState:
        values = self.algorithm.found(tuning)
        return BlackjaxState(self.algorithm.init(gibbs, w, key, values), tuning)


class UnadjustedBlackjax(AbstractUnadjusted, AbstractCosted):
    """Microcanonical Langevin dynamics without a Metropolis test; see `Blackjax`."""

    algorithm: Algorithm
    step_size: float | Array | None
    scale: float | Array
    error: float | Array

    order: ClassVar[int] = 2

    def init(self, gibbs, w, key, warmup):
        if size(w) < 2:
            raise DeclarationError(
                "kernel",
                got="blackjax.mclmc for one coordinate",
                expected="two coordinates or more: its momentum has a fixed length",
                mend="use another kernel, e.g. bx.NUTS()",
            )
        fixed = self.step_size is not None and not self.algorithm.learned
        tuning = None if fixed else Tuning.start(w, 1e-3)
        return self._placed(gibbs, w, key, tuning)

    def step(self, gibbs, state: BlackjaxState, key, gain, warmup):
        tuning, step_size = state.tuning, self.step_size
        if step_size is None:
            assert tuning is not None
            step_size = jnp.exp(tuning.log_step)
        step_size = step_size * jnp.where(gain > 0, 1.0, jnp.asarray(self.scale))
        values = self.algorithm.found(tuning) | {"step_size": step_size}
        inner, said = self.algorithm.step(gibbs, state.inner, key, values)
        wild = ~said["nonans"]
        if tuning is not None:
            step = StepSize(tuning.log_step)
            if self.step_size is None:
                error = said["energy_change"] ** 2 / size(inner.position)
                step = step.tuned(jnp.where(wild, jnp.inf, error), self.error, gain)
            tuning = tuning.update(inner.position, jnp.zeros(()), 0.0, gain)
            tuning = tuning._replace(log_step=step.log_step)
        # a step that was taken back in warm-up was a trial
        move = Move(jnp.ones(()), wild & (gain == 0), self.algorithm.gradients(inner, said))
        return BlackjaxState(inner, tuning), move

    def position(self, state: BlackjaxState):
        return state.inner.position

    def step_of(self, states: BlackjaxState):
        return None if states.tuning is None else StepSize(states.tuning.log_step).mean()

    def cost(self):
        return self.algorithm.cost()

    def moved(self, gibbs, state: BlackjaxState, w, key):
        return self._placed(gibbs, w, key, state.tuning)

    def _placed(self, gibbs, w, key, tuning) -> BlackjaxState:
        values = self.algorithm.found(tuning) | {"step_size": 1.0}  # no part of a state
        return BlackjaxState(self.algorithm.init(gibbs, w, key, values), tuning)


@typed
def Blackjax(
    algorithm: Callable,
    *,
    step_size: Positive | None = None,
    target_acceptance: Fraction | None = None,
    scale: Positive | None = None,
    error: Positive | None = None,
    **options: Any,
) -> AbstractKernel:
    """A sampling algorithm of blackjax (github.com/blackjax-devs/blackjax) as a kernel.

    It runs as every kernel does: with chains, temperatures, replica exchange and checkpoints. It
    uses all data, even if the measure has minibatches.

    `step_size`, `inverse_mass_matrix` and `L` are found in the warm-up where the algorithm has them
    and they are left out: the step by the acceptance, the inverse masses as the variance of each
    coordinate, and `L` (the distance over which microcanonical dynamics forgets its direction) as
    the root of the sum of the variances over the inverse masses. They are fixed afterwards. A step
    that is given is in units of the masses: with it these are blackjax's own, if it has a default.

    `blackjax.mclmc` has no Metropolis test: its law is off by `O(step²)`, as that of
    `bx.Underdamped`. Its step is chosen so that the energy error of a step has variance `error` a
    coordinate. Inverse masses are ordered as `jax.flatten_util.ravel_pytree` orders the weights.

    Args:
        algorithm: `blackjax.nuts`, `blackjax.mclmc`, ..., or a function
            `(logdensity_fn, **options)` that gives a `blackjax.SamplingAlgorithm`.
        step_size: Found in the warm-up if None.
        target_acceptance: Mean acceptance that the step is tuned to (default 0.65).
        scale: Without a Metropolis test, a factor on the step after the warm-up (default 1).
        error: Without a Metropolis test, the variance of the energy error of a step, a coordinate
            (default 5e-4).
        options: What else the algorithm takes, by the names that blackjax gives them.

    Returns:
        A kernel, an `AbstractUnadjusted` for `blackjax.mclmc`.

    Raises:
        DeclarationError: For an algorithm that does not sample a log-density, options that it does
            not have, that are missing or of another kind, and without blackjax.
    """
    build = builder(algorithm)
    unadjusted = build is library().mclmc.differentiable
    adjusted_only = {"target_acceptance": target_acceptance}
    others = adjusted_only if unadjusted else {"scale": scale, "error": error}
    for argument, value in others.items():
        if value is not None:
            has = "no" if unadjusted else "a"
            raise DeclarationError(
                argument,
                got=f"{value} for an algorithm with {has} Metropolis test",
                expected=f"no {argument}, which has no meaning there",
                mend="leave it out",
            )
    if step_size is not None:
        options["step_size"] = step_size
    learned = missing(build, options)
    options = {name: checked(build, name, value) for name, value in options.items()}
    if unadjusted:
        options.pop("step_size", None)
        learned = tuple(name for name in learned if name != "step_size")
        scale, error = 1.0 if scale is None else scale, 5e-4 if error is None else error
        return UnadjustedBlackjax(Algorithm(build, options, learned), step_size, scale, error)
    target = 0.65 if target_acceptance is None else target_acceptance
    return AdjustedBlackjax(Algorithm(build, options, learned), target)
