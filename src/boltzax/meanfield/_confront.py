"""Foreground against background: cloud, function, loss and mixing."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from ..core import DeclarationError, Estimate, typed
from ._distances import TwoSample, energy_distance, kernel_distance, sliced_wasserstein
from ._dynamics import Descent, Langevin
from ._mixing import Mixing, mixing, points_of, tempered
from ._probe import Probe
from ._problem import Particles, SelfConsistency
from ._replay import Foreground
from ._solve import FixedPoint
from ._train import Training

NODES = 4
"""Effective nodes for each draw from which the nodes of a law serve as the law itself."""


class Gap(eqx.Module):
    """The functions of foreground and background, and their losses.

    With `δ = f_fg - f_bg` and its predicted covariance `Σ`:

    Args:
        distance: `|δ|` in the norm of the measure.
        predicted: `(tr Σ)^½`.
        size: `|f_bg|`.
        z: `(|δ|² - tr Σ)/sd`.
        p_value: The chance of so large a `|δ|` for `δ ~ N(0, Σ)`.
        loss_foreground: `½|f - y|²` of the foreground.
        loss_background: `½|f - y|²` of the background.
        ratio: Of the two losses.
        predicted_ratio: `1 + tr Σ/(2 loss_background)`.
        loss_p_value: Two-sided.
    """

    distance: Float[Array, ""]
    predicted: Float[Array, ""]
    size: Float[Array, ""]
    z: Float[Array, ""]
    p_value: Float[Array, ""]
    loss_foreground: Float[Array, ""]
    loss_background: Float[Array, ""]
    ratio: Float[Array, ""]
    predicted_ratio: Float[Array, ""]
    loss_p_value: Float[Array, ""]


class Agreement(eqx.Module):
    """Whether foreground neurons are those of the background, in four parts.

    `failures` names the parts that failed and why; `consistent` if there are none. Each p-value is
    at most `level` by chance in a share `level` of confrontations (five of them at most).

    Args:
        energy: Distances of the clouds with p-values.
        kernel: Distances of the clouds with p-values.
        sliced: A third, without.
        gap: Functions and losses against their predicted noise.
        mixing: Of the foreground (None where there are no frames).
        net_mixing: Of the net (None where there are no frames).
        law: Energy distance of the foreground to draws of the law that a neuron should have.
        level: p-values at or below it speak against agreement.
    """

    energy: TwoSample
    kernel: TwoSample
    sliced: Estimate
    gap: Gap
    mixing: Mixing | None
    net_mixing: Mixing | None
    law: TwoSample | None
    level: float = eqx.field(static=True)
    flows: bool = eqx.field(static=True)

    @property
    def failures(self) -> dict[str, str]:
        """By part (`cloud`, `function`, `loss`, `mixing`), what speaks against it."""
        found = {}
        if self._low(self.energy.p_value) or self._low(self.kernel.p_value):
            found["cloud"] = "the neurons have another law than those of the background"
        if self._low(self.gap.p_value):
            found["function"] = "the functions differ by more than the sampling of neurons"
        if self._low(self.gap.loss_p_value):
            found["loss"] = "the losses differ by more than the sampling of neurons"
        if why := self._not_mixed():
            found["mixing"] = why
        return found

    def _low(self, p_value: Array) -> bool:
        # not a number is low; the floor of a p-value may be rounded up in float32
        return not float(p_value) > self.level * (1 + 1e-5)

    def _not_mixed(self) -> str:
        if self.law is not None and self._low(self.law.p_value):
            return "the neurons have not the law that they should"
        if self.flows:
            return ""
        for name, each in (("neurons", self.mixing), ("net's neurons", self.net_mixing)):
            if each is not None and not each.forgotten:
                return f"the {name} remember where they were: frozen, or too short a run"
        if self.mixing is None and self.law is None:
            return "not known: keep frames (frames=10), or pass law="
        return ""

    @property
    def consistent(self) -> bool:
        """Whether all four parts agree."""
        return not self.failures

    def __repr__(self) -> str:
        if not eqx.is_array(self.gap.distance) or isinstance(self.gap.distance, Tracer):
            return "Agreement(...)"
        failed, gap = self.failures, self.gap
        mixed = "an optimiser: nothing to mix" if self.flows else repr(self.mixing)
        if self.law is not None:
            mixed += f"; to draws of the law {self.law!r}"
        lines = {
            "cloud": f"energy distance {self.energy!r}, kernel {self.kernel!r}, "
            f"sliced Wasserstein {float(self.sliced.value):.3g}",
            "function": f"apart by {float(gap.distance):.3g} of {float(gap.size):.3g}, predicted "
            f"{float(gap.predicted):.3g} (z {float(gap.z):.2g}, p {float(gap.p_value):.3g})",
            "loss": f"{float(gap.loss_foreground):.4g} to {float(gap.loss_background):.4g}, ratio "
            f"{float(gap.ratio):.4g}, predicted {float(gap.predicted_ratio):.4g} "
            f"(p {float(gap.loss_p_value):.3g})",
            "mixing": mixed,
        }
        title = "consistent" if not failed else "NOT consistent: " + ", ".join(failed)
        rows = [f"Agreement: {title} (level {self.level:g})"]
        for part, text in lines.items():
            rows.append(f"  {'FAIL' if part in failed else 'ok':4s} {part:8s} {text}")
            if part in failed:
                rows.append(f"       {'':8s} {failed[part]}")
        return "\n".join(rows)


@typed
def confront(
    background: Training | FixedPoint | Probe,
    foreground: Foreground | Training | Particles | None = None,
    *,
    key: PRNGKeyArray,
    law: FixedPoint | Probe | Particles | None = None,
    level: float = 1e-3,
    permutations: int = 999,
) -> Agreement:
    """Whether independent neurons in a background are what the background is made of.

    Four parts, all always measured, as any of them alone can be fooled: a net whose neurons hardly
    left the prior has the cloud of neurons that learned nothing.

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
    if not 0 < level < 1 or (1 + permutations) * level < 1 - 1e-9:
        raise DeclarationError(
            "level",
            got=f"{level} with {permutations} permutations",
            expected="a number in (0, 1) that a p-value can reach, 1/(1 + permutations) or more",
            mend=f"pass permutations={math.ceil(1 / level) - 1 if 0 < level < 1 else 999}",
        )
    problem = background.problem
    if not isinstance(problem, SelfConsistency):
        raise DeclarationError(
            "background",
            got=f"a training of {type(problem).__name__}",
            expected="one of SelfConsistency, whose neurons are all of one kind",
            mend="compare clouds with energy_distance, and functions by their outputs",
        )
    keys = jax.random.split(key, 6)
    riders = _riders(background, foreground)
    sample = net = None
    if isinstance(background, Training):
        cloud = background.net
        if jax.tree.leaves(background.net_frames)[0].shape[0] > 1:
            net = mixing(background.net_frames, _interval(background, len(background.loss)))
    else:
        cloud = sample = _sample(background, riders.cloud, keys[0])
    if law is not None:
        sample = law if isinstance(law, dict) else _sample(law, riders.cloud, keys[0])
    _same(riders.cloud, cloud, "foreground")
    ours, theirs = points_of(riders.cloud), points_of(cloud)
    # so that two-sided p-values have the same floor
    draws = 2 * permutations + 1
    if isinstance(background, FixedPoint | Probe):
        gap = _gap(problem, riders.cloud, None, background.background.values, keys[1], draws)
    else:
        gap = _gap(problem, riders.cloud, background.net, None, keys[1], draws)
    checked = None
    if sample is not None:
        _same(sample, cloud, "law")
        checked = energy_distance(ours, points_of(sample), key=keys[2], permutations=permutations)
    return Agreement(
        energy=energy_distance(ours, theirs, key=keys[3], permutations=permutations),
        kernel=kernel_distance(ours, theirs, key=keys[4], permutations=permutations),
        sliced=sliced_wasserstein(ours, theirs, key=keys[5]),
        gap=gap,
        mixing=riders.mixing,
        net_mixing=net,
        law=checked,
        level=level,
        flows=riders.flows,
    )


