"""Neurons as a dynamics of `bx.run`: a net under its own residual, and riders under a given one."""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..core import MEMORY, Count, Key, Whole, map_within, typed
from ..sample import AbstractDynamics
from ._background import Background
from ._neuron_dynamics import AbstractNeuronDynamics
from ._self_consistency import AbstractEnsemble


class State(NamedTuple):
    """The state of a run of neurons: weights, state of their dynamics, number of steps, key.

    `weights` and `moving` have the entries `net` and `riders`, or one of them. The step `n` has the
    key `fold_in(key, n)`, so that a net goes on the same way with riders or without.
    """

    weights: dict[str, PyTree]
    moving: dict[str, PyTree]
    steps: Int[Array, ""]
    key: PRNGKeyArray


class Seen(NamedTuple):
    """The residuals that act in a step: at data `x`, with the weights of the data."""

    residual: Float[Array, "datum *out"]
    x: PyTree
    weights: Float[Array, " datum"]


class AbstractField(eqx.Module):
    """The residuals that act on riders without a net, step by step."""

    @abc.abstractmethod
    def at(self, problem: AbstractEnsemble, step: Int[Array, ""]) -> Seen:
        """The residuals of one step, counted from the prior."""


@typed
class History(eqx.Module):
    """The residuals `y - f` of a training, `[step, datum, *out]`, on the batches of `key`.

    Args:
        residual: `[step, datum, *out]`.
        batch: Data of a batch; None for the nodes.
    """

    residual: Float[Array, "step datum *out"]
    key: Key
    batch: Count | None = eqx.field(static=True)


@typed
class Replayed(AbstractField):
    """The residuals of a history, on its data again; `first` is the step at which it begins.

    Args:
        history: Of a training with `history=True`.
    """

    history: History
    first: Int[Array, ""]

    def at(self, problem, step):
        key = _keys(self.history.key, step)[0]
        data, weights = _batch(problem, key, self.history.batch)
        x = jax.vmap(lambda z: problem.split(z)[0])(data)
        return Seen(self.history.residual[step - self.first], x, weights)


@typed
class Static(AbstractField):
    """The residual of one background, on fresh data or at the nodes.

    Args:
        batch: Data of a batch; None for the nodes.
    """

    background: Background
    batch: Count | None = eqx.field(static=True)
    key: Key

    def at(self, problem, step):
        data, weights = _batch(problem, jax.random.fold_in(self.key, step), self.batch)
        x, y = jax.vmap(problem.split)(data)
        known = self.batch is None
        f = self.background.values if known else jax.vmap(self.background.function)(x)
        return Seen((y - f).astype(f.dtype), x, weights)


