"""Foreground against background: cloud, function, loss and mixing."""

from collections.abc import Iterator

import equinox as eqx
import jax
from jaxtyping import Array

from ..core import (
    Count,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    Outcome,
    at_most_level,
    check_permutations,
    outcome_of,
    text_of_values,
    typed,
)
from ..observe import TwoSample, energy_distance, kernel_distance, sliced_wasserstein
from ._function_gap import Gap, gap_of
from ._mixing import Mixing, mixing, tempered
from ._neuron_dynamics import Descent, Langevin
from ._probe import Probe
from ._replay import Foreground
from ._self_consistency import Particles, alike, points_of
from ._solve import FixedPoint
from ._train import Training

NODES = 4
"""Effective nodes for each draw from which the nodes of a law serve as the law itself."""


@typed
class Confrontation(eqx.Module):
    """A comparison of foreground neurons with their background, in four parts.

    Each part has an `Outcome`: it disagrees, it agrees, or there are too few neurons to tell, so
    that a relevant difference would be detected with a probability below .95. Relevant are: a
    distance of the clouds of a tenth of the largest possible one, a difference of the functions as
    large as the function of the background, a loss as large as that of the zero function, and a
    memory of 3/4.

    `failures` gives the parts that disagree, with the reason; `undecided` gives those without
    power, with what they can detect; `consistent` is true if there are neither. Each p-value is at
    most `level` by chance in a share `level` of confrontations (five of them at most).

    Args:
        energy: Distances of the clouds with p-values.
        kernel: Distances of the clouds with p-values.
        sliced: A third, without.
        gap: Functions and losses against their predicted noise.
        mixing: Of the foreground (None where there are no frames).
        net_mixing: Of the net (None where there are no frames).
        law: Energy distance of the foreground to draws of the law that a neuron should have.
        level: p-values at or below it speak against agreement.
        flows: Whether the neurons were moved by an optimiser, so that nothing mixes.
    """

    energy: TwoSample
    kernel: TwoSample
    sliced: Estimate
    gap: Gap
    mixing: Mixing | None
    net_mixing: Mixing | None
    law: TwoSample | None
    level: Fraction = eqx.field(static=True)
    flows: bool = eqx.field(static=True)

    def _judged(self) -> Iterator[tuple[str, Outcome, str, str]]:
        """All comparisons: part, outcome, the reason of a failure, what can be detected."""
        gap, law = self.gap, self.law
        told = "the neurons have another law than those of the background"
        open_ = _from("a distance", self.energy.detectable, self.energy.scale)
        yield "cloud", self.energy.outcome, told, open_
        if self.kernel.outcome == Outcome.disagree:
            yield "cloud", Outcome.disagree, told, ""
        outcome = outcome_of(self._low(gap.p_value), bool(gap.detectable <= gap.size))
        told = "the functions differ by more than the sampling of neurons"
        yield "function", outcome, told, _from("a difference", gap.detectable, gap.size)
        nothing = gap.loss_nothing / gap.loss_background
        outcome = outcome_of(self._low(gap.loss_p_value), bool(gap.detectable_ratio <= nothing))
        told = "the losses differ by more than the sampling of neurons"
        yield "loss", outcome, told, _from("a ratio", gap.detectable_ratio, nothing)
        if law is not None:
            open_ = _from("a distance to the law", law.detectable, law.scale)
            yield "mixing", law.outcome, "the neurons have not the law that they should", open_
        if self.flows:  # an optimiser has nothing to mix
            return
        if self.mixing is None and law is None:
            yield "mixing", Outcome.too_few, "", "not known: keep frames (frames=10), or pass law="
        for name, mixed in (("neurons", self.mixing), ("net's neurons", self.net_mixing)):
            if mixed is not None:
                told = f"the {name} remember where they were: frozen, or too short a run"
                open_ = _from(f"a memory of the {name}", mixed.detectable, 1.0)
                yield "mixing", mixed.outcome, told, open_

    @property
    def failures(self) -> dict[str, str]:
        """The parts that disagree (`cloud`, `function`, `loss`, `mixing`), each with the reason."""
        found: dict[str, str] = {}
        for part, outcome, told, _ in self._judged():
            if outcome == Outcome.disagree:
                found.setdefault(part, told)
        return found

    @property
    def undecided(self) -> dict[str, str]:
        """The parts (as of `failures`) with too few neurons to tell, and what they can detect."""
        found, failed = {}, self.failures
        for part, outcome, _, open_ in self._judged():
            if outcome == Outcome.too_few and part not in failed:
                found.setdefault(part, open_)
        return found

    def _low(self, p_value: Array) -> bool:
        return at_most_level(p_value, self.level, nan=True)

    @property
    def outcome(self) -> Outcome:
        """Of all parts together."""
        return outcome_of(bool(self.failures), not self.undecided)

    @property
    def consistent(self) -> bool:
        """Whether all four parts agree, with enough neurons to tell."""
        return bool(self.outcome == Outcome.agree)

    @text_of_values
    def __repr__(self) -> str:
        failed, open_, gap = self.failures, self.undecided, self.gap
        mixed = "an optimiser: nothing to mix" if self.flows else repr(self.mixing)
        if self.law is not None:
            mixed += f"; to draws of the law {self.law!r}"
        lines = {
            "cloud": f"energy distance {self.energy!r}, kernel {self.kernel!r}, "
            f"sliced Wasserstein {float(self.sliced.value):.3g}",
            "function": f"apart by {float(gap.distance):.3g} of {float(gap.size):.3g}, predicted "
            f"{float(gap.predicted):.3g} (z {float(gap.z):.2g}, p {float(gap.p_value):.3g}, seen "
            f"from {float(gap.detectable):.3g})",
            "loss": f"{float(gap.loss_foreground):.4g} to {float(gap.loss_background):.4g}, ratio "
            f"{float(gap.ratio):.4g}, predicted {float(gap.predicted_ratio):.4g} "
            f"(p {float(gap.loss_p_value):.3g}, seen from {float(gap.detectable_ratio):.3g})",
            "mixing": mixed,
        }
        title = "consistent"
        if failed:
            title = "NOT consistent: " + ", ".join(failed)
        elif open_:
            title = "too few to tell: " + ", ".join(open_)
        rows = [f"Confrontation: {title} (level {self.level:g})"]
        for part, text in lines.items():
            mark = "FAIL" if part in failed else "?" if part in open_ else "ok"
            rows.append(f"  {mark:4s} {part:8s} {text}")
            if why := failed.get(part, open_.get(part)):
                rows.append(f"       {'':8s} {why}")
        return "\n".join(rows)