class Riders(NamedTuple):
    """What is known of foreground neurons."""

    cloud: Particles
    mixing: Mixing | None
    flows: bool


def _riders(background, foreground) -> Riders:
    given = background if foreground is None else foreground
    if isinstance(given, dict):
        made = isinstance(background, Training) and isinstance(background.dynamics, Descent)
        return Riders(given, None, made)
    if not isinstance(given, Foreground | Training) or given.riders is None:
        raise DeclarationError(
            "foreground",
            got="a background without riders" if foreground is None else "no riders",
            expected="neurons that moved in the background",
            mend="pass train(..., riders=...), or the result of replay or foreground",
        )
    moved = None
    frames = given.rider_frames
    if jax.tree.leaves(frames)[0].shape[0] > 1:
        steps = given.steps if isinstance(given, Foreground) else len(given.loss)
        moved = mixing(frames, _interval(given, steps))
    return Riders(given.riders, moved, isinstance(given.dynamics, Descent))


def _interval(run: Foreground | Training, steps: int) -> float | Array:
    """Time between frames of the net or riders of a run."""
    frames = run.rider_frames if isinstance(run, Foreground) else run.net_frames
    each = steps // jax.tree.leaves(frames)[0].shape[0]
    dt = run.dynamics.dt if isinstance(run.dynamics, Langevin) else 1.0
    return float(each) * dt if not eqx.is_array(dt) else each * dt


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


