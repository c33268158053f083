"""Settings of a dial at which an intervention keeps its effect and does no other harm."""

import math
from typing import Annotated, Literal, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compile import Gibbs
from ..core import (
    MEMORY,
    Constraint,
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Fraction,
    Influence,
    Key,
    Memory,
    Model,
    ModelFunction,
    Positive,
    Refused,
    errors_named,
    function_errors,
    student_factor,
    text_of_values,
    typed,
)
from ..sample import Ensemble
from ._along_dial import conditional, curve_of, influence_of, source_of
from ._characteristic import place_of
from ._dial import AbstractDial, Settings, equal_models

LEAST = 8
"""Effective draws below which nothing is decided."""
TO_MODEL = "a function from a model to a model of the same outputs"
OF_OUTPUTS = "an effect and a damage that take the outputs of a model"
Said = Literal["clean", "effect gone", "harmful", "denoised", "undecided"]


def _function(value):
    if not callable(value) or isinstance(value, type):
        raise Refused
    return value


OutputFunction: TypeAlias = Annotated[
    eqx.Module | object,
    Constraint(
        "a function of the outputs", "pass e.g. lambda outputs: jnp.mean(outputs)", _function
    ),
]


@typed
@final
class CleanWindow(eqx.Module):
    """What an intervention does along a dial.

    Args:
        effect: The mean over models of the change of the effect.
        damage: The mean over models of the change of each damage, `[point, damage]`.
        damage_of_mean: The change of the damage of the mean output, `[point, damage]`. It leaves
            out what the intervention does to the differences between models.
        clean_effect: The change of the effect for the model that is not degraded.
        clean_damage: The change of each damage for it, `[damage]`.
        persists: Share of the clean effect that has to stay.
        tolerance: Damage that counts as none.
        verdicts: One for each setting: `"clean"`; `"effect gone"`; `"harmful"`; `"denoised"` (the
            damage is small in the mean over models, but not that of the mean output: the
            intervention takes away noise, which hides its harm); `"undecided"` (an interval holds
            a threshold).
    """

    effect: Curve
    damage: Curve
    damage_of_mean: Curve
    clean_effect: Float[np.ndarray, ""]
    clean_damage: Float[np.ndarray, " damage"]
    persists: float
    tolerance: float
    verdicts: tuple[Said, ...] = eqx.field(static=True)

    @property
    def denoising(self) -> Curve:
        """`damage_of_mean - damage`: harm that is hidden by the noise that is taken away."""
        return self.damage_of_mean.minus(self.damage)

    @property
    def windows(self) -> tuple[tuple[float, float], ...]:
        """Runs of neighbouring clean settings, each as its ends."""
        order = np.argsort(np.asarray(self.effect.x))
        found: list[list[float]] = []
        before = False
        for i in order:
            clean = self.verdicts[i] == "clean"
            place = float(self.effect.x[i])
            if clean and before:
                found[-1][1] = place
            elif clean:
                found.append([place, place])
            before = clean
        return tuple((low, high) for low, high in found)

    @property
    def ends(self) -> tuple[Estimate, Estimate]:
        """Where the last damage falls to the tolerance, and where the effect falls to the share
        that has to stay: the ends of the window, if the second is the more degraded setting. NaN
        where no damage, or not the effect, significantly crosses.

        Raises:
            RunError: For several crossings that the errors distinguish.
        """
        share = self.effect.scaled(1 / float(self.clean_effect))
        closes = place_of(share, self.persists)
        curves = [c[:, i] for c in (self.damage, self.damage_of_mean) for i in range(c.shape[1])]
        crossed = [place_of(curve, self.tolerance, near=None) for curve in curves]
        opens = [place for place in crossed if np.isfinite(float(place.value))]
        if not opens:
            return crossed[0], closes
        first, last = (
            float(share.value[np.argmin(share.x)]),
            float(share.value[np.argmax(share.x)]),
        )
        return (max if first >= last else min)(opens, key=lambda place: float(place.value)), closes

    @text_of_values
    def __repr__(self) -> str:
        spans = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in self.windows) or "none"
        lines = [f"Clean windows in {self.effect.axis}: {spans}"]
        for i, said in enumerate(self.verdicts):
            effect = self.effect.values[i] / float(self.clean_effect)
            worst, mean = (
                _said(curve.values[i][int(np.argmax(curve.value[i]))])
                for curve in (self.damage, self.damage_of_mean)
            )
            lines.append(
                f"{float(self.effect.x[i]):.4g}: {said}; effect {_said(effect)} of the clean one, "
                f"greatest damage {worst}, of the mean output {mean}"
            )
        return "\n  ".join(lines)