def _from(what: str, detectable: Array, scale: Array | float) -> str:
    """The smallest value that is detected, beside the largest possible one."""
    seen = f"{float(detectable):.3g}"
    return (
        f"too few to tell: {what} is seen from {seen} on, of {float(scale):.3g}; take more neurons"
    )


@typed
def confront(
    background: Training | FixedPoint | Probe,
    foreground: Foreground | Training | Particles | None = None,
    *,
    key: Key,
    law: FixedPoint | Probe | Particles | None = None,
    level: Fraction = 1e-3,
    permutations: Count = 999,
) -> Confrontation:
    """Compare independent neurons in a background with the neurons of the background.

    All four parts are always measured, because each alone can pass for a wrong reason: a net whose
    neurons hardly left the prior has the same cloud as neurons that learned nothing.

    The noise of functions: riders and the neurons of a net feel one field, so that to first
    order what the net makes of its own fluctuations cancels in `δ = f_fg - f_bg`: it has the mean 0
    and the covariance `Σ = C_fg/M + C_bg/N`, `C = Cov(h)` over neurons, of independent samples of
    `M` and `N`. Against a fixed point or probe `Σ = C_fg/M`. `|δ|²` is compared with draws of
    `N(0, Σ)`, the covariances those of the samples; so are losses, `½|f_bg + δ - y|²`.

    Mixing is judged by memory of the first frame (see `mixing`), of riders and net, unless the
    dynamics is an optimiser, and by the `law`. Without frames or law it is not known, and fails.

    Args:
        background: A trained net, with its neurons as cloud and function; or a `FixedPoint` or
            `Probe`, with draws of its law and the function of its background.
        foreground: Neurons in it: a `Foreground` (of `replay`, `foreground`), the riders of a
            `Training` (of the background itself if left out), or bare coordinates.
        law: Of which the neurons should be draws. Draws of it (from its nodes if four times as many
            carry it, else `tempered` ones; or these, if coordinates are given) are compared with
            the foreground. Batches heat a run above its `temperature`.
        level: p-value at or below which a part fails.
        permutations: Of the tests of clouds.

    Raises:
        DeclarationError: A net that is no `SelfConsistency`, a training without riders, a level
            that `permutations` cannot reach, or clouds of different coordinates.
        RunError: If tempered draws failed.
    """
    check_permutations(level, permutations)
    problem = alike("background", background.problem)
    keys = jax.random.split(key, 6)
    riders, moved, flows = _riders(background, foreground)
    sample = net_mixing = None
    if isinstance(background, Training):
        net, values, cloud = background.net, None, background.net
        net_mixing = _mixing(background, background.net_frames)
    else:
        net, values = None, background.background.values
        cloud = sample = _sample(background, riders, keys[0])
    if law is not None:
        sample = law if isinstance(law, dict) else _sample(law, riders, keys[0])
    _same(riders, cloud, "foreground")
    ours, theirs = points_of(riders), points_of(cloud)
    power = {"permutations": permutations, "level": level}
    checked = None
    if sample is not None:
        _same(sample, cloud, "law")
        checked = energy_distance(ours, points_of(sample), key=keys[2], **power)
    return Confrontation(
        energy=energy_distance(ours, theirs, key=keys[3], **power),
        kernel=kernel_distance(ours, theirs, key=keys[4], **power),
        sliced=sliced_wasserstein(ours, theirs, key=keys[5]),
        # so many draws that two-sided p-values have the same floor
        gap=gap_of(problem, riders, net, values, keys[1], 2 * permutations + 1, level),
        mixing=moved,
        net_mixing=net_mixing,
        law=checked,
        level=level,
        flows=flows,
    )