@eqx.filter_jit
def _gap(problem: SelfConsistency, riders, net, values, key, count: int) -> Gap:
    data, weights = problem.measure.nodes()
    x, y = jax.vmap(problem.split)(data)
    root = jnp.sqrt(weights)

    def vector(f):
        return (root[:, None] * f.reshape(len(weights), -1)).reshape(-1)

    def contributions(neurons):
        def one(neuron):
            return vector(jax.vmap(lambda datum: problem.couple(neuron, neuron, datum))(x))

        return jax.vmap(one)(neurons)

    def noise(h, key):
        """Draws of `N(0, C/M)`, and `tr C/M`."""
        size = h.shape[0]
        off = (h - jnp.mean(h, axis=0)) / (size * (size - 1.0)) ** 0.5
        return jax.random.normal(key, (count, size), h.dtype) @ off, jnp.sum(off**2)

    keys = jax.random.split(key)
    ours = contributions(riders)
    target, f = vector(y).astype(ours.dtype), jnp.mean(ours, axis=0)
    draws, trace = noise(ours, keys[0])
    if net is None:
        base = vector(values).astype(ours.dtype)
    else:
        theirs = contributions(net)
        base = jnp.mean(theirs, axis=0)
        more, added = noise(theirs, keys[1])
        draws, trace = draws + more, trace + added
    square, null = jnp.sum((f - base) ** 2), jnp.sum(draws**2, axis=1)
    before, after = 0.5 * jnp.sum((base - target) ** 2), 0.5 * jnp.sum((f - target) ** 2)
    losses = 0.5 * jnp.sum((base + draws - target) ** 2, axis=1)
    low, high = _share(losses <= after), _share(losses >= after)
    return Gap(
        distance=jnp.sqrt(square),
        predicted=jnp.sqrt(trace),
        size=jnp.linalg.norm(base),
        z=(square - trace) / jnp.std(null),
        p_value=_share(null >= square).astype(f.dtype),
        loss_foreground=after,
        loss_background=before,
        ratio=after / before,
        predicted_ratio=1 + 0.5 * trace / before,
        loss_p_value=jnp.minimum(1.0, 2 * jnp.minimum(low, high)).astype(f.dtype),
    )


def _share(reached: Array) -> Array:
    return (1 + jnp.sum(reached)) / (1 + reached.shape[0])
