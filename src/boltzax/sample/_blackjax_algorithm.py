"""Sampling algorithms of blackjax behind one interface. The home of blackjax, imported when needed.

Quirks of blackjax: an algorithm is an object without a hash that holds the function which builds
it. States and infos are named tuples, and only the names of their fields say what they hold. Some
algorithms take a likelihood under the name of a log-density. Strict promotion of dtypes fails.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..compile import Gibbs, Weights
from ..core import DeclarationError, got, installed, name_of, whole
from ._kernel import StepCost, Tuning

Values = dict[str, Any]

LEARNED = ("step_size", "inverse_mass_matrix", "L")
"""Parameters that warm-up finds if they are left out."""

MASSES = "inverse_mass_matrix"

COUNTS = {
    "num_integration_steps": 1,
    "max_num_doublings": 1,
    "max_expansions": 0,
    "max_shrinkage": 0,
    "max_search_steps": 0,
}
"""Options that are whole numbers, and the least that each may be."""

LENGTHS = 1000
"""Trajectories whose random lengths are drawn to know their most and their mean."""

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
        self._check_masses(ravel_pytree(w)[0].size)
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

    def found(self, tuning: Tuning | None) -> Values:
        """The parameters that warm-up has found so far."""
        if tuning is None:
            return {}
        variance = ravel_pytree(tuning.variance)[0]
        learned = "inverse_mass_matrix" in self.learned
        masses = variance if learned else self.options.get("inverse_mass_matrix", 1.0)
        found = {
            "step_size": jnp.exp(tuning.log_step),
            "inverse_mass_matrix": masses,
            "L": jnp.sqrt(jnp.sum(variance / masses)),
        }
        return {name: found[name] for name in self.learned}

    def gradients(self, state: Any, said: Values) -> Float[Array, ""]:
        """How many gradients a step took; the most where the algorithm does not tell."""
        if "logdensity_grad" not in state._fields:
            return jnp.zeros(())
        steps = said.get("num_integration_steps", 1)
        if "num_steps_to_uturn_forward" in said:  # both ways are walked, and one place is taken
            steps = said["num_steps_to_uturn_forward"] + said["num_steps_to_uturn_reverse"]
        if "search_exhausted" in said:
            return jnp.asarray(self.cost().most)
        return jnp.asarray(self._stages() * steps, float)

    def cost(self) -> StepCost:
        """Gradients of a step, as far as the options tell; infinite where nothing bounds them."""
        most, usual = (float(self._stages() * steps) for steps in self._steps())
        return StepCost(most, most, usual)

    def _steps(self) -> tuple[float, float]:
        """Steps of the integrator in a step: the most, and the usual number."""
        length, searches = self._given("integration_steps_fn"), self._given("max_search_steps")
        doublings, walked = self._given("max_num_doublings"), self._given("max_num_steps")
        parameters = self._given("integration_steps_params")
        if length is not None:  # random: of many draws
            keys = jax.random.split(jax.random.key(0), LENGTHS)
            drawn = np.asarray(jax.vmap(lambda key: length(key, *parameters))(keys))
            return float(drawn.max()), float(drawn.mean())
        most = (parameters or (None,))[0] or self._given("num_integration_steps") or 1
        if searches is not None:  # for the size of a step, forwards and backwards; and the step
            most *= 2 * (searches + 1) + 1
        if walked is not None:
            most = 2 * walked
        if doublings is not None:
            most = 2**doublings - 1
        if self._given("max_shrinkage") is not None or self._implicit():
            most = math.inf
        vary = doublings is not None or walked is not None
        return most, min(8.0, most) if vary else most

    def _implicit(self) -> bool:
        return self._given("integrator") is library().mcmc.integrators.implicit_midpoint

    def _check_masses(self, size: int) -> None:
        masses = self.options.get(MASSES)
        if not isinstance(masses, np.ndarray | Array):
            return
        default = _default(self.build, MASSES)
        one = [()] if isinstance(default, float) else []
        if masses.shape not in [(size,), (size, size), *one]:
            raise DeclarationError(
                MASSES,
                got=f"an array of shape {masses.shape}",
                expected=f"one number for each of the {size} coordinates, or a matrix of them",
                mend="order them as jax.flatten_util.ravel_pytree orders the weights, or leave it "
                "out: the warm-up finds it",
            )

    def _given(self, name: str) -> Any:
        """An option, or its default; None if there is no such option."""
        return self.options.get(name, _default(self.build, name))

    def _stages(self) -> int:
        integrator = self._given("integrator")
        return 1 if integrator is None else _stages(integrator)

    def _at(self, gibbs: Gibbs, values: Values) -> Any:
        return self.build(gibbs.log_prob, **self.options, **values)


def builder(algorithm: Callable) -> Callable:
    """The function `(logdensity_fn, **options)` that builds an algorithm."""
    blackjax = library()
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


def missing(build: Callable, options: Values) -> tuple[str, ...]:
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


def checked(build: Callable, name: str, value: Any) -> Any:
    """An option in its standard form: floats as arrays, so that another one compiles nothing.

    Raises:
        DeclarationError: For a value that the option cannot have.
    """
    default = _default(build, name)
    if value is default:
        return value
    if name in COUNTS:
        return whole(COUNTS[name]).check(name, value)
    if name == MASSES:
        return _masses(value)
    if isinstance(value, str) and not isinstance(default, str):
        raise DeclarationError(
            name,
            got=repr(value),
            expected=f"a value of the option {name} of {name_of(build)}",
            mend="pass numbers, not text",
        )
    return jax.device_put(np.asarray(value)) if isinstance(value, float | np.ndarray) else value


def _masses(value: Any) -> Any:
    """Inverse masses as an array of floats; metrics of blackjax and functions as they are."""
    metric = callable(value) or (isinstance(value, tuple) and type(value) is not tuple)
    if metric or isinstance(value, Tracer):
        return value
    try:
        masses = np.asarray(value)
        masses = masses if masses.dtype.kind == "f" else masses.astype(float)
    except (TypeError, ValueError):  # text, or rows of several lengths
        masses = np.array(np.nan)
    diagonal = np.diagonal(masses) if masses.ndim == 2 else masses
    if not np.all((diagonal > 0) & np.isfinite(diagonal)):
        raise DeclarationError(
            MASSES,
            got=got(value),
            expected="positive numbers, one for each coordinate, or a matrix of them",
            mend="pass e.g. the variance of each coordinate, or leave it out: the warm-up finds it",
        )
    return jax.device_put(masses)


def _parameters(build: Callable) -> list[str]:
    try:
        return list(inspect.signature(build).parameters)
    except (TypeError, ValueError):  # what has no signature
        return []


def _default(build: Callable, name: str) -> Any:
    """The default of a parameter, `empty` for one without; None for no such parameter."""
    parameter = inspect.signature(build).parameters.get(name)
    return None if parameter is None else parameter.default


def _like(new: Array, old: Array) -> Array:
    typed_key = jnp.issubdtype(old.dtype, jax.dtypes.prng_key)
    return new if typed_key else jnp.asarray(new, old.dtype)


@functools.cache
def _stages(integrator: Callable) -> int:
    """How many gradients one step of an integrator takes, counted as it is traced."""
    mcmc, calls = library().mcmc, []

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


def library() -> Any:
    with installed("blackjax", "algorithm", "blackjax"):
        import blackjax
    return blackjax