def _said(estimate: Estimate) -> str:
    """A value with its error; without one where chains never moved, or nothing varied."""
    value, error = float(estimate.value), float(estimate.standard_error)
    return f"{value:.3g} ± {error:.2g}" if np.isfinite(error) else f"{value:.3g} (no error)"


@typed
def clean_window(
    intervention: ModelFunction,
    effect: OutputFunction,
    damage: OutputFunction,
    dial: AbstractDial,
    settings: Settings,
    *,
    outputs: ModelFunction,
    gibbs: Gibbs,
    key: Key,
    count: Count = 256,
    persists: Fraction = 0.5,
    tolerance: Positive | None = None,
    memory: Memory = MEMORY,
) -> CleanWindow:
    """Where along a dial an intervention keeps its effect while its damage vanishes.

    Every model of an ensemble is compared with itself under the intervention. A setting is clean
    if the lower end of the interval of the effect lies above `persists` times the clean effect, and
    the upper ends of all damages lie below `tolerance`: those in the mean over models, and those of
    the mean output. Intervals are of level 95% for each setting by itself, of Student's t by the
    effective draws. Fewer than 8 of them decide nothing, nor do models of which none differs.

    Args:
        intervention: From a model to the changed model: ablate, patch or project.
        effect: From outputs to one number, what the intervention is to change.
        damage: From outputs to the losses `[damage]` that it is to leave alone, e.g. one a head.
        dial: How the model is degraded.
        settings: `[point]`, or `[point, dial]` for combined dials.
        outputs: From a model to its outputs on the data, an array.
        gibbs: The measure whose declared model is degraded.
        key: The key of all randomness.
        count: Models at each setting.
        persists: Share of the clean effect that has to stay.
        tolerance: Damage that counts as none; a tenth of the greatest clean damage if None.
        memory: Bytes of intermediate values at once.

    Returns:
        A `CleanWindow`.

    Raises:
        DeclarationError: For wrong settings, an intervention without effect on the clean model, and
            functions that raise an error or give other shapes.
        RunError: If sampling failed (`Tempered`).
    """
    pair = _Pair(intervention, outputs)
    parts = _Parts(effect, damage)
    _check_functions(parts, pair, gibbs.declared)
    clean = jax.tree.map(np.asarray, _changes(parts, pair, gibbs.declared))
    if not abs(clean[0]) > 0:
        raise DeclarationError(
            "intervention",
            got="an intervention that does not change the effect of the clean model",
            expected="an effect that could persist",
            mend="choose another intervention or effect",
        )
    bound = float(0.1 * np.max(np.abs(clean[1])) if tolerance is None else tolerance)
    ensembles = dial.ensembles(gibbs, settings, key=key, count=count)
    equal, source = equal_models(dial, dial.rows(settings)), source_of(key)
    rows = [
        _measured(ensemble, pair, parts, same, source, conditional(key), memory)
        for ensemble, same in zip(ensembles, equal, strict=True)
    ]
    # outputs on which an intervention does not act do not change, whatever the model
    effects, damages, of_means = (
        _student(curve_of(dial, settings, each, zero=True)) for each in zip(*rows, strict=True)
    )
    verdicts = _verdicts(effects.values / float(clean[0]), damages, of_means, persists, bound)
    return CleanWindow(effects, damages, of_means, *clean, persists, bound, verdicts)


class _Pair(eqx.Module):
    """Outputs of a model without and with the intervention, `[2, *shape]`."""

    intervention: ModelFunction
    outputs: ModelFunction

    def __call__(self, model: Model) -> Array:
        return jnp.stack([self.outputs(model), self.outputs(self.intervention(model))])


class _Parts(eqx.Module):
    """Changes from the first to the second of two outputs: of the effect, then of each damage."""

    effect: OutputFunction
    damage: OutputFunction

    def __call__(self, pair: Array) -> Array:
        damage = jnp.atleast_1d(self.damage(pair[1]) - self.damage(pair[0]))
        return jnp.concatenate([jnp.ravel(self.effect(pair[1]) - self.effect(pair[0])), damage])


@eqx.filter_jit
def _changes(parts: _Parts, pair: _Pair, model: Model) -> tuple[Array, Array]:
    changes = parts(pair(model))
    return changes[0], changes[1:]


