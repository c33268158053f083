"""What a learning coefficient costs in gradients, and how its runs are laid out under a cap.

The unit is one gradient of the sampler at one place: of a minibatch where the measure is
`Subsampled` and the sampler takes minibatches, else over all data. Energies are counted from that
of w*, so that a gradient is a forward pass at w and at w*, and a backward pass at w. An energy is
two forward passes and counts as half; so does a step that reports no gradient. An operation over
all data counts as the minibatches that the data would fill, `n / batch_size`.
"""

import dataclasses
import math

from ..compile import Gibbs
from ..core import DeclarationError
from ..declare import AbstractDataTerm, AbstractEnergy, subsamplings
from ..sample import (
    DERIVATIVE_PLACES,
    AbstractCosted,
    AbstractGradientFree,
    AbstractKernel,
    AbstractUnadjusted,
    StepCost,
)

ENERGY = 0.5
"""An energy, in gradients over the same data."""
LEAST = 400
"""Draws a chain below which a run does not end for being precise enough."""
WARMUP = 500
"""Most trajectories of warm-up of samplers with a Metropolis test; twice that of others."""
WARM = 0.3
"""Fraction of a run's gradients that its warm-up may take."""
SHARES = (0.4, 0.3, 0.15, 0.15)
"""Fractions of the runs' gradients for each step size: the first run starts at w*, the third is
seldom needed."""
PRIOR_DRAWS = 32
"""Draws of the localising prior whose median loss is taken."""
DESCENT = 5
"""Least number of gradients over all data for a descent from w*."""
REST = 0.1
"""Largest fraction of the cap for the descent from w*, and again for the check of equilibrium."""
CHUNKS = 24
"""Pieces of a run after each of which its cost is checked."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """One run: steps of warm-up, steps between draws, draws of a chunk, the most draws."""

    warmup: int
    thin: int
    rows: int
    most: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of each operation in gradients.

    Args:
        chains: Number of chains.
        whole: Gradients of the sampler that one over all data counts as.
        trained: The same over the data that w* was trained on.
        batches: Whether energies of draws are estimated from minibatches.
        exact: Whether the sampler has a Metropolis test.
        step: Most gradients of a step after the warm-up (1 for an unknown sampler, of which the
            reported number is counted).
        warm: The same in warm-up.
        typical: Usual gradients of a step of warm-up.
        cap: The most gradients of all.
    """

    chains: int
    whole: float
    trained: float
    batches: bool
    exact: bool
    step: float
    warm: float
    typical: float
    cap: int

    @property
    def energy(self) -> float:
        """The energy of a draw: over all data, or two estimates."""
        return 2 * ENERGY if self.batches else ENERGY * self.whole

    @property
    def thin(self) -> int:
        """Steps a draw: its energy takes a fifth of the time, or less where steps are long."""
        if self.exact:
            return 1
        return 4 if self.batches else int(min(max(4 * self.energy, 8), 1000))

    @property
    def begin(self) -> float:
        """Start of a run, and the checks of its derivative (see `check_start`) and rounding."""
        derivative = 0.0 if self.exact else DERIVATIVE_PLACES * (1 + 2 * ENERGY)
        return 2.0 * self.chains + derivative + 8 * ENERGY * (1 + self.chains)

    @property
    def fixed(self) -> float:
        """Everything that is evaluated once, whatever the runs: about five passes over the data."""
        prior = PRIOR_DRAWS * ENERGY * (1.0 if self.batches else self.whole)
        return 2 * self.whole + 3 * self.trained + prior

    @property
    def descent(self) -> float:
        """What is kept for the descent from w*, for its 200 iterations at most."""
        return max(DESCENT * self.trained, min(REST * self.cap, 400 * self.trained))

    @property
    def check(self) -> float:
        """A draw in the check of equilibrium."""
        return 1.0 if self.batches else self.whole

    @property
    def runs(self) -> float:
        """What remains for the runs; up to a tenth of the cap is kept for the check."""
        check = min(REST * self.cap, 40_000 * self.check)
        return self.cap - self.fixed - self.descent - check

    @property
    def least(self) -> float:
        """The shortest run that gives any numbers."""
        return self.begin + 4 * self.chains * (self.warm + self.thin * self.step + self.energy)

    def parts(self) -> list[float]:
        """Most gradients of each run."""
        return [self.runs] if self.exact else [share * self.runs for share in SHARES]

    def layout(self, allowed: float, tuned: bool) -> Layout:
        """A run within so many gradients; `tuned` is whether it begins at a tuned step."""
        left = allowed - self.begin
        row = self.chains * (self.thin * self.step + self.energy)
        rows = max(1, min(25, int(left / (CHUNKS * row))))
        warm = min(self.typical, self.step) if tuned else self.typical
        warmup = int(WARM * left / (self.chains * warm))
        warmup = max(4, min(warmup, WARMUP if self.exact else 2 * WARMUP))
        cheapest = min(self.step, 1.0)
        most = int(left / (self.chains * (self.thin * cheapest + self.energy)))
        return Layout(warmup, self.thin, rows, max(most, 4))

    def spent(self, reported: float, steps: int, draws: int) -> float:
        """A run's gradients: those of all its steps and draws, over all chains."""
        steps_cost = max(reported, ENERGY * self.chains * steps)
        return self.begin + steps_cost + self.chains * draws * self.energy


