"""Training of interacting neurons, with riders beside them: runs of `Neurons`."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import (
    MEMORY,
    Arrays,
    Count,
    DeclarationError,
    Key,
    Status,
    Whole,
    check_on_host,
    model_errors,
    text_of_values,
    typed,
)
from ..sample import AbstractCheckpoints, AbstractSink, Ensemble, Run, raise_for_run, run
from ._neuron_dynamics import AbstractNeuronDynamics, Langevin
from ._neurons import History, Neurons, State
from ._self_consistency import AbstractEnsemble, alike, targets_at

PIECES = 40
"""Records of a run of few frames, at most: it is saved, shown and cut between them."""
CURE = "A smaller `dt` or learning rate, or a higher temperature, is the likely cure."


@typed
class Training(eqx.Module):
    """The result of `train`.

    - `net`: the neurons that make the field; `riders`: those that ride along (None if there are
      none), both coordinates with a leading axis.
    - `loss` `[step]`: `½|f - y|²` of the net on the batch of the step.
    - `net_frames`, `rider_frames`: the same at evenly spaced steps, with a leading frame axis (None
      if they went to a sink).
    - `history`: the residuals of every step, for `replay` (None unless asked for).
    - `status`; `state`, from which `train(..., resume=...)` goes on bit for bit.

    Args:
        problem: What was trained.
        dynamics: What moved the neurons.
        batch: Data of a step; None for the nodes.
    """

    problem: AbstractEnsemble
    dynamics: AbstractNeuronDynamics
    net: Arrays
    riders: Arrays | None
    loss: Float[Array, " step"]
    net_frames: Arrays | None
    rider_frames: Arrays | None
    history: History | None
    state: State
    status: Status
    batch: Count | None = eqx.field(static=True)

    @property
    def ensemble(self) -> Ensemble:
        """The frames of the net as an ensemble of neurons, axes `frame` and `neuron`.

        Raises:
            DeclarationError: For frames that are in a sink, and for a net of more layers.
        """
        if self.net_frames is None:
            raise DeclarationError(
                "training",
                got="frames in a sink",
                expected="frames in memory",
                mend="leave out the sink, or open it with bx.open_zarr",
            )
        problem = alike("training", self.problem)
        return problem.ensemble(self.net_frames, ("frame", "neuron"))

    @text_of_values
    def __repr__(self) -> str:
        count = 0 if self.riders is None else jax.tree.leaves(self.riders)[0].shape[0]
        tail = np.asarray(self.loss)[-max(len(self.loss) // 5, 1) :]
        return (
            f"Training of {self.problem.size(self.net)} neurons with {count} riders, "
            f"{int(self.state.steps)} steps of {type(self.dynamics).__name__}: loss "
            f"{np.mean(tail):.5g} over the last fifth\n  {Status[self.status]}"
        )


@typed
@model_errors("in meanfield.train")
def train(
    problem: AbstractEnsemble,
    width: Count,
    *,
    key: Key,
    steps: Count = 2000,
    dynamics: AbstractNeuronDynamics | None = None,
    batch: Count | None = 512,
    riders: Whole = 0,
    frames: Count = 1,
    history: bool = False,
    resume: Training | None = None,
    memory: Count = MEMORY,
    sink: AbstractSink | None = None,
    checkpoints: AbstractCheckpoints | None = None,
    progress: bool = False,
    throw: bool = True,
) -> Training:
    """Train a net of interacting neurons from the prior, with riders beside it from the start.

    It is a `bx.run` of `Neurons`, in up to 40 chunks (as the steps divide), after each of which it
    is saved, shown, and can be interrupted.

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
        memory: Bytes at work at once for the riders, about.
        sink: Where frames and residuals go (`bx.ZarrSink`), instead of memory.
        checkpoints: Where the run is saved, and resumed from (`bx.Checkpoints`).
        throw: Raise `RunError` if weights became non-finite; else look at `status`.

    Raises:
        DeclarationError: Frames that do not divide the steps, a history that goes to a sink, or a
            target that is not finite.
        RunError: If weights became non-finite.
        Interrupted: By Ctrl-C, with the training so far in `result`.
    """
    check_on_host("meanfield.train", {"problem": problem, "key": key})
    if sink is not None and history:
        raise DeclarationError(
            "history",
            got="True, of a run whose residuals go to a sink",
            expected="a history in memory",
            mend="leave out sink",
        )
    nodes = batch is None
    targets_at(problem, problem.measure.nodes()[0] if nodes else problem.measure.sample(key, batch))
    neurons = Neurons(problem, dynamics or Langevin(), None, batch, 1, history, memory)
    start = neurons.start(width, riders, key=key) if resume is None else resume.state
    made, frames_kept = travel(
        neurons, start, steps, frames, sink=sink, checkpoints=checkpoints, progress=progress
    )
    state, notes = made.state[0], {n: a.reshape(-1, *a.shape[2:]) for n, a in made.records.items()}
    notes = jax.device_put(notes)
    result = Training(
        problem=problem,
        dynamics=neurons.dynamics,
        net=state.weights["net"],
        riders=state.weights.get("riders"),
        loss=notes["loss"],
        net_frames=frames_kept.get("net"),
        rider_frames=frames_kept.get("riders"),
        history=History(notes["residual"], start.key, batch) if history else None,
        state=state,
        status=made.status,
        batch=batch,
    )
    return raise_for_run(result, result.status, throw, lambda: f"{result!r}\n{CURE}")


@typed
def ride_along(
    training: Training,
    riders: Count,
    *,
    key: Key,
    steps: Count = 2000,
    frames: Count = 1,
    memory: Count = MEMORY,
    throw: bool = True,
) -> Training:
    """Continue a training, with new riders from the prior beside its net.

    The dynamics of the riders starts anew. That of the net continues on its own key, and is the
    same with or without them.

    Args:
        training: What `train` returned.
        riders: Their number.
        steps: As of `train`.
        frames: As of `train`.
    """
    state = _joined(training, key, riders)
    return train(
        training.problem, training.problem.size(training.net), key=key, steps=steps,
        dynamics=training.dynamics, batch=training.batch, frames=frames, memory=memory,
        resume=dataclasses.replace(training, state=state), throw=throw,
    )  # fmt: skip


@eqx.filter_jit
def _joined(training: Training, key: PRNGKeyArray, riders: int) -> State:
    """The neurons of a net with new riders from the prior beside them."""
    state, keys = training.state, jax.random.split(key)
    width = training.problem.size(training.net)
    drawn = training.problem.draw_riders(keys[0], riders, width)
    moving = state.moving | {"riders": training.dynamics.init(drawn, keys[1])}
    return State(state.weights | {"riders": drawn}, moving, state.steps, state.key)


def travel(
    neurons: Neurons, start: State, steps: int, frames: int, **where
) -> tuple[Run, dict[str, PyTree]]:
    """Run neurons; the run, and the frames that were kept in memory.

    Args:
        where: `sink`, `checkpoints` and `progress` of `run`.

    Raises:
        DeclarationError: If the frames do not divide the steps.
        KeyboardInterrupt: By a second Ctrl-C, that cut a chunk.
    """
    if steps % frames:
        raise DeclarationError(
            "frames",
            got=f"{frames} for {steps} steps",
            expected="a divisor of `steps`",
            mend=f"pass steps={steps // frames * frames or frames}, or frames=1",
        )
    pieces = largest_divisor(steps // frames, max(PIECES // frames, 1))
    draws = frames * pieces
    each = steps // draws
    made = run(
        dataclasses.replace(neurons, every=each), start, key=start.key, draws=draws, thin=each,
        # a divisor, so that the last state is that of the last record
        rows=draws // largest_divisor(draws, PIECES), throw=False, **where,
    )  # fmt: skip
    if made.state is None:
        raise KeyboardInterrupt("The run was cut inside a chunk.")
    weights = jax.tree.leaves(made.state[0].weights)
    if made.status != Status.interrupted:
        finite = all(np.isfinite(leaf).all() for leaf in weights)
        status = Status.successful if finite else Status.non_finite
        made = dataclasses.replace(made, status=status)
    kept = {name: made.records.pop(name) for name in start.weights if name in made.records}
    return made, jax.device_put(jax.tree.map(lambda leaf: leaf[pieces - 1 :: pieces], kept))


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return next(n for n in range(min(most, number), 0, -1) if number % n == 0)
