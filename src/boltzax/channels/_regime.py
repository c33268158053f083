"""Whether channels are scarce or modules: which model of a covariance predicts new samples."""

from collections.abc import Iterator, Mapping
from typing import Annotated, TypeAlias, final

import equinox as eqx
import numpy as np
from jaxtyping import Int

from ..core import (
    POWER_QUANTILE,
    Count,
    DeclarationError,
    Estimate,
    Said,
    text_of_values,
    typed,
    whole,
)
from ._covariances import check_rows
from ._factor_models import (
    SEVERAL,
    FactorModel,
    fitted,
    log_likelihoods,
    modules,
    shrunk,
)
from ._sample_matrices import Samples, side

KINDS = ("scarce channels", "mixed", "scarce modules")
"""The kinds of models, from the least to the most free parameters."""
WEIGHTS = (0.1, 0.3, 0.6, 0.9)
"""Shares of the full covariance in the models without modules."""
SURE = 3.0
"""Standard errors by which a freer kind must predict better; the best of many models is chosen."""
ERRORS = 2.0
"""Standard errors up to which it is no better."""
RESOLUTION = 0.1
"""Correlation that must be seen, if all coordinates have it, before none is said to be there."""
SAMPLES = 5
"""Samples for each coordinate, without which modules cannot be found or excluded."""
CLUSTERS = (2, 3, 4, 5, 7)
"""Numbers of clusters from which the search for modules starts."""
Folds: TypeAlias = Annotated[int, whole(2), Said("an integer of at least 2", "pass e.g. folds=5")]
"""Parts of the samples, each predicted from the others."""


@typed
@final
class Regime(eqx.Module):
    """What `classify_regime` returns.

    Args:
        verdict: "scarce channels", "scarce modules", "mixed" or "undecided".
        channels: Shared factors of the best model with few of them.
        labels: The module of each coordinate in that model.
        gains: Held-out log-likelihood of the best model of each kind, less that of the best of
            all, nats a sample: of "scarce channels", "mixed" and "scarce modules".
        detectable: Root mean square correlation left between modules that would have been seen.
        few: Most channels that are few.
        samples: Their number.
    """

    verdict: str = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    labels: Int[np.ndarray, " coordinate"]
    gains: Estimate
    detectable: float
    few: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    @property
    def modules(self) -> int:
        """Number of modules."""
        return len(np.unique(self.labels))

    @text_of_values
    def __repr__(self) -> str:
        sizes = np.sort(np.bincount(self.labels))[::-1]
        shown = ", ".join(map(str, sizes[:8])) + (", ..." if len(sizes) > 8 else "")
        lines = [
            f"Regime: {self.verdict} ({len(self.labels)} coordinates, {self.samples} samples)",
            f"  {self.channels} channels (few: up to {self.few}), {self.modules} modules of sizes "
            f"{shown}",
            f"  a correlation of {self.detectable:.2g} everywhere would have been seen",
        ]
        values, errors = np.asarray(self.gains.value), np.asarray(self.gains.standard_error)
        for kind, value, error in zip(KINDS, values, errors, strict=True):
            lines.append(f"  {kind}: {value:.4g} ± {error:.2g} nats a sample")
        return "\n".join(lines)