@eqx.filter_jit
def _of_each(parts: _Parts, pairs: Array, axes: int) -> Array:
    one = parts
    for _ in range(axes):
        one = jax.vmap(one)
    return one(pairs)


def _check_functions(parts: _Parts, pair: _Pair, model: Model) -> None:
    """Raise `DeclarationError` for functions that give no arrays, or arrays of other shapes."""
    with function_errors("outputs"):
        plain = eqx.filter_eval_shape(pair.outputs, model)
    if not isinstance(plain, jax.ShapeDtypeStruct):
        raise DeclarationError(
            "outputs",
            got=f"a function that returns {type(plain).__name__}",
            expected="a function from a model to one array",
            mend="return one array, e.g. jax.vmap(model)(x)",
        )
    with errors_named("intervention", expected=TO_MODEL, mend="try it on the declared model"):
        pairs = eqx.filter_eval_shape(pair, model)
    out = jax.ShapeDtypeStruct(pairs.shape[1:], pairs.dtype)
    for name, fn in (("effect", parts.effect), ("damage", parts.damage)):
        with errors_named(name, expected=OF_OUTPUTS, mend="try it on outputs(model) first"):
            found = eqx.filter_eval_shape(fn, out)
            shape = found.shape if isinstance(found, jax.ShapeDtypeStruct) else None
            if shape is None or len(shape) > 1 or (name == "effect" and math.prod(shape) != 1):
                raise DeclarationError(
                    name,
                    got=f"a function that gives {found!r:.80}",
                    expected="one number" if name == "effect" else "losses [damage]",
                    mend="sum or average over the outputs that it is about",
                )


def _measured(
    ensemble: Ensemble,
    pair: _Pair,
    parts: _Parts,
    equal: bool,
    source: str,
    key: Key,
    memory: int,
) -> tuple[Influence, Influence, Influence]:
    """The effect, the damages, and the damages of the mean output."""
    pairs = ensemble.map(pair, key=key, memory=memory)
    each = influence_of(ensemble, _of_each(parts, pairs, len(ensemble.shape)), equal, source)
    mean = influence_of(ensemble, pairs, equal, source)
    of_mean = mean.map(parts)
    axis = len(ensemble.shape) - 1
    half = pairs.shape[axis] // 2
    if not equal and half:
        # a mean of N outputs has noise of order 1/N, which halves show at twice its size
        ends = (jnp.take(pairs, i, axis) for i in (np.arange(half), np.arange(half, 2 * half)))
        halves = [parts(jnp.mean(h, axis=tuple(range(axis + 1)))) for h in ends]
        of_mean = of_mean.shifted(np.asarray(of_mean.value - 0.5 * (halves[0] + halves[1])))
    return each[0], each[1:], of_mean[1:]


def _student(curve: Curve) -> Curve:
    """The curve with intervals of Student's t by its effective draws; unknown for too few."""
    values = curve.values
    ess = np.asarray(values.ess)
    values = values.unknown(ess < LEAST)
    factor = np.vectorize(student_factor, [float])(ess)
    half = factor * np.asarray(values.standard_error)
    value = np.asarray(values.value)
    values = values.bounded(value - half, value + half)
    return Curve(curve.x, values, axis=curve.axis, influence=curve.influence)


def _verdicts(
    effect: Estimate, damage: Curve, of_mean: Curve, persists: float, tolerance: float
) -> tuple[Said, ...]:
    def below(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
        """Where all damages are below the tolerance, and where one is above it.

        A damage that is 0 for every model has no spread, and needs none.
        """
        untouched = np.asarray(curve.value == 0) & np.isnan(np.asarray(curve.standard_error))
        low, high = (np.where(untouched, 0.0, np.asarray(end)) for end in curve.interval())
        return np.all(high < tolerance, axis=1), np.any(low > tolerance, axis=1)

    lower, upper = map(np.asarray, effect.interval())
    stays, gone = lower > persists, upper < persists
    (harmless, harmful), (truly, hidden) = below(damage), below(of_mean)
    said: list[Said] = []
    for i in range(len(lower)):
        if gone[i]:
            said.append("effect gone")
        elif harmful[i]:
            said.append("harmful")
        elif harmless[i] and hidden[i]:
            said.append("denoised")
        elif stays[i] and harmless[i] and truly[i]:
            said.append("clean")
        else:
            said.append("undecided")
    return tuple(said)
