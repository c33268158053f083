"""Interacting neurons, and neurons that ride along: one loop for both."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import RunError, Status, model_errors, typed
from ._checks import check_frames, check_whole
from ._dynamics import AbstractNeuronDynamics, Langevin
from ._problem import AbstractEnsemble


class State(NamedTuple):
    """Where a run stands: weights, what the dynamics keeps, and steps made."""

    weights: dict[str, PyTree]
    moving: dict[str, PyTree]
    steps: Array


class History(eqx.Module):
    """The residual `y - f` that the neurons saw: `[step, datum, *out]`, on the batches of `key`."""

    residual: Float[Array, "step datum *out"]
    key: PRNGKeyArray
    batch: int | None = eqx.field(static=True)


class Training(eqx.Module):
    """What `train` returns.

    - `net`: the neurons that make the field; `riders`: those that ride along (None if there are
      none), both coordinates with a leading axis.
    - `loss` `[step]`: `½|f - y|²` of the net on the batch of the step.
    - `net_frames`, `rider_frames`: the same at evenly spaced steps, with a leading frame axis.
    - `history`: the residuals of every step, for `replay` (None unless asked for).
    - `status`; `state` and `key`, from which `train(..., resume=...)` goes on bit for bit.
    """

    problem: AbstractEnsemble
    dynamics: AbstractNeuronDynamics
    net: PyTree
    riders: PyTree
    loss: Float[Array, " step"]
    net_frames: PyTree
    rider_frames: PyTree
    history: History | None
    state: State
    key: PRNGKeyArray
    status: Status
    batch: int | None = eqx.field(static=True)

    def __repr__(self) -> str:
        if not eqx.is_array(self.loss) or isinstance(self.loss, Tracer):
            return "Training(...)"
        count = 0 if self.riders is None else jax.tree.leaves(self.riders)[0].shape[0]
        tail = self.loss[-max(len(self.loss) // 5, 1) :]
        return (
            f"Training of {self.problem.size(self.net)} neurons with {count} riders, "
            f"{int(self.state.steps)} steps of {type(self.dynamics).__name__}: loss "
            f"{float(jnp.mean(tail)):.5g} over the last fifth\n  {Status[self.status]}"
        )


@typed
@model_errors("in meanfield.train")
def train(
    problem: AbstractEnsemble,
    width: int,
    *,
    key: PRNGKeyArray,
    steps: int = 2000,
    dynamics: AbstractNeuronDynamics | None = None,
    batch: int | None = 512,
    riders: int = 0,
    frames: int = 1,
    history: bool = False,
    resume: Training | None = None,
    throw: bool = True,
) -> Training:
    """Train a net of interacting neurons from the prior, with riders that feel it from the start.

    Args:
        width: `N`; the net's `f` is the mean of so many neurons.
        steps: How many.
        dynamics: `Langevin()` at the problem's temperature if not given;
            `Descent(optax.adam(1e-2))` for an optimiser.
        batch: Fresh draws of the measure at every step, the same for net and riders; None for all
            nodes of the measure.
        riders: Neurons from the prior that see the live residual and add nothing to it.
        frames: How many states to keep, evenly spaced, the last one included; divides `steps`.
        history: Keep the residuals of all steps, for `replay`: `steps x batch` numbers.
        resume: An earlier result of the same arguments to go on from, instead of the prior; the
            same, bit for bit, as one longer run (`key`, `width` and `riders` are that run's).
        throw: Raise `RunError` if weights became non-finite; else look at `status`.
    """
    dynamics = Langevin() if dynamics is None else dynamics
    for name, value, least in (("width", width, 1), ("steps", steps, 1), ("riders", riders, 0)):
        check_whole(name, value, least)
    if batch is not None:
        check_whole("batch", batch, 1)
    check_frames(frames, steps)
    if resume is None:
        state = _begin(problem, dynamics, key, width, riders)
    else:
        state, key = resume.state, resume.key
    return _run(problem, dynamics, state, key, steps, batch, frames, history, throw)


@typed
def ride_along(
    training: Training,
    riders: int,
    *,
    key: PRNGKeyArray,
    steps: int = 2000,
    frames: int = 1,
    throw: bool = True,
) -> Training:
    """New riders from the prior beside a net that goes on as it did.

    The riders' dynamics starts anew; the net's goes on from where it was, on its own key, and is
    the same with or without them.
    """
    check_whole("riders", riders, 1)
    check_whole("steps", steps, 1)
    check_frames(frames, steps)
    problem, dynamics = training.problem, training.dynamics
    width = problem.size(training.net)
    key_draw, key_move = jax.random.split(key)
    drawn = problem.draw_riders(key_draw, riders, width)
    weights = training.state.weights | {"riders": drawn}
    moving = training.state.moving | {"riders": dynamics.init(drawn, key_move)}
    state = State(weights, moving, training.state.steps)
    return _run(problem, dynamics, state, training.key, steps, training.batch, frames, False, throw)


def batch_of(
    problem: AbstractEnsemble, key: PRNGKeyArray, batch: int | None
) -> tuple[PyTree, Float[Array, " datum"]]:
    """The data of a step and their weights: fresh draws, or the nodes of the measure."""
    if batch is None:
        return problem.measure.nodes()
    mass = problem.measure.mass
    return problem.measure.sample(key, batch), jnp.full(batch, 1 / batch, mass.dtype) * mass


def rider_drift(
    problem: AbstractEnsemble,
    net: PyTree,
    riders: PyTree,
    residual: Array,
    x: PyTree,
    weights: Array,
) -> PyTree:
    """`∂⟨y - f, h⟩/∂θ` of every rider, for the residual at the data `x` with their `weights`."""

    def gain(rider):
        h = jax.vmap(lambda one: problem.couple(net, rider, one))(x)
        return jnp.sum(weights * jnp.sum((residual * h).reshape(len(weights), -1), axis=1))

    return jax.vmap(jax.grad(gain))(riders)


def _begin(problem, dynamics, key, width: int, riders: int) -> State:
    keys = jax.random.split(jax.random.fold_in(key, 2**31 - 1), 4)
    net = problem.draw_net(keys[0], width)
    weights, moving = {"net": net}, {"net": dynamics.init(net, keys[1])}
    if riders:
        drawn = problem.draw_riders(keys[2], riders, width)
        weights["riders"], moving["riders"] = drawn, dynamics.init(drawn, keys[3])
    return State(weights, moving, jnp.zeros((), jnp.int32))


@eqx.filter_jit
def _loop(problem, dynamics, state: State, key, steps: int, batch, frames: int, history: bool):
    def step(state: State, _):
        keys = jax.random.split(jax.random.fold_in(key, state.steps), 3)
        data, weights = batch_of(problem, keys[0], batch)
        x = jax.vmap(lambda z: problem.split(z)[0])(data)
        kept = {}

        def net_forces(net):
            def loss(net):
                r = jax.vmap(lambda z: problem.residual(net, z))(data)
                each = 0.5 * jnp.sum((r**2).reshape(len(weights), -1), axis=1)
                return jnp.sum(weights * each), r

            (value, r), gradient = jax.value_and_grad(loss, has_aux=True)(net)
            kept["net"], kept["loss"], kept["residual"] = net, value, r
            size = problem.size(net)
            drift = jax.tree.map(lambda g: -size * g, gradient)
            return drift, jax.grad(problem.log_prior)(net)

        temperature = problem.temperature
        net, moving = dynamics.step(
            state.weights["net"], state.moving["net"], net_forces, temperature, keys[1]
        )
        new, moved = {"net": net}, {"net": moving}
        if "riders" in state.weights:

            def rider_forces(riders):
                drift = rider_drift(problem, kept["net"], riders, kept["residual"], x, weights)
                return drift, jax.vmap(jax.grad(problem.log_prior_rider))(riders)

            new["riders"], moved["riders"] = dynamics.step(
                state.weights["riders"], state.moving["riders"], rider_forces, temperature, keys[2]
            )
        out = kept["loss"], kept["residual"] if history else None
        return State(new, moved, state.steps + 1), out

    def frame(state: State, _):
        state, out = jax.lax.scan(step, state, length=steps // frames)
        return state, (out, state.weights)

    state, (out, kept) = jax.lax.scan(frame, state, length=frames)
    loss, residual = jax.tree.map(lambda leaf: leaf.reshape(steps, *leaf.shape[2:]), out)
    return state, loss, residual, kept


def _run(problem, dynamics, state, key, steps, batch, frames, history, throw) -> Training:
    state, loss, residual, kept = _loop(
        problem, dynamics, state, key, steps, batch, frames, history
    )
    leaves = jax.tree.leaves(state.weights)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    status = Status.where(finite, Status.successful, Status.non_finite)
    past = None if residual is None else History(residual, key, batch)
    result = Training(
        problem=problem,
        dynamics=dynamics,
        net=state.weights["net"],
        riders=state.weights.get("riders"),
        loss=loss,
        net_frames=kept["net"],
        rider_frames=kept.get("riders"),
        history=past,
        state=state,
        key=key,
        status=status,
        batch=batch,
    )
    if throw and not isinstance(loss, Tracer) and not bool(finite):
        raise RunError(
            f"{Status[status]}\n{result!r}\n(`throw=False` returns this result; a smaller `dt` or "
            "learning rate, or a higher temperature, is the likely cure.)"
        )
    return result
