"""Sampling algorithms of blackjax as kernels. The home of blackjax, imported when asked for.

Its quirks: an algorithm is a class without a hash that holds the function which builds it; states
and infos are named tuples, of which only the names of the fields say what they have; some
algorithms take a likelihood under the name of a log-density; strict promotion of dtypes fails.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..compile import Gibbs, Weights
from ..core import DeclarationError, Fraction, Positive, installed, name_of, typed
from ._kernel import AbstractCosted, AbstractKernel, Move, StepCost, Tuning
from ._unadjusted import AbstractUnadjusted, StepSize, size

Values = dict[str, Any]

LEARNED = ("step_size", "inverse_mass_matrix", "L")
"""Parameters that warm-up finds if they are left out."""

EMPTY = inspect.Parameter.empty

OTHER_TARGETS = ("mgrad_gaussian", "orbital_hmc")
"""Algorithms whose `logdensity_fn` is a likelihood, or whose state is not one place."""


class Algorithm(eqx.Module):
    """A function of blackjax that builds an algorithm, and what it is called with.

    `learned` names the parameters that warm-up finds. The log-density is always over all data.
    """

    build: Callable = eqx.field(static=True)
    options: Values
    learned: tuple[str, ...] = eqx.field(static=True)

    def init(self, gibbs: Gibbs, w: Weights, key: PRNGKeyArray, values: Values) -> Any:
        """The state at `w`, momenta and the like drawn with `key`."""
        with jax.numpy_dtype_promotion("standard"):
            return self._at(gibbs, values).init(w, key)

    def step(
        self, gibbs: Gibbs, state: Any, key: PRNGKeyArray, values: Values
    ) -> tuple[Any, Values]:
        """One step, and the info of the algorithm by name."""
        with jax.numpy_dtype_promotion("standard"):
            new, info = self._at(gibbs, values).step(key, state)
        # the types of a state stay as they are
        new = jax.tree.map(_like, new, state)
        return new, info._asdict()

    def gradients(self, state: Any, said: Values) -> Float[Array, ""]:
        """How many gradients a step took."""
        if "logdensity_grad" not in state._fields:
            return jnp.zeros(())
        return jnp.asarray(self._stages() * said.get("num_integration_steps", 1), float)

    def cost(self) -> StepCost:
        """Gradients of a step, as far as the options tell."""
        doublings, steps = self._given("max_num_doublings"), self._given("num_integration_steps")
        most = float(self._stages() * (2**doublings - 1 if doublings else steps or 1))
        return StepCost(most, most, min(8.0, most))

    def _given(self, name: str) -> Any:
        """An option, or its default; None if there is no such option."""
        return self.options.get(name, _default(self.build, name))

    def _stages(self) -> int:
        integrator = self._given("integrator")
        return 1 if integrator is None else _stages(integrator)

    def _at(self, gibbs: Gibbs, values: Values) -> Any:
        return self.build(gibbs.log_prob, **self.options, **values)


class BlackjaxState(NamedTuple):
    """The state of the algorithm, and what warm-up learns (None if nothing)."""

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
        values = _values(self.algorithm, state.tuning)
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
        values = _values(self.algorithm, tuning)
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
        values = _values(self.algorithm, tuning) | {"step_size": step_size}
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
        values = _values(self.algorithm, tuning) | {"step_size": 1.0}  # no part of a state
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

    It runs as every kernel here does: chains, temperatures, replica exchange, checkpoints. It
    samples over all data, also where the measure has minibatches.

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
            not have or that are missing, and without blackjax.
    """
    build = _builder(algorithm)
    unadjusted = build is _blackjax().mclmc.differentiable
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
    learned = _missing(build, options)
    options = {name: _number(value) for name, value in options.items()}
    if unadjusted:
        options.pop("step_size", None)
        learned = tuple(name for name in learned if name != "step_size")
        scale, error = 1.0 if scale is None else scale, 5e-4 if error is None else error
        return UnadjustedBlackjax(Algorithm(build, options, learned), step_size, scale, error)
    target = 0.65 if target_acceptance is None else target_acceptance
    return AdjustedBlackjax(Algorithm(build, options, learned), target)


