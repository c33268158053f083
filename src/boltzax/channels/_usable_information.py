"""Usable information: what a family of predictors gains from one side, held out."""

from typing import Annotated, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ..core import (
    DeclarationError,
    Estimate,
    Key,
    Positive,
    Said,
    numpy_generator,
    text_of_values,
    typed,
    whole,
)
from ..numerics import lbfgs
from ._sample_matrices import Samples, Side, check_pair, side
from ._sample_rounding import scaled

SHOWN = 8
"""Outputs in a text."""
GRADIENTS, SEARCH = 400, 20
"""Gradients of a fit, and of one line search, at most."""
Usable = Literal["bernoulli", "categorical", "gaussian"]
Outputs = Annotated[
    Float[np.ndarray, "pair y"] | Bool[np.ndarray, "pair y"],
    Said(
        "a matrix [sample, output] of real numbers, labels or truth values",
        "pass one row for each sample, values[:, None] for one output",
    ),
]
Folds = Annotated[int, whole(2)]


@typed
class UsableInformation(eqx.Module):
    """What `usable_information` returns; in nats.

    Args:
        estimate: Mean held-out gain of log-likelihood by x, of each output, `[output]`.
        total: Of all outputs together: the sum, with the error of the sum.
        baseline: Mean held-out loss without x, `[output]`: the entropy that could be gained, for
            labels.
        family: Of the predictors.
        folds: Parts of the data, each predicted from the others.
        samples: Their number.
    """

    estimate: Estimate
    total: Estimate
    baseline: Float[Array, " output"]
    family: Usable = eqx.field(static=True)
    folds: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    @text_of_values
    def __repr__(self) -> str:
        head = (
            f"UsableInformation, nats ({self.family}, {self.samples} samples, {self.folds} folds): "
            f"{self.total:.3g} of {float(np.sum(self.baseline)):.3g}"
        )
        count = len(self.baseline)
        lines = [
            f"  output {j}: {self.estimate[j]:.3g} of {float(self.baseline[j]):.3g}"
            for j in range(min(count, SHOWN))
        ]
        return "\n".join([head, *lines, *(["  ..."] if count > SHOWN else [])])


