"""Foreground neurons: alone in the history of a net's residual, or in a static background."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Key,
    Status,
    Whole,
    check_finite,
    text_of_values,
    typed,
)
from ..sample import Ensemble, raise_for_run
from ._background import DIVERGED, Background
from ._neuron_dynamics import AbstractNeuronDynamics, Langevin
from ._neurons import Neurons, Replayed, State, Static
from ._self_consistency import Particles, SelfConsistency, alike
from ._train import CURE, Training, travel


@typed
class Foreground(eqx.Module):
    """Independent neurons after a run in a background on which they do not act.

    Args:
        riders: The neurons at the end (coordinates, leading axis).
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
    steps: Whole = eqx.field(static=True)
    status: Status

    @property
    def ensemble(self) -> Ensemble:
        """The frames as an ensemble of neurons, axes `frame` and `neuron`."""
        return self.problem.ensemble(self.rider_frames, ("frame", "neuron"))

    @text_of_values
    def __repr__(self) -> str:
        count = jax.tree.leaves(self.riders)[0].shape[0]
        return (
            f"Foreground of {count} neurons, {self.steps} steps of "
            f"{type(self.dynamics).__name__}\n  {Status[self.status]}"
        )


@typed
def replay(
    training: Training,
    riders: Count,
    *,
    key: Key,
    frames: Count = 1,
    memory: Count = MEMORY,
    throw: bool = True,
) -> Foreground:
    """New neurons from the prior in the recorded field of a training, without its net.

    They run through `training.history`, residual for residual on the same data, by the dynamics of
    the training, without its net. Right at any temperature, and at `T = 0` (an optimiser) the only
    way but riding along: there a neuron is what its past made it, and the last residual says
    nothing of that.

    Args:
        key: Of the draws and the noise; with the key of a training from the prior with as many
            riders they are its riders again.
        frames: States to keep; divides the steps of the history.
        memory: Bytes at work at once, about: more riders than that are taken in groups.

    Raises:
        DeclarationError: Without a history, or if the net is no `SelfConsistency` (in a deeper net
            the field of a neuron is more than the residual).
        RunError: Unless `throw=False` if weights became non-finite.
    """
    problem, history = alike("training", training.problem), training.history
    if history is None:
        raise DeclarationError(
            "training",
            got="a training without a history",
            expected="the residuals of all steps",
            mend="pass train(..., history=True)",
        )
    steps = history.residual.shape[0]
    first = training.state.steps - steps
    neurons = Neurons(problem, training.dynamics, Replayed(history, first), memory=memory)
    start = neurons.start(problem.size(training.net), riders, key=key, steps=first)
    return _ridden(neurons, start, steps, frames, throw)


@typed
def foreground(
    problem: SelfConsistency,
    background: Background,
    count: Count,
    *,
    key: Key,
    steps: Count = 2000,
    dynamics: AbstractNeuronDynamics | None = None,
    batch: Count | None = None,
    frames: Count = 1,
    memory: Count = MEMORY,
    throw: bool = True,
) -> Foreground:
    """`count` independent neurons from the prior in a static background.

    Args:
        background: `f`; the neurons feel `y - f`. That of a fixed point makes neurons that add up
            to it again; the last residual of a net does not: an error of `f` comes back
            `λ_max(Cov h)/T` times larger (`FixedPoint.stiffness`). For a net's field use `replay`
            or riders.
        steps: As of `train`.
        dynamics: As of `train`.
        frames: As of `train`.
        memory: As of `replay`.
        throw: As of `train`.
        batch: Fresh draws of the measure a step, for a background that is a function; None for the
            nodes of the measure.

    Raises:
        DeclarationError: A batch and a background known at the nodes alone.
    """
    check_finite("background", background.values, DIVERGED)
    if batch is not None and background.function is None:
        raise DeclarationError(
            "batch",
            got=f"{batch} for a background known at the nodes of the measure alone",
            expected="None",
            mend="leave it out, or make the background with from_net or from_kernel",
        )
    field = Static(background, batch, jax.random.fold_in(key, 2**31 - 2))
    neurons = Neurons(problem, dynamics or Langevin(), field, memory=memory)
    return _ridden(neurons, neurons.start(count, count, key=key), steps, frames, throw)


@typed
def time_average(training: Training) -> Background:
    """The mean of `f` over the frames of a net, as a background.

    Its error is that of the net's fluctuations over the number of frames that are independent.

    Args:
        training: What `train` returned, with frames.
    """
    return Background.from_net(FrameMean(training.problem, training.net_frames), training.problem)


class FrameMean(eqx.Module):
    """The mean over frames of the output of a net."""

    problem: PyTree
    frames: PyTree

    def __call__(self, x: PyTree) -> Array:
        return jnp.mean(jax.lax.map(lambda net: self.problem.output(net, x), self.frames), axis=0)


def _ridden(neurons: Neurons, start: State, steps: int, frames: int, throw: bool) -> Foreground:
    made, kept = travel(neurons, start, steps, frames)
    riders, done = made.state[0].weights["riders"], int(made.state[0].steps - start.steps)
    problem, dynamics = neurons.problem, neurons.dynamics
    result = Foreground(problem, dynamics, riders, kept["riders"], done, made.status)
    return raise_for_run(result, result.status, throw, lambda: f"{result!r}\n{CURE}")