def _builder(algorithm: Callable) -> Callable:
    """The function `(logdensity_fn, **options)` that builds an algorithm."""
    blackjax = _blackjax()
    api = isinstance(algorithm, blackjax.GenerateSamplingAPI)
    build = algorithm.differentiable if api else algorithm
    names = _parameters(build)
    other = [n for n in OTHER_TARGETS if build is vars(blackjax)[n].differentiable]
    if not names or names[0] != "logdensity_fn" or other:
        raise DeclarationError(
            "algorithm",
            got=f"{other[0] if other else name_of(build)}({', '.join(names)})",
            expected="an algorithm that samples a log-density, its first argument `logdensity_fn`",
            mend="pass e.g. blackjax.nuts, blackjax.mclmc, blackjax.barker; for minibatches use "
            "bx.SGLD(), for populations bx.anneal(..., by='smc')",
        )
    return build


def _missing(build: Callable, options: Values) -> tuple[str, ...]:
    """The parameters that warm-up has to find."""
    names = _parameters(build)[1:]
    for name in options:
        if name not in names:
            raise DeclarationError(
                name,
                got=f"an option {name!r} of {name_of(build)}",
                expected=f"one of {', '.join(names)}",
                mend="leave it out, or spell it as blackjax does",
            )
    absent = [name for name in names if name not in options]
    for name in absent:
        if name not in LEARNED and _default(build, name) is EMPTY:
            raise DeclarationError(
                name,
                got=f"no {name} for {name_of(build)}",
                expected="every option that has no default, but for those found in the warm-up: "
                f"{', '.join(LEARNED)}",
                mend=f"pass {name}=...",
            )
    if "step_size" in options and _default(build, "inverse_mass_matrix") is not EMPTY:
        absent = [name for name in absent if name != "inverse_mass_matrix"]
    return tuple(name for name in absent if name in LEARNED)


def _parameters(build: Callable) -> list[str]:
    try:
        return list(inspect.signature(build).parameters)
    except (TypeError, ValueError):  # what has no signature
        return []


def _default(build: Callable, name: str) -> Any:
    """The default of a parameter, `empty` for one without; None for no such parameter."""
    parameter = inspect.signature(build).parameters.get(name)
    return None if parameter is None else parameter.default


def _number(value: Any) -> Any:
    """Floats as arrays, so that another one compiles nothing; counts and functions as they are."""
    return jax.device_put(np.asarray(value)) if isinstance(value, float | np.ndarray) else value


def _values(algorithm: Algorithm, tuning: Tuning | None) -> Values:
    """The parameters that warm-up has found so far."""
    if tuning is None:
        return {}
    variance = ravel_pytree(tuning.variance)[0]
    learned = "inverse_mass_matrix" in algorithm.learned
    masses = variance if learned else algorithm.options.get("inverse_mass_matrix", 1.0)
    found = {
        "step_size": jnp.exp(tuning.log_step),
        "inverse_mass_matrix": masses,
        "L": jnp.sqrt(jnp.sum(variance / masses)),
    }
    return {name: found[name] for name in algorithm.learned}


def _like(new: Array, old: Array) -> Array:
    typed_key = jnp.issubdtype(old.dtype, jax.dtypes.prng_key)
    return new if typed_key else jnp.asarray(new, old.dtype)


@functools.cache
def _stages(integrator: Callable) -> int:
    """How many gradients one step of an integrator takes, counted as it is traced."""
    mcmc, calls = _blackjax().mcmc, []

    def log_density(w):
        calls.append(w)
        return -0.5 * jnp.sum(w**2)

    w = jax.ShapeDtypeStruct((2,), jnp.result_type(float))
    number = jax.ShapeDtypeStruct((), w.dtype)
    euclidean = "kinetic_energy_fn" in _parameters(integrator)
    metric = mcmc.metrics.default_metric(np.ones(2)).kinetic_energy if euclidean else 1.0
    state = mcmc.integrators.IntegratorState(w, w, number, w)
    jax.eval_shape(integrator(log_density, metric), state, number)
    return len(calls)


def _blackjax() -> Any:
    with installed("blackjax", "algorithm", "blackjax"):
        import blackjax
    return blackjax
