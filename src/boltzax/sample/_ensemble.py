"""Weights with named axes, and the Gibbs measure that they came from."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..compile import Gibbs, Weights, check_function, check_kept
from ..core import (
    MEMORY,
    Count,
    DeclarationError,
    Estimate,
    Key,
    Model,
    as_argument,
    check_known,
    check_real,
    function_errors,
    given_numbers,
    map_within,
    model_errors,
    typed,
    weights_of,
    with_weights,
)
from ._integrated_keys import completing_key, integrated_key

SERIES = ("chain", "draw")
"""Axes of draws that depend on each other: along a chain."""
SAMPLES = ("sample", "neuron", "subset")
"""Axes of draws that are no chain; those of `subset` can depend on each other."""


@typed
class Ensemble(eqx.Module):
    """Weights with named axes, and the Gibbs measure that they came from.

    What samples, anneals, conditions or trains gives one (`trace.ensemble`); draws made elsewhere
    become one by `Ensemble.of` (coordinates) and `Ensemble.of_models` (models, such as checkpoints
    of a training). Axes named `chain` and `draw` are those of Markov chains, `sample` and `neuron`
    are independent draws; others (`beta`, `checkpoint`, `frame`) are kept by `mean`.

    Args:
        gibbs: The measure; its `beta` has the leading axes of the ensemble (none for one beta).
        w: Unconstrained coordinates by path, `[*axes, *shape]`.
        axes: Names of the leading axes, such as `("beta", "chain", "draw")`.
        shape: Their sizes.
        change: A change of each model beside its weights, `change(model, key) -> model`, such as
            noise on its activations. `map` and `mean` see the changed models.
        keys: The key of the change of each model, `[*axes]`.
        key: Of the weights that were integrated out, for `map` and `mean` without one; None for a
            fixed one.
    """

    gibbs: Gibbs
    w: Weights
    axes: tuple[str, ...] = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    change: Callable | None = None
    keys: Array | None = None
    key: Key | None = None

    def __check_init__(self):
        betas = self.gibbs.beta.shape
        if len(self.axes) != len(self.shape) or len(set(self.axes)) < len(self.axes):
            raise DeclarationError(
                "axes",
                got=f"{self.axes} for the sizes {self.shape}",
                expected="one name for each axis, all different",
                mend='name them, e.g. axes=("chain", "draw")',
            )
        mixed = [a for a in self.axes[: len(betas)] if a in (*SERIES, *SAMPLES)]
        if mixed:
            raise DeclarationError(
                "axes",
                got=f"{mixed[0]!r} as the axis of {self.gibbs.beta.size} betas",
                expected="a name of its own: draws of different laws have no common mean",
                mend='name it, e.g. axes=("beta", "sample"); or pass one measure, gibbs.at(beta)',
            )
        if betas != self.shape[: len(betas)]:
            raise DeclarationError(
                "gibbs",
                got=f"betas of shape {betas} for axes {self.axes} of sizes {self.shape}",
                expected="one beta, or betas along the leading axes",
                mend="pass gibbs.at(betas) with the betas of the draws",
            )

    @staticmethod
    def of(gibbs: Gibbs, w: Weights, axes: tuple[str, ...] = ("sample",)) -> "Ensemble":
        """Draws made elsewhere, in the coordinates of `gibbs.log_prob`.

        Args:
            gibbs: The measure whose density was sampled.
            w: Unconstrained coordinates by path, `[*axes, *shape]`, as blackjax, NumPyro or an own
                sampler of `gibbs.log_prob` gives them.
            axes: Names of the leading axes.

        Raises:
            DeclarationError: For other paths or shapes than those of the measure.
        """
        declared = jax.eval_shape(gibbs.sample_prior, jax.random.key(0))
        shapes = {path: leaf.shape for path, leaf in declared.items()}
        given = _fitting("w", w, shapes, axes)
        return Ensemble(gibbs, given, axes, _sizes(given, len(axes)))

    @staticmethod
    def of_models(gibbs: Gibbs, models: Model, axes: tuple[str, ...] = ("sample",)) -> "Ensemble":
        """Models of the declared structure, such as the checkpoints of a training.

        Args:
            gibbs: The measure whose model they are.
            models: One model whose arrays have the leading axes, or a sequence of models.
            axes: Names of the leading axes.

        Raises:
            DeclarationError: For weights of other shapes, or outside the support of the prior,
                for models that are another function of their weights, and for weights that would be
                lost: values of frozen or tied weights that differ from
                the declared ones, and a measure that has weights integrated out.
        """
        lost = gibbs.potential.integrated()
        if lost:
            raise DeclarationError(
                "gibbs",
                got=f"a measure with weights integrated out: {', '.join(lost)}",
                expected="a measure that keeps all weights of the models",
                mend="compile it with marginalise=False",
            )
        given = models if isinstance(models, Sequence) else [models]
        for model in {jax.tree.structure(model): model for model in given}.values():
            check_function(gibbs.declared, model, "models")
        each = [weights_of(m) for m in models] if isinstance(models, Sequence) else None
        weights = weights_of(models) if each is None else _stacked(each)
        base = {path: leaf.shape for path, leaf in gibbs.coordinates.base.items()}
        fitting = _fitting("models", weights, base, axes)
        check_kept(gibbs, "models", fitting)
        w = _coordinates(gibbs, fitting, len(axes))
        wrong = [path for path, leaf in w.items() if not np.all(np.isfinite(np.asarray(leaf)))]
        if wrong:
            raise DeclarationError(
                "models",
                got=f"weights without finite coordinates: {', '.join(wrong)}",
                expected="weights inside the support of the prior",
                mend="widen the prior, or move the weights inside",
            )
        return Ensemble(gibbs, w, axes, _sizes(w, len(axes)))

    @staticmethod
    def prior(gibbs: Gibbs, count: Count, *, key: Key) -> "Ensemble":
        """`count` independent draws of the prior, on the axis `sample`."""
        w = _drawn(gibbs, jax.random.split(key, count))
        return Ensemble(gibbs, w, ("sample",), (count,), key=integrated_key(key))

    def __getitem__(self, index: int | slice | tuple[int | slice, ...]) -> "Ensemble":
        """A part of the ensemble: whole numbers and slices, one an axis, as numpy takes them."""
        given = index if isinstance(index, tuple) else (index,)
        places = tuple(_place(i) for i in given)
        if len(places) > len(self.shape) or None in places:
            raise DeclarationError(
                "index",
                got=f"{index!r:.80}",
                expected=f"whole numbers or slices, at most one for each of {self.axes}",
                mend="write e.g. ensemble[0] or ensemble[:, 10:]",
            )
        shape = np.empty(self.shape, bool)[places].shape  # out of bounds is an IndexError
        betas = places[: self.gibbs.beta.ndim]
        gibbs = eqx.tree_at(lambda g: g.beta, self.gibbs, self.gibbs.beta[betas])
        left = [axis for axis, i in zip(self.axes, places, strict=False) if isinstance(i, slice)]
        axes = (*left, *self.axes[len(places) :])
        w = {path: leaf[places] for path, leaf in self.w.items()}
        keys = None if self.keys is None else self.keys[places]
        return Ensemble(gibbs, w, axes, shape, self.change, keys, self.key)

    @model_errors("at a draw")
    def map(self, fn: Callable, *, key: Key | None = None, memory: Count = MEMORY) -> PyTree:
        """`fn(model)` at every draw.

        Args:
            fn: A function of the model that gives an array or a pytree of arrays.
            key: For the weights that were integrated out, which are drawn from their conditional
                law (the own key of the ensemble if None).
            memory: Bytes of intermediate values at once; as many draws are looked at together as
                fit. The result does not depend on it by more than rounding.

        Returns:
            What `fn` gives, with the axes of the ensemble in front: `[*axes, *shape]`.

        Raises:
            DeclarationError: For a function that raises an error, or returns no arrays.
        """
        key = completing_key(key, self.key)
        changed = (self.change, self.keys)
        return _mapped(self.gibbs, self.w, as_argument(fn), key, self.shape, memory, changed)

    def mean(
        self, fn: Callable, *, key: Key | None = None, memory: Count = MEMORY
    ) -> PyTree[Estimate]:
        """`⟨fn(model)⟩` over the draws, with its error.

        The error is that of an autocorrelated mean along `chain` and `draw`, and `sd/√n` over
        independent draws (`sample`, `neuron`). Other axes stay.

        Args:
            fn: A function of the model that gives an array or a pytree of arrays.
            key: As in `map`.
            memory: As in `map`.

        Returns:
            One `Estimate` for each array that `fn` gives, of shape `[*other axes, *shape]`.
        """
        return jax.tree.map(self.mean_of, self.map(fn, key=key, memory=memory))

    def mean_of(self, values: Array | np.ndarray, *, exact: bool = False) -> Estimate:
        """The mean of numbers that are known at every draw, with its error; see `mean`.

        Args:
            values: Numbers `[*axes, *shape]`, as `map` gives them.
            exact: Take a constant for a number that is known exactly. So are all constants where
                all weights were integrated out.

        Raises:
            DeclarationError: For other leading axes, or axes over which nothing is averaged.
        """
        check_real(values)
        check_known("values", values, "the mean of an ensemble")
        numbers = np.asarray(values, float)
        if numbers.shape[: len(self.shape)] != self.shape:
            raise DeclarationError(
                "values",
                got=f"an array of shape {numbers.shape}",
                expected=f"leading axes {list(self.axes)} of sizes {self.shape}",
                mend="pass what map(fn) gives, or use mean(fn)",
            )
        known = exact or not self.gibbs.coordinates.priors
        series = [self.axes.index(axis) for axis in SERIES if axis in self.axes]
        samples = [i for i, axis in enumerate(self.axes) if axis in SAMPLES and axis != "subset"]
        if series and not samples:
            rows = np.moveaxis(numbers, series, range(-len(series), 0))
            rows = rows if len(series) == 2 else rows[..., None, :]
            return Estimate.of_series(rows, exact=known)
        if len(samples) == 1 and not series:
            return Estimate.of_samples(np.moveaxis(numbers, samples, (0,)), exact=known)
        if "subset" in self.axes:
            raise DeclarationError(
                "axes",
                got="draws along `subset`, which share what they were chosen from: the nodes of a "
                "rule, the draws of a chain, particles with common ancestors",
                expected="draws whose spread shows the error of their mean",
                mend="average map(fn), and take the error over repetitions with other seeds or "
                "keys, Estimate.of_replicates; or sample ensemble.gibbs",
            )
        raise DeclarationError(
            "axes",
            got=str(self.axes),
            expected="chain and draw, or one axis of independent draws (sample, neuron)",
            mend="use map(fn) for the values along other axes",
        )

    def models(self) -> PyTree:
        """The models of all draws: the declared one, its arrays with the axes in front.

        Raises:
            DeclarationError: For models that are changed beside their weights.
        """
        if self.change is not None:
            raise DeclarationError(
                "ensemble",
                got="models that are changed beside their weights",
                expected="models that differ in their weights alone",
                mend="use map(fn), which sees the changed models",
            )
        return with_weights(self.gibbs.declared, self.map(weights_of))

    def take(self, count: Count, *, key: Key) -> "Ensemble":
        """`count` of the draws at random: none twice while there are enough.

        The axis is `sample` if the draws are independent (none of them twice, from an axis
        `sample`), else `subset`, over which `mean` gives no error: draws of a chain depend on each
        other, and a part of them does not tell how much.

        Raises:
            DeclarationError: At several betas: draws of different laws do not mix.
        """
        if self.gibbs.beta.ndim:
            raise DeclarationError(
                "ensemble",
                got=f"draws at {self.gibbs.beta.size} betas",
                expected="draws at one beta",
                mend="pick one first: ensemble[i].take(count, key=key)",
            )
        size = math.prod(self.shape)
        chosen = jax.random.choice(key, size, (count,), replace=count > size)
        flat = {p: leaf.reshape(-1, *leaf.shape[len(self.shape) :]) for p, leaf in self.w.items()}
        independent = self.axes == ("sample",) and count <= size
        axes = ("sample",) if independent else ("subset",)
        keys = None if self.keys is None else self.keys.reshape(-1)[chosen]
        w = {path: leaf[chosen] for path, leaf in flat.items()}
        return Ensemble(self.gibbs, w, axes, (count,), self.change, keys, self.key)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{axis} {n}" for axis, n in zip(self.axes, self.shape, strict=True))
        return f"Ensemble({sizes}) of a {self.gibbs!r}"


def _place(index: Any) -> int | slice | None:
    """A whole number, also one of numpy or jax, or a slice of such; None for what is none."""
    if isinstance(index, slice):
        ends = [end for end in (index.start, index.stop, index.step) if end is not None]
        whole = all(isinstance(_place(end), int) for end in ends)
        return index if whole and index.step != 0 else None
    try:
        return None if isinstance(index, bool | np.bool_) else operator.index(index)
    except TypeError:
        return None


def _stacked(each: Sequence[Weights]) -> Weights:
    """Weights of several models as arrays with an axis over models."""
    shapes = [{path: np.shape(leaf) for path, leaf in weights.items()} for weights in each]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise DeclarationError(
                f"models[{i}]",
                got=f"weights of shapes {shape}",
                expected=f"the shapes of the first model, {shapes[0]}",
                mend="pass models of one structure",
            )
    return {path: jnp.stack([weights[path] for weights in each]) for path in shapes[0]}


def _fitting(argument: str, w: Weights, shapes: dict, axes: tuple[str, ...]) -> Weights:
    """Weights or coordinates in the order of `shapes`, if they have these and the axes before."""
    given = {path: np.shape(leaf) for path, leaf in w.items()}
    inner = {path: shape[len(axes) :] for path, shape in given.items()}
    before = {shape[: len(axes)] for shape in given.values()}
    if inner != shapes or len(before) > 1:
        raise DeclarationError(
            argument,
            got=f"arrays of shapes {given}",
            expected=f"axes {list(axes)} of the same sizes before the shapes {shapes}",
            mend="pass coordinates of gibbs.log_prob to Ensemble.of, and models of the declared "
            "structure to Ensemble.of_models; name all leading axes",
        )
    return {path: jnp.asarray(w[path]) for path in shapes}


def _sizes(w: Weights, axes: int) -> tuple[int, ...]:
    return next(iter(w.values())).shape[:axes] if w else (0,) * axes


@eqx.filter_jit
def _mapped(
    gibbs: Gibbs,
    w: Weights,
    fn: Callable,
    key: Key,
    shape: tuple[int, ...],
    memory: int,
    changed: tuple[Callable | None, Array | None] = (None, None),
) -> PyTree:
    change, keys = changed

    def one(each):
        w, key, beta, key_change = each
        at = eqx.tree_at(lambda g: g.beta, gibbs, beta)
        model = at.complete(w, key)
        model = model if change is None else change(model, key_change)
        with function_errors("fn"):
            return given_numbers("fn", fn(model))

    beta = gibbs.beta.reshape(gibbs.beta.shape + (1,) * (len(shape) - gibbs.beta.ndim))
    each = (w, jax.random.split(key, shape), jnp.broadcast_to(beta, shape), keys)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[len(shape) :]), each)
    out = map_within(one, flat, memory)
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), out)


@eqx.filter_jit
def _coordinates(gibbs: Gibbs, weights: dict[str, Array], axes: int) -> Weights:
    unconstrain = gibbs.coordinates.unconstrain
    for _ in range(axes):
        unconstrain = jax.vmap(unconstrain)
    return unconstrain(weights)


@eqx.filter_jit
def _drawn(gibbs: Gibbs, keys: Array) -> Weights:
    return jax.vmap(gibbs.sample_prior)(keys)