def _riders(background, foreground) -> tuple[Particles, Mixing | None, bool]:
    """Foreground neurons, how they mixed (if known), and whether an optimiser moved them."""
    given = background if foreground is None else foreground
    if isinstance(given, dict):
        run = background if isinstance(background, Training) else None
        return given, None, run is not None and isinstance(run.dynamics, Descent)
    if isinstance(given, FixedPoint | Probe) or given.riders is None:
        raise DeclarationError(
            "foreground",
            got="a background without riders" if foreground is None else "no riders",
            expected="neurons that moved in the background",
            mend="pass train(..., riders=...), or the result of replay or foreground",
        )
    flows = isinstance(given.dynamics, Descent)
    return given.riders, _mixing(given, given.rider_frames), flows


def _mixing(run: Foreground | Training, frames: Particles) -> Mixing | None:
    """How neurons mixed between the frames of a run, if there are two."""
    count = jax.tree.leaves(frames)[0].shape[0]
    if count < 2:
        return None
    steps = run.steps if isinstance(run, Foreground) else len(run.loss)
    dt = run.dynamics.dt if isinstance(run.dynamics, Langevin) else 1.0
    return mixing(frames, (steps // count) * dt)


def _sample(law: FixedPoint | Probe, like: Particles, key) -> Particles:
    probe = law.law if isinstance(law, FixedPoint) else law
    if probe is None:
        raise DeclarationError(
            "background",
            got="a fixed point of a closed form, without a law to draw from",
            expected="a law over weights",
            mend="solve without `cumulant=`",
        )
    count = max(jax.tree.leaves(like)[0].shape[0], 16)
    if float(probe.ess) >= NODES * count:
        return probe.draw(key, count)
    return tempered(probe, count, key=key)


def _same(a: Particles, b: Particles, argument: str) -> None:
    shapes = [{k: v.shape[1:] for k, v in each.items()} for each in (a, b)]
    if shapes[0] != shapes[1]:
        raise DeclarationError(
            argument,
            got=f"coordinates {shapes[0]}",
            expected=f"{shapes[1]}, as of the background",
            mend="pass unconstrained coordinates of the same neuron",
        )
