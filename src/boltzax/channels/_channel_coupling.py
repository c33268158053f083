"""Whether an unintended channel comes along with an intended one."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import (
    MEMORY,
    DeclarationError,
    Estimate,
    Influence,
    Memory,
    ModelFunction,
    function_errors,
    got,
    student_factor,
    text_of_values,
    typed,
)
from ..sample import Ensemble
from ._coupling_conditions import CouplingConditions, coupling_conditions

SERIES = ("chain", "draw")


FEWEST = 8
"""Draws from which on the error of a slope tells something."""


class CouplingSign(eqx.Enumeration):
    """Whether selection for the intended channel also selects for the unintended one."""

    positive = "Positive: selection for the intended channel selects for the unintended one too."
    negative = "Negative: selection for the intended channel selects against the unintended one."
    undecided = "Undecided: the interval of the derivative holds 0."


@typed
class ChannelCoupling(eqx.Module):
    """How the strength of an intended channel goes with that of an unintended one.

    Args:
        influence: Of the derivative, with the contribution of each draw: differences of couplings
            over the same draws keep their correlation.
        derivative: `D = Cov(intended, unintended)/Var(unintended)`, intended strength per unit of
            unintended strength.
        reverse: `Cov/Var(intended)`: how much of the unintended comes along.
        covariance: Of the two strengths.
        correlation: Their correlation coefficient.
        conditions: Whether Harris' inequality would give the sign, as far as draws can tell.
    """

    influence: Influence
    derivative: Estimate
    reverse: Estimate
    covariance: Estimate
    correlation: Estimate
    conditions: CouplingConditions

    @property
    def sign(self) -> CouplingSign:
        """The sign of `D`, by its 95% interval; of one number."""
        low, high = (np.asarray(end) for end in self.derivative.interval())
        if low.ndim:
            raise DeclarationError(
                "coupling",
                got=f"derivatives of shape {low.shape}",
                expected="one, for a sign",
                mend="take the ensemble at one beta: ensemble[i]",
            )
        sign = (low > 0) * 1 - (high < 0) * 1
        places = (CouplingSign.undecided, CouplingSign.positive, CouplingSign.negative)
        return places[int(sign)]

    @text_of_values
    def __repr__(self) -> str:
        if self.derivative.shape:
            return f"ChannelCoupling of shape {self.derivative.shape}: {self.derivative!r}"
        return (
            f"ChannelCoupling: {CouplingSign[self.sign]}\n"
            f"  derivative {self.derivative!r}\n  correlation {self.correlation!r}\n"
            f"  conditions: {self.conditions!r}"
        )


@typed
def channel_coupling(
    ensemble: Ensemble,
    intended: ModelFunction,
    unintended: ModelFunction,
    *,
    memory: Memory = MEMORY,
) -> ChannelCoupling:
    """The derivative of an intended channel's strength by that of an unintended one.

    A field `h` on the unintended channel, `p(w) → p(w) e^{h s_un(w)}`, moves both means; the ratio
    of what they move at `h = 0` is ::

        D = (∂⟨s_int⟩/∂h)/(∂⟨s_un⟩/∂h) = Cov(s_int, s_un)/Var(s_un),

    the derivative averaged over the ensemble (linear response). A weak selection for the intended
    channel moves the unintended one by the same covariance: it comes along if `D > 0`, is selected
    against if `D < 0`. Strengths are functions of the model, so that `D` does not depend on how the
    weights are parametrised. The error is by the influence of each draw, with its leverage. For
    strengths with heavy tails the intervals are a little short (powers of Gaussian weights: they
    cover 88-97% at 20 draws, 93-95% at 1000).

    Args:
        ensemble: Weights drawn from the prior, a posterior, or of trained models.
        intended: Strength of the intended channel, a function of the model: one number, also a
            truth value.
        unintended: Strength of the unintended one.
        memory: Bytes of intermediate values at once.

    Returns:
        The coupling, of the axes that are neither chains, draws nor samples.

    Raises:
        DeclarationError: For fewer than 8 draws, axes without an error of their mean, strengths
            that are no numbers, and an unintended strength that does not vary.
    """
    values = ensemble.map(_Both(intended, unintended), memory=memory)
    a, b = (_rows(ensemble, name, x) for name, x in zip(NAMES, values, strict=True))
    draws = a.shape[-2] * a.shape[-1]
    if draws < FEWEST:
        raise DeclarationError(
            "ensemble",
            got=f"{draws} draws",
            expected=f"at least {FEWEST}: fewer give no error of a slope",
            mend="draw more models",
        )
    a, b = (x - np.mean(x, axis=(-2, -1), keepdims=True) for x in (a, b))
    for name, x in zip(NAMES, (a, b), strict=True):
        scale = np.max(np.abs(np.asarray(values[NAMES.index(name)], float)))
        if np.any(np.max(np.abs(x), axis=(-2, -1)) <= 1e-12 * scale):
            raise DeclarationError(
                name,
                got="a strength that is the same at every draw",
                expected="one that varies over the ensemble",
                mend="draw more models, or measure another strength",
            )
    # centred at the means, whose errors do not enter to first order
    covariance, one, two = Influence.of(a * b), Influence.of(a**2), Influence.of(b**2)
    derivative = _slope(covariance, two, b)
    correlation = covariance.map(lambda c, v, u: c / jnp.sqrt(v * u), one, two)
    return ChannelCoupling(
        derivative,
        _with_interval(derivative),
        _with_interval(_slope(covariance, one, a)),
        *(each.estimate(exact=True) for each in (covariance, correlation)),
        coupling_conditions(ensemble, intended, unintended),
    )


class _Both(eqx.Module):
    """Two functions of a model, as an argument that is not traced anew."""

    one: Callable
    two: Callable

    def __call__(self, model: PyTree) -> tuple[PyTree, PyTree]:
        with function_errors("intended"):
            one = self.one(model)
        with function_errors("unintended"):
            return one, self.two(model)


def _slope(covariance: Influence, variance: Influence, by: np.ndarray) -> Influence:
    """The slope of a regression; what each draw adds is divided by 1 minus its leverage.

    So the slope is not too sure of itself where few draws carry the variance (the jackknife, HC3 of
    MacKinnon & White 1985, J. Econometrics 29:305).
    """
    ratio, draws = covariance / variance, by.shape[-2] * by.shape[-1]
    leverage = 1 / draws + by**2 / np.sum(by**2, axis=(-2, -1), keepdims=True)
    rows = np.asarray(ratio.rows["draws"]) / np.maximum(1 - leverage, 1 / draws)
    return Influence(ratio.value, {"draws": rows - np.mean(rows, axis=(-2, -1), keepdims=True)})


def _with_interval(slope: Influence) -> Estimate:
    """With Student's t of as many degrees of freedom as there are effective draws less one."""
    found = slope.estimate(exact=True)
    count = np.maximum(np.floor(np.asarray(found.ess)), 2.0)
    half = np.vectorize(student_factor)(count) * np.asarray(found.standard_error)
    value = np.asarray(found.value)
    return found.bounded(value - half, value + half)