def cost_of(
    energy: AbstractEnergy,
    gibbs: Gibbs,
    trained_on: AbstractEnergy,
    kernel: AbstractKernel,
    chains: int,
    cap: int,
) -> Cost:
    """The cost of everything.

    Energies come from minibatches where, with energies over all data, the second run could not
    have `LEAST` draws a chain.

    Args:
        energy: As declared.
        gibbs: Its localised posterior.
        trained_on: The energy that w* was trained on.
        kernel: The sampler.
        chains: Number of chains.
        cap: The most gradients, over all chains.

    Raises:
        DeclarationError: For a cap that does not allow the shortest runs, and for a sampler whose
            steps take an unknown number of evaluations.
    """
    exact = not isinstance(kernel, AbstractUnadjusted)
    ratios = [x.empirical.size / x.batch_size for x in subsamplings(energy)]
    whole = 1.0 if exact else max(ratios, default=1.0)
    trained = whole * max(_nodes(trained_on) / max(_nodes(energy), 1), 1.0)
    step, warm, typical = _steps(kernel)
    if not math.isfinite(step):
        raise DeclarationError(
            "kernel",
            got=f"{kernel!r}, of which nothing bounds the evaluations of a step"[:300],
            expected="one that keeps to max_gradients: a step with a known number of gradients",
            mend="pass e.g. bx.NUTS(), bx.SGLD(), or bx.Blackjax(blackjax.nuts)",
        )
    cost = Cost(chains, whole, trained, False, exact, step, warm, typical, cap)
    if whole > 1:
        second = (1 - WARM) * SHARES[1] * cost.runs
        dear = second < LEAST * chains * (cost.thin * step + cost.energy)
        cost = dataclasses.replace(cost, batches=dear)
    least = cap
    while min(dataclasses.replace(cost, cap=least).parts()[:2]) < cost.least:
        least = math.ceil(1.05 * least)
    if least > cap:
        raise DeclarationError(
            "max_gradients",
            got=f"{cap}, over {chains} chains",
            expected=f"at least {rounded_up(least)}, for the shortest runs and a descent from w*, "
            f"where a step takes {warm:g} gradients or less and a pass over all data counts as "
            f"{whole:g}",
            mend="raise it, or take larger batches, or shorter trajectories (max_steps of HMC)",
        )
    return cost


def growth(value: float, error: float, ess: float, r_hat: float, chains: int) -> float:
    """How many times longer the runs should be for an estimate that can be used.

    It extrapolates to 30 effective draws a chain, and to an error of a fifth of the value.
    """
    wanted = [1.0, 30 * chains / max(ess, 1.0) if math.isfinite(ess) else 30.0 * chains]
    if value and math.isfinite(error):
        wanted.append((error / (0.2 * abs(value))) ** 2)
    if not r_hat <= 1.05:
        wanted.append(2.0)
    return max(wanted)


def rounded_up(number: float) -> int:
    """To two digits, upwards."""
    unit = 10 ** max(math.floor(math.log10(max(number, 1.0))) - 1, 0)
    return int(math.ceil(number / unit) * unit)


def _nodes(energy: AbstractEnergy) -> int:
    """Data, or nodes, over all terms."""
    terms = [term for _, term in energy.terms() if isinstance(term, AbstractDataTerm)]
    return sum(term.measure.nodes()[1].shape[0] for term in terms)


def _steps(kernel: AbstractKernel) -> StepCost:
    """Gradients of a step."""
    if isinstance(kernel, AbstractGradientFree):
        return StepCost(ENERGY, ENERGY, ENERGY)
    if isinstance(kernel, AbstractCosted):
        return kernel.cost()
    if isinstance(kernel, AbstractUnadjusted):
        warm = 3.0 if kernel.step_size is None else 2.0
        return StepCost(1.0, warm, warm)
    return StepCost(1.0, 1.0, 1.0)