@typed
class Neurons(AbstractDynamics):
    """A net of interacting neurons with riders; or riders alone in a given field.

    Records: `net`, `riders` (coordinates, leading axis), and of the net, for each of the `every`
    steps before the record, `loss` (`½|f - y|²` on the batch of the step) and, if asked for,
    `residual`. A run starts at what `start` draws, and goes by the key that it was drawn with.

    Args:
        problem: The net.
        dynamics: How neurons move.
        field: What riders see if there is no net.
        batch: Fresh draws of the measure at every step; None for its nodes.
        every: Steps from one record to the next; `thin` of the run.
        history: Whether to record the residuals.
        memory: Bytes at work at once for the riders, about.
    """

    problem: AbstractEnsemble
    dynamics: AbstractNeuronDynamics
    field: AbstractField | None = None
    batch: Count | None = eqx.field(static=True, default=None)
    every: Count = eqx.field(static=True, default=1)
    history: bool = eqx.field(static=True, default=False)
    memory: Count = eqx.field(static=True, default=MEMORY)

    streamed: ClassVar[tuple[str, ...]] = ("net", "riders", "residual")
    optional: ClassVar[tuple[str, ...]] = streamed

    def start(
        self, width: Count, riders: Whole = 0, *, key: Key, steps: Int[Array, ""] | Whole = 0
    ) -> State:
        """Neurons from the prior: a net of `width` neurons, if no field is given, and riders.

        Args:
            key: Of the draws, and of all steps of the run.
            steps: The number of the first step.
        """
        return _drawn(self, width, riders, key, jnp.asarray(steps, jnp.int32))

    def init(self, start: State, key, warmup):
        notes = jax.eval_shape(lambda state: self._moved(state)[1], start)
        return start, {
            name: jnp.zeros((self.every, *note.shape), note.dtype) for name, note in notes.items()
        }

    def step(self, state: tuple[State, dict[str, Array]], key, gain, time, warmup):
        before, notes = state
        after, found = self._moved(before)
        place = (time - warmup) % self.every
        return after, {name: notes[name].at[place].set(note) for name, note in found.items()}

    def record(self, state: tuple[State, dict[str, Array]], draw):
        return state, state[0].weights | state[1]

    def _moved(self, state: State) -> tuple[State, dict[str, Array]]:
        """The neurons after one step, and what is noted of it."""
        keys, weights, moved = _keys(state.key, state.steps), state.weights, {}
        if "net" in weights:
            moved["net"], net, seen, notes = self._net(state, keys)
        else:
            assert self.field is not None
            net, seen, notes = weights["riders"], self.field.at(self.problem, state.steps), {}
        if "riders" in weights:

            def forces(riders):
                drift = rider_drift(self.problem, net, riders, *seen, self.memory)
                return drift, jax.vmap(jax.grad(self.problem.log_prior_rider))(riders)

            moved["riders"] = self._stepped(state, "riders", forces, keys[2])
        new = {name: each[0] for name, each in moved.items()}
        moving = {name: each[1] for name, each in moved.items()}
        return State(new, moving, state.steps + 1, state.key), notes

    def _net(self, state: State, keys: PRNGKeyArray):
        """The net after a step, where it was when it felt its residual, that, and notes."""
        problem, felt = self.problem, []
        data, weights = _batch(problem, keys[0], self.batch)

        def forces(net):
            def loss(net):
                r = jax.vmap(lambda z: problem.residual(net, z))(data)
                each = 0.5 * jnp.sum((r**2).reshape(len(weights), -1), axis=1)
                return jnp.sum(weights * each), r

            (value, r), gradient = jax.value_and_grad(loss, has_aux=True)(net)
            felt.extend([net, r, value])
            size = problem.size(net)
            return jax.tree.map(lambda g: -size * g, gradient), jax.grad(problem.log_prior)(net)

        moved = self._stepped(state, "net", forces, keys[1])
        x = jax.vmap(lambda z: problem.split(z)[0])(data)
        net, residual, loss = felt
        notes = {"loss": loss} | ({"residual": residual} if self.history else {})
        return moved, net, Seen(residual, x, weights), notes

    def _stepped(self, state: State, name: str, forces, key) -> tuple[PyTree, PyTree]:
        temperature = self.problem.temperature
        own = state.weights[name], state.moving[name]
        return self.dynamics.step(*own, forces, temperature, key)


def _drawn(neurons: Neurons, width: int, riders: int, key: PRNGKeyArray, steps: Array) -> State:
    # not compiled as a whole: draws of one shape share a program, and one takes long to compile
    keys = jax.random.split(jax.random.fold_in(key, 2**31 - 1), 4)
    problem = neurons.problem
    weights = {} if neurons.field else {"net": problem.draw_net(keys[0], width)}
    if riders:
        weights["riders"] = problem.draw_riders(keys[2], riders, width)
    own = {"net": keys[1], "riders": keys[3]}
    moving = {name: neurons.dynamics.init(each, own[name]) for name, each in weights.items()}
    return State(weights, moving, steps, key)


def rider_drift(
    problem: AbstractEnsemble,
    net: PyTree,
    riders: PyTree,
    residual: Array,
    x: PyTree,
    weights: Array,
    memory: int = MEMORY,
) -> PyTree:
    """`∂⟨y - f, h⟩/∂θ` of every rider, for the residual at the data `x` with their `weights`."""

    def gain(rider):
        h = jax.vmap(lambda one: problem.couple(net, rider, one))(x)
        return jnp.sum(weights * jnp.sum((residual * h).reshape(len(weights), -1), axis=1))

    return map_within(jax.grad(gain), riders, memory)


def _keys(key: PRNGKeyArray, step: Int[Array, ""]) -> PRNGKeyArray:
    """Of the data of a step, and of the noise of net and riders."""
    return jax.random.split(jax.random.fold_in(key, step), 3)


def _batch(
    problem: AbstractEnsemble, key: PRNGKeyArray, batch: int | None
) -> tuple[PyTree, Float[Array, " datum"]]:
    """The data of a step and their weights: fresh draws, or the nodes of the measure."""
    if batch is None:
        return problem.measure.nodes()
    mass = problem.measure.mass
    return problem.measure.sample(key, batch), jnp.full(batch, 1 / batch, mass.dtype) * mass