NAMES = ("intended", "unintended")


def _rows(ensemble: Ensemble, name: str, values: Array) -> Float[np.ndarray, "*axis chain draw"]:
    """Numbers with the axes of chains and draws last; independent samples are chains of one."""
    given = f"a function that gives {got(values)}"
    if isinstance(values, Array):
        given = f"values of shape {values.shape[len(ensemble.shape) :]}, {values.dtype}, at a draw"
    real = isinstance(values, Array) and not jnp.iscomplexobj(values)
    numbers = np.asarray(values, float) if real else np.full((), np.nan)
    if numbers.shape != ensemble.shape or not np.all(np.isfinite(numbers)):
        raise DeclarationError(
            name,
            got=given if numbers.shape != ensemble.shape else "values that are not finite",
            expected="one finite number for each model",
            mend="reduce it, e.g. lambda model: jnp.sum(model.weight ** 2)",
        )
    ensemble.mean_of(numbers, exact=True)  # refuses axes that have no mean
    named = [ensemble.axes.index(axis) for axis in SERIES if axis in ensemble.axes]
    if not named:
        place = next(i for i, axis in enumerate(ensemble.axes) if axis in ("sample", "neuron"))
        return np.moveaxis(numbers, place, -1)[..., None]
    rows = np.moveaxis(numbers, named, range(-len(named), 0))
    return rows if len(named) == 2 else rows[..., None, :]