@typed
def classify_regime(x: Samples, *, few: Count | None = None, folds: Folds = 4) -> Regime:
    """Whether a few channels join many parts, or everything is joined with everything.

    Three kinds of Gaussian models of the coordinates predict samples that they have not seen:

    - scarce channels: up to `few` shared factors, given which all coordinates are independent;
    - mixed: up to `few` shared factors and modules, joined inside without restriction;
    - scarce modules: more factors, or a part of the full covariance of the samples.

    The verdict is the freest kind that predicts better than a less free one by three standard
    errors of the paired difference, and the least free one if no other is better by more than two.
    Between the two it is "undecided", and also where a correlation of 0.1 between all coordinates
    would not have been seen, or with fewer than five samples a coordinate: modules are sought by
    partial correlations, and with fewer samples those that are there are not found. A module
    has more than `few + 1` coordinates.

    Coordinates are divided by their standard deviations first. A channel is a direction in which
    they depend linearly on a signal; a signal seen through a bent curve counts as several.

    Args:
        x: Independent samples, `[sample, coordinate]`; of a place of a model what
            `boltzax.channels.read_taps` gives.
        few: Most channels that are few, at most a quarter of the coordinates; an eighth if None.
        folds: Parts of the samples, each predicted from the others.

    Returns:
        A `Regime`.

    Raises:
        DeclarationError: For fewer than 20 samples or 4 coordinates, numbers that are not finite,
            constant coordinates, and too many channels to be few.
    """
    check_rows(x, 20)
    if x.shape[1] < 4:
        raise DeclarationError(
            "x",
            got=f"{x.shape[1]} coordinates",
            expected="at least 4, of which some could be modules",
            mend="pass more coordinates: units of a layer, or of several",
        )
    if few is not None and few > x.shape[1] // 4:
        raise DeclarationError(
            "few",
            got=f"{few} channels of {x.shape[1]} coordinates",
            expected=f"at most {x.shape[1] // 4}, a quarter: with more any covariance is explained",
            mend="lower it, or leave it out",
        )
    rows = side("x", x).values * np.sqrt(len(x))
    few = few or max(1, x.shape[1] // 8)
    named = {name: model for _, name, model in _models(np.cov(rows.T, bias=True), few, len(rows))}
    scores = _held_out(rows, few, folds, named)
    best = {kind: max(scores[kind], key=lambda name: np.mean(scores[kind][name])) for kind in KINDS}
    found = {kind: scores[kind][best[kind]] for kind in KINDS}
    detectable = _detectable(*rows.shape)
    few_samples = len(x) < SAMPLES * x.shape[1] or detectable > RESOLUTION
    verdict = "undecided" if few_samples else _verdict(found)
    simple = max(KINDS[:2], key=lambda kind: np.mean(found[kind]))
    kind = verdict if verdict in KINDS[:2] else simple
    model, top = named[best[kind]], max(found.values(), key=np.mean)
    return Regime(
        verdict,
        model.factors,
        np.unique(model.labels, return_inverse=True)[1],
        Estimate.of_samples(np.stack([found[kind] - top for kind in KINDS], axis=1), exact=True),
        detectable,
        few,
        len(rows),
    )


def _held_out(
    rows: np.ndarray, few: int, folds: int, whole: Mapping[tuple, FactorModel]
) -> dict[str, dict[tuple, np.ndarray]]:
    """Held-out log-likelihood of every sample, by kind and name of the model."""
    scores: dict[str, dict[tuple, np.ndarray]] = {kind: {} for kind in KINDS}
    for fold in range(folds):
        held = np.arange(len(rows)) % folds == fold
        sample = np.cov(rows[~held].T, bias=True)
        for kind, name, model in _models(sample, few, int(np.sum(~held)), whole):
            values = scores[kind].setdefault(name, np.zeros(len(rows)))
            values[held] = log_likelihoods(model, rows[held])
    return scores


def _models(
    sample: np.ndarray, few: int, samples: int, whole: Mapping[tuple, FactorModel] | None = None
) -> Iterator[tuple[str, tuple, FactorModel]]:
    """The models of every kind for one sample: kind, name, and model.

    Without modules a model of the second kind is one of the first. The search for modules starts
    from those of the `whole` sample, if there are any.
    """
    size = len(sample)
    alone = np.arange(size)
    plain = [fitted(sample, k, alone) for k in range(few + 1)]
    for k, model in enumerate(plain):
        yield KINDS[0], ("alone", k), model
    for count in CLUSTERS:
        near = whole["modules", few, count].labels if whole else None
        if near is not None and len(np.unique(near)) == size:
            near = None
        # those left by all the few, which fewer factors would leave too
        behind = _modules(sample, few, count, few, samples, near)
        for k in range(few + 1):
            labels = behind
            if k < min(few, SEVERAL):
                labels = _modules(sample, k, count, few, samples, None)
            model = plain[k] if labels is None else fitted(sample, k, labels)
            yield KINDS[1], ("modules", k, count), model
    for k in _ladder(few, size):
        yield KINDS[2], ("alone", k), fitted(sample, k, alone)
    for weight in WEIGHTS:
        for name, model in [(("alone", k), model) for k, model in enumerate(plain)]:
            yield KINDS[2], (*name, weight), shrunk(model, sample, weight)
    yield KINDS[2], ("full",), shrunk(plain[0], sample, 1.0)


def _ladder(few: int, size: int) -> list[int]:
    """Numbers of factors beyond the few."""
    steps, k = [], few + 1
    while k <= size // 2:
        steps.append(k)
        k = max(k + 1, int(1.4 * k))
    return steps


def _modules(
    sample: np.ndarray, factors: int, count: int, few: int, samples: int, near: np.ndarray | None
) -> np.ndarray | None:
    """Modules of which one is more than a part, and none is nearly all; None if there are none."""
    size = len(sample)
    if count > size // 2:
        return None
    labels = modules(sample, factors, count, samples, near)
    largest = np.bincount(labels).max()
    return labels if few + 1 < largest <= 0.75 * size else None


def _detectable(samples: int, size: int) -> float:
    """Root mean square correlation that a sum over all pairs detects with probability 0.95."""
    if size < 2:
        return 0.0
    pairs = size * (size - 1) / 2
    return float(np.sqrt(2 * POWER_QUANTILE / (samples * np.sqrt(pairs))))


def _verdict(found: dict[str, np.ndarray]) -> str:
    def better(one: str, other: str) -> float:
        """Errors by which one kind predicts better."""
        gain = found[one] - found[other]
        error = np.std(gain) / np.sqrt(len(gain))
        return float(np.mean(gain) / error) if error > 0 else 0.0

    simple = KINDS[0] if better(*KINDS[:2]) >= 0 else KINDS[1]
    freer = better(KINDS[2], simple)
    if freer > SURE:
        return KINDS[2]
    if freer > ERRORS:
        return "undecided"
    gain = better(KINDS[1], KINDS[0])
    if gain > SURE:
        return KINDS[1]
    return KINDS[0] if gain <= ERRORS else "undecided"
