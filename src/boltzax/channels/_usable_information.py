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
    text_of_values,
    typed,
    whole,
)
from ..numerics import lbfgs
from ._sample_matrices import Samples, check_pair, generator, side

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

    - `"gaussian"`: a normal law with affine mean and constant variance, for real outputs;
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
            are constant, and fewer samples than two for each fold.
    """
    check_pair(x, y)
    if len(x) < 2 * folds:
        raise DeclarationError(
            "folds",
            got=f"{folds} folds of {len(x)} samples",
            expected="at least two samples in each",
            mend="take more samples, or fewer folds",
        )
    rng = generator(key)
    fold = rng.permutation(np.arange(len(x)) % folds)
    wide = np.asarray(x, np.float64)
    spread = np.std(wide, axis=0)
    scaled = (wide - wide.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    if family == "gaussian":
        side("y", y)  # that no output is constant
        gain, base = _gaussian(scaled, np.asarray(y, np.float64), fold, folds, float(penalty))
    else:
        gain, base = _labels(
            scaled, _whole(np.asarray(y, float), family), fold, folds, float(penalty)
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


def _gaussian(x, y, fold, folds: int, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Gains and log-likelihoods without x of each held-out sample, `[sample, output]`."""
    gain, base = np.empty_like(y), np.empty_like(y)
    for f in range(folds):
        train, test = fold != f, fold == f
        inputs = np.concatenate([x[train], np.ones((train.sum(), 1))], axis=1)
        ridge = penalty * np.eye(inputs.shape[1])
        ridge[-1, -1] = 0.0
        gram = inputs.T @ inputs
        weights = np.linalg.solve(gram + ridge, inputs.T @ y[train])
        freedom = len(inputs) - np.trace(np.linalg.solve(gram + ridge, gram))
        variance = np.sum((y[train] - inputs @ weights) ** 2, axis=0) / max(freedom, 1.0)
        means = np.concatenate([x[test], np.ones((test.sum(), 1))], axis=1) @ weights
        base[test] = _log_normal(y[test], y[train].mean(axis=0), y[train].var(axis=0, ddof=1))
        gain[test] = _log_normal(y[test], means, variance) - base[test]
    return gain, base


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
