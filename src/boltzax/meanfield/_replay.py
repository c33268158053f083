"""Foreground neurons: alone in the history of a net's residual, or in a static background."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..core import DeclarationError, RunError, Status, typed
from ._background import Background
from ._checks import check_frames, check_whole
from ._dynamics import AbstractNeuronDynamics, Langevin
from ._problem import Particles, SelfConsistency
from ._train import History, Training, batch_of, rider_drift


class Foreground(eqx.Module):
    """Independent neurons that moved in a background and did not act on it.

    Args:
        riders: Where they came to (coordinates, leading axis).
        rider_frames: The same at evenly spaced steps, with a leading frame axis, the last one
            included.
        steps: Of the run.
        dynamics: Of the run.
        status: What became of it.
    """

    problem: SelfConsistency
    dynamics: AbstractNeuronDynamics
    riders: Particles
    rider_frames: Particles
    steps: int = eqx.field(static=True)
    status: Status

    def __repr__(self) -> str:
        leaf = jax.tree.leaves(self.riders)[0]
        if not eqx.is_array(leaf) or isinstance(leaf, Tracer):
            return "Foreground(...)"
        return (
            f"Foreground of {leaf.shape[0]} neurons, {self.steps} steps of "
            f"{type(self.dynamics).__name__}\n  {Status[self.status]}"
        )


@typed
def replay(
    training: Training,
    riders: int,
    *,
    key: PRNGKeyArray,
    frames: int = 1,
    throw: bool = True,
) -> Foreground:
    """New neurons from the prior, alone in the field that the neurons of a net saw.

    They run through `training.history`, residual for residual on the same data, by the dynamics of
    the training, without its net. Right at any temperature, and at `T = 0` (an optimiser) the only
    way but riding along: there a neuron is what its past made it, and the last residual says
    nothing of that.

    Args:
        key: Of the draws and the noise; with the key of a training from the prior with as many
            riders they are its riders again.
        frames: States to keep; divides the steps of the history.

    Raises:
        DeclarationError: Without a history, or if the net is no `SelfConsistency` (in a deeper net
            the field of a neuron is more than the residual).
        RunError: Unless `throw=False` if weights became non-finite.
    """
    check_whole("riders", riders, 1)
    problem = training.problem
    if not isinstance(problem, SelfConsistency):
        raise DeclarationError(
            "training",
            got=f"a training of {type(problem).__name__}",
            expected="one of SelfConsistency, whose neurons feel the residual alone",
            mend="use train(..., riders=...) or ride_along",
        )
    if training.history is None:
        raise DeclarationError(
            "training",
            got="a training without a history",
            expected="the residuals of all steps",
            mend="pass train(..., history=True)",
        )
    steps = training.history.residual.shape[0]
    check_frames(frames, steps)
    first = training.state.steps - steps
    field = Replayed(training.history, first)
    width = problem.size(training.net)
    return _run(problem, training.dynamics, field, riders, width, key, first, steps, frames, throw)


@typed
def foreground(
    problem: SelfConsistency,
    background: Background,
    count: int,
    *,
    key: PRNGKeyArray,
    steps: int = 2000,
    dynamics: AbstractNeuronDynamics | None = None,
    batch: int | None = None,
    frames: int = 1,
    throw: bool = True,
) -> Foreground:
    """`count` independent neurons from the prior in a background that stands still.

    Args:
        background: `f`; the neurons feel `y - f`. That of a fixed point makes neurons that add up
            to it again; the last residual of a net does not: an error of `f` comes back
            `λ_max(Cov h)/T` times larger (`FixedPoint.stiffness`). For a net's field use `replay`
            or riders.
        steps: As of `train`.
        dynamics: As of `train`.
        frames: As of `train`.
        throw: As of `train`.
        batch: Fresh draws of the measure a step, for a background that is a function; None for the
            nodes of the measure.

    Raises:
        DeclarationError: A batch and a background known at the nodes alone.
    """
    for name, value in (("count", count), ("steps", steps)):
        check_whole(name, value, 1)
    if batch is not None:
        check_whole("batch", batch, 1)
        if background.function is None:
            raise DeclarationError(
                "batch",
                got=f"{batch} for a background known at the nodes of the measure alone",
                expected="None",
                mend="leave it out, or make the background with from_net or from_kernel",
            )
    check_frames(frames, steps)
    dynamics = Langevin() if dynamics is None else dynamics
    field = Static(background, batch, jax.random.fold_in(key, 2**31 - 2))
    first = jnp.zeros((), jnp.int32)
    return _run(problem, dynamics, field, count, count, key, first, steps, frames, throw)


@typed
def time_average(training: Training) -> Background:
    """The mean of `f` over the frames of a net, as a background.

    Its error is that of the net's fluctuations over the number of frames that are independent.
    """
    return Background.from_net(FrameMean(training.problem, training.net_frames), training.problem)


class FrameMean(eqx.Module):
    """The mean over frames of the output of a net."""

    problem: PyTree
    frames: PyTree

    def __call__(self, x: PyTree) -> Array:
        return jnp.mean(jax.lax.map(lambda net: self.problem.output(net, x), self.frames), axis=0)


class Seen(NamedTuple):
    """What a neuron feels in a step: residuals at data `x` with their weights."""

    residual: Float[Array, "datum *out"]
    x: PyTree
    weights: Float[Array, " datum"]


class AbstractField(eqx.Module):
    """What the neurons of a foreground see, step by step."""

    @abc.abstractmethod
    def at(self, problem: SelfConsistency, step: Int[Array, ""]) -> Seen:
        """Of one step, counted from the prior."""


class Replayed(AbstractField):
    """The residuals of a history, on its data again; `first` is the step at which it begins."""

    history: History
    first: Int[Array, ""]

    def at(self, problem, step):
        # the key of the data of a step, as in the loop of `train`
        key = jax.random.split(jax.random.fold_in(self.history.key, step), 3)[0]
        data, weights = batch_of(problem, key, self.history.batch)
        x = jax.vmap(lambda z: problem.split(z)[0])(data)
        return Seen(self.history.residual[step - self.first], x, weights)


class Static(AbstractField):
    """The residual of one background, on fresh data or at the nodes."""

    background: Background
    batch: int | None = eqx.field(static=True)
    key: PRNGKeyArray

    def at(self, problem, step):
        data, weights = batch_of(problem, jax.random.fold_in(self.key, step), self.batch)
        x, y = jax.vmap(problem.split)(data)
        known = self.batch is None
        f = self.background.values if known else jax.vmap(self.background.function)(x)
        return Seen((y - f).astype(f.dtype), x, weights)


@eqx.filter_jit
def _loop(problem, dynamics, field, riders, moving, key, first, steps: int, frames: int):
    def step(state, _):
        riders, moving, count = state
        seen = field.at(problem, count)

        def forces(riders):
            drift = rider_drift(problem, riders, riders, seen.residual, seen.x, seen.weights)
            return drift, jax.vmap(jax.grad(problem.log_prior_rider))(riders)

        noise = jax.random.split(jax.random.fold_in(key, count), 3)[2]
        riders, moving = dynamics.step(riders, moving, forces, problem.temperature, noise)
        return (riders, moving, count + 1), None

    def frame(state, _):
        state, _ = jax.lax.scan(step, state, length=steps // frames)
        return state, state[0]

    return jax.lax.scan(frame, (riders, moving, first), length=frames)


def _run(problem, dynamics, field, count, width, key, first, steps, frames, throw) -> Foreground:
    # keys as in `train`, so that its riders can be had again
    keys = jax.random.split(jax.random.fold_in(key, 2**31 - 1), 4)
    drawn = problem.draw_riders(keys[2], count, width)
    moving = dynamics.init(drawn, keys[3])
    state, kept = _loop(problem, dynamics, field, drawn, moving, key, first, steps, frames)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(state[0])]))
    status = Status.where(finite, Status.successful, Status.non_finite)
    result = Foreground(problem, dynamics, state[0], kept, steps, status)
    if throw and not isinstance(finite, Tracer) and not bool(finite):
        raise RunError(
            f"{Status[status]}\n{result!r}\n(`throw=False` returns this result; a smaller `dt` or "
            "learning rate is the likely cure.)"
        )
    return result