@typed
def usable_information(
    x: Samples,
    y: Outputs,
    *,
    key: Key,
    family: Usable = "gaussian",
    folds: Folds = 5,
    penalty: Positive = 1.0,
) -> UsableInformation:
    """What predictors of one family gain from x about each output of y, held out, in nats.

    `I_V(x → y) = E log q(y|x) - E log q(y)` with the best `q` of the family with x and without it
    (Xu et al. 2020, ICLR, arXiv:2002.10689). It is at most the mutual information for labels, and
    unlike it falls along a chain of invertible maps: what is there may not be readable. Predictors
    are affine in x:

    - `"gaussian"`: a normal law with affine mean and constant variance (that of samples left out
      of the fit), for real outputs;
    - `"bernoulli"`: logistic regression, for outputs 0 and 1;
    - `"categorical"`: softmax regression, for outputs that are labels `0, 1, ...`.

    Each fold is predicted by fits to the others, so that the value is that of predictors trained on
    so many samples: below `I_V` by some `d/(2n)` nats for `d` weights, and possibly negative. The
    error is that of the mean over samples, `sd/√n`; it does not contain the choice of the training
    samples.

    Args:
        x: What is read, `[sample, coordinate]`.
        y: Outputs, `[sample, output]`.
        key: For the folds.
        family: Of the predictors.
        folds: Parts of the data.
        penalty: `½ penalty |w|²` is added to the summed loss, for weights `w` of coordinates of
            unit variance: the prior N(0, 1/penalty).

    Raises:
        DeclarationError: For numbers that are not finite, labels that are none, real outputs that
            are constant (in all folds but one, too) or affine functions of x, and fewer samples
            than two for each fold.
    """
    check_pair(x, y)
    if len(x) < 2 * folds:
        raise DeclarationError(
            "folds",
            got=f"{folds} folds of {len(x)} samples",
            expected="at least two samples in each",
            mend="take more samples, or fewer folds",
        )
    rng = numpy_generator(key)
    fold = rng.permutation(np.arange(len(x)) % folds)
    unit = scaled(x).values
    spread = np.std(unit, axis=0)
    inputs = (unit - unit.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    if family == "gaussian":
        outputs = side("y", y)
        gain, base = _gaussian(inputs, outputs, fold, folds, float(penalty))
        # of y, in its own units
        base -= scaled(y).exponents * np.log(2) + np.log(_norms(y))
    else:
        gain, base = _labels(
            inputs, _whole(np.asarray(y, float), family), fold, folds, float(penalty)
        )
    whole_gain = Estimate.of_samples(gain.sum(axis=1))
    return UsableInformation(
        Estimate.of_samples(gain), whole_gain, -base.mean(axis=0), family, folds, len(x)
    )


def _whole(y: np.ndarray, family: str) -> np.ndarray:
    """Labels as whole numbers."""
    labels = np.rint(y).astype(int)
    most = 1 if family == "bernoulli" else len(y)
    if np.any(labels != y) or labels.min() < 0 or labels.max() > most:
        raise DeclarationError(
            "y",
            got=f"numbers from {np.min(y):g} to {np.max(y):g}",
            expected="0 and 1" if family == "bernoulli" else "labels 0, 1, 2, ...",
            mend='pass (y > threshold) for bits, or family="gaussian" for real numbers',
        )
    return labels


def _norms(y: np.ndarray) -> np.ndarray:
    unit = scaled(y).values
    return np.linalg.norm(unit - unit.mean(axis=0), axis=0)


def _gaussian(x, y: Side, fold, folds: int, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Gains and log-likelihoods without x of each held-out sample, `[sample, output]`.

    Raises:
        DeclarationError: For outputs that vary in one fold alone, or are functions of x.
    """
    gain, base = np.empty_like(y.values), np.empty_like(y.values)
    rounding = max(y.computed, y.stored) / np.sqrt(len(x))
    for f in range(folds):
        train, test = fold != f, fold == f
        mean, spread = y.values[train].mean(axis=0), y.values[train].std(axis=0, ddof=1)
        predicted, error = _ridge(x[train], y.values[train] - mean, x[test], penalty)
        words = {
            "an output that is constant in all folds but one": spread <= rounding,
            "an output that is an affine function of x, to rounding: the usable information is "
            "infinite": error <= rounding,
        }
        for got, wrong in words.items():
            if np.any(wrong):
                raise DeclarationError(
                    "y",
                    got=f"{got} (output {int(np.argmax(wrong))})",
                    expected="outputs that vary in the training samples, beyond what x says",
                    mend="leave it out, or add noise of a stated size; for rare events take "
                    'y > threshold and family="bernoulli"',
                )
        base[test] = _log_normal(y.values[test], mean, spread**2)
        gain[test] = _log_normal(y.values[test], mean + predicted, error**2) - base[test]
    return gain, base


def _ridge(x, y, others, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of y at other samples, and the root mean square error at a sample left out.

    The error of a sample that is left out of the fit is the residual over one less its leverage,
    which stays right where there are more coordinates than samples.
    """
    centre = x.mean(axis=0)
    left, sizes, right = np.linalg.svd(x - centre, full_matrices=False)
    kept = sizes > np.finfo(float).eps * max(x.shape) * sizes[0]
    left, sizes, right = left[:, kept], sizes[kept], right[kept]
    shrink, along = penalty / (sizes**2 + penalty), left.T @ y
    residual, free = (left * shrink) @ along, left**2 @ shrink
    if len(sizes) < len(x) - 1:  # directions of the samples that x does not reach
        residual += y - left @ along
        free += np.maximum(1 - 1 / len(x) - np.sum(left**2, axis=1), 0)
    error = np.sqrt(np.mean((residual / free[:, None]) ** 2, axis=0))
    weights = right.T @ ((sizes / (sizes**2 + penalty))[:, None] * along)
    return (others - centre) @ weights, error


def _log_normal(y, mean, variance) -> np.ndarray:
    return -0.5 * ((y - mean) ** 2 / variance + np.log(2 * np.pi * variance))


def _labels(x, labels, fold, folds: int, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of labels, by softmax regression about the frequencies of the training samples.

    Without x the same regression has an intercept alone, so that x gains nothing by it.
    """
    occurring, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape(len(x), -1)
    classes = max(2, len(occurring))
    train = (fold != np.arange(folds)[:, None]).astype(float)
    one_hot = labels[..., None] == np.arange(classes)
    counts = np.einsum("fn,nok->ofk", train, one_hot) + 0.5  # Krichevsky & Trofimov
    prior = np.log(counts / counts.sum(axis=-1, keepdims=True))
    given = tuple(map(jnp.asarray, (labels.T, prior, train, np.asarray(penalty))))
    rows = np.arange(len(x))
    fitted, base = (
        np.asarray(_fitted(jnp.asarray(inputs), *given), np.float64)[:, fold, rows].T
        for inputs in (x, np.zeros_like(x))
    )  # [sample, output]
    return fitted - base, base


@eqx.filter_jit
def _fitted(x: Array, labels: Array, prior: Array, train: Array, penalty: Array) -> Array:
    """Log-likelihoods of all samples by the fit of each fold, `[output, fold, sample]`."""

    def logs(weights, own, prior):
        logits = jax.nn.log_softmax(prior + x @ weights[:-1] + weights[-1])
        return jnp.take_along_axis(logits, own[:, None], 1)[:, 0]

    def of_fold(own, prior, weight):
        def loss(weights):
            summed = -jnp.sum(weight * logs(weights, own, prior))
            return (summed + 0.5 * penalty * jnp.sum(weights**2)) / jnp.sum(weight)

        start = jnp.zeros((x.shape[1] + 1, prior.shape[-1]), x.dtype)
        weights, _, _ = lbfgs(loss, start, jnp.asarray(GRADIENTS), SEARCH)
        return logs(weights, own, prior)

    def of_output(each):
        own, prior = each
        return jax.lax.map(lambda fold: of_fold(own, *fold), (prior, train))

    return jax.lax.map(of_output, (labels, prior))
