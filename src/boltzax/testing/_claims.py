"""Claims as values: a statement, its source, where it is said to hold, and how that is measured."""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import equinox as eqx
import jax
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy

from ..core import (
    Count,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    RunError,
    Said,
    errors_named,
    student_factor,
    text_of_values,
    typed,
)
from ._pasted import pasted

Outcome: TypeAlias = Literal["supported", "refuted", "undecided"]
Domain: TypeAlias = Annotated[
    SearchStrategy | Sequence,
    Said("a hypothesis strategy, or a sequence of cases", "pass e.g. [1, 2, 4]"),
]
Efforts: TypeAlias = Annotated[
    Sequence[int], Said("rising whole numbers, such as (1, 4, 16)", "pass the factors of the work")
]
MEASURES = "a function of a case, key=... and effort=... that gives an Estimate"
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
CONFIDENCE = 0.95
"""With which a report says on how much of the domain a claim holds."""
AGREE = 1.05
"""The largest r_hat of chains that agree."""


class _Refuted(AssertionError):
    """A case that contradicts a claim, for hypothesis to shrink."""


@typed
class Claim(eqx.Module):
    """A statement about every case of a domain, and a measurement that can contradict it.

    `check(case, key=..., effort=...)` measures an `Estimate` for one case; the claim says that all
    its numbers lie in `[low, high]`, each one if it is an array. `effort` is a factor of the work:
    a sampled check multiplies its draws by it, an exact one ignores it.

    Args:
        statement: What is claimed, in words.
        source: Who claims it: a paper with its equation, or a document.
        domain: The cases: a hypothesis strategy, or a sequence.
        check: What is measured, a function of a case, a `key` and an `effort`.
        low: The least value that the claim allows.
        high: The greatest value that the claim allows. An equality is a `low` and a `high` that are
            a tolerance apart: no draws can support an equality to all digits.
    """

    statement: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    domain: Domain
    check: Callable = eqx.field(static=True)
    low: float = 0.0
    high: float = math.inf

    def __check_init__(self):
        if not self.low < self.high:
            raise DeclarationError(
                "low",
                got=f"{self.low:g}, and high={self.high:g}",
                expected="low below high",
                mend="give an equality a tolerance, low=-0.01, high=0.01",
            )

    def examine(
        self,
        *,
        key: Key,
        cases: Count = 20,
        efforts: Efforts = (1, 4, 16),
        level: Fraction = 0.01,
    ) -> "ClaimReport":
        """Measure case after case, and say what they tell.

        Each case is measured with the first effort, and with the next one as long as its interval
        holds a bound. A claim is `refuted` by one case whose interval lies outside of the bounds,
        and does so again with a fresh key; of such cases that hypothesis finds the smallest is kept
        which is refuted again. It is `supported` if the intervals of all cases lie within the
        bounds, else `undecided`. A run that fails (`RunError`) decides nothing, nor does a number
        whose chains disagree (r_hat above 1.05), without a draw (ess 0), or of a negative error.

        The probability that a true claim is refuted is at most `level`: each look at each number of
        a case has a share of it (Bonferroni). Numbers without an error give no such probability:
        the report of a claim with no others has none.

        Args:
            key: Of the measurements; the cases are the same at every call.
            cases: How many are drawn from a strategy; a sequence is gone through.
            efforts: Factors of the work, in the order in which they are tried.
            level: Probability of a false refutation.

        Returns:
            A `ClaimReport`.

        Raises:
            DeclarationError: For a check that gives no `Estimate` or an empty one, an empty domain,
                and efforts that do not rise from at least 1.
        """
        if list(efforts) != sorted({int(each) for each in efforts}) or not min(efforts, default=0):
            raise DeclarationError(
                "efforts",
                got=str(tuple(efforts)),
                expected="rising whole numbers from at least 1",
                mend="pass e.g. (1, 4, 16)",
            )
        count = len(self.domain) if isinstance(self.domain, Sequence) else cases
        if not count:
            raise _no_case()
        share = level / (count * len(efforts) * 2)
        first, second = jax.random.split(key)
        seen: list[tuple[Outcome, Estimate, Any]] = []

        def judged(case: Any, repeat: int = 0) -> Outcome:
            own = jax.random.fold_in(first, repeat) if repeat else first
            seen.append((*self._judged(case, own, efforts, share), case))
            return seen[-1][0]

        try:
            met = Counter[str]()
            for case in self._cases(judged, count):
                text = pasted(case)
                if judged(case, met[text]) == "refuted":
                    raise _Refuted
                met[text] += 1
        except _Refuted:
            found = [case for outcome, _, case in seen if outcome == "refuted"]
            again, confirmed, case = self._confirmed(found, second, efforts, share)
            outcome: Outcome = "refuted" if again == "refuted" else "undecided"
            rate = level if any(_has_error(each) for _, each, _ in seen) else None
            return ClaimReport(self, outcome, len(seen), 0, confirmed, case, rate)
        undecided = sum(outcome == "undecided" for outcome, *_ in seen)
        _, worst, case = min(seen, key=lambda each: self._rooms(each[1]).min())
        outcome = "undecided" if undecided else "supported"
        rate = level if any(_has_error(each) for _, each, _ in seen) else None
        return ClaimReport(self, outcome, len(seen), undecided, worst, case, rate)

    def test(
        self, *, key: Key, expected: Outcome = "supported", cases: Count = 20
    ) -> Callable[[], None]:
        """A test for pytest that fails unless the outcome is the expected one.

        `test_name = claim.test(key=jax.random.key(0))`, at the level of a file of tests.

        Args:
            key: See `examine`.
            expected: The outcome; "refuted" keeps a counterexample alive.
            cases: See `examine`.
        """

        def test_claim() -> None:
            report = self.examine(key=key, cases=cases)
            assert report.outcome == expected, repr(report)

        test_claim.__doc__ = self.statement
        return test_claim

    def _cases(self, judged: Callable, count: int) -> Iterable:
        """The cases of a sequence; those of a strategy are judged here, and shrunk.

        Of equal cases in a sequence each has a key of its own.
        """
        if isinstance(self.domain, Sequence):
            return self.domain

        @settings(
            max_examples=count, database=None, deadline=None, derandomize=True, phases=PHASES,
            suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
        )  # fmt: skip
        @given(case=self.domain)
        def draw(case: Any) -> None:
            if judged(case) == "refuted":
                raise _Refuted

        try:
            draw()
        except Unsatisfiable as error:
            raise _no_case() from error
        return ()

    def _confirmed(
        self, found: list, key: jax.Array, efforts: Sequence[int], share: float
    ) -> tuple[Outcome, Estimate, Any]:
        """The smallest case that is refuted again, and its second measurement.

        The smallest of all is the one that chance helped most, and may not be: then that 2, 4, 8
        places before it in the shrinking, and at last the first.
        """
        places = [2**power for power in range(len(found).bit_length()) if 2**power < len(found)]
        for place in (*places, len(found)):
            case = found[-place]
            outcome, estimate = self._judged(case, key, efforts, share)
            if outcome == "refuted":
                break
        return outcome, estimate, case

    def _judged(
        self, case: Any, key: jax.Array, efforts: Sequence[int], share: float
    ) -> tuple[Outcome, Estimate]:
        """What the intervals of a case say, at the first effort that decides.

        The key is a function of the case, so that hypothesis finds the same again.
        """
        key = jax.random.fold_in(key, zlib.crc32(pasted(case).encode()))
        found = Estimate.exact(math.nan)
        for number, effort in enumerate(efforts):
            with errors_named("check", expected=MEASURES, mend=f"try it with {pasted(case)}"):
                try:
                    found = self.check(case, key=jax.random.fold_in(key, number), effort=effort)
                except RunError:
                    continue
            if not isinstance(found, Estimate) or not np.size(found.value):
                raise DeclarationError(
                    "check",
                    got=f"{found!r}, for the case {case!r}",
                    expected=MEASURES,
                    mend="return Estimate.exact(value) for a number without error",
                )
            lower, upper = _interval(found, 1 - share / np.size(found.value))
            known = _measured(found)
            lower, upper = np.where(known, lower, -np.inf), np.where(known, upper, np.inf)
            if np.any((lower > self.high) | (upper < self.low)):
                return "refuted", found
            if np.all((lower >= self.low) & (upper <= self.high)):
                return "supported", found
        return "undecided", found

    def _rooms(self, found: Estimate) -> np.ndarray:
        """Distance of each number's interval to the bounds; negative outside, -inf if not known."""
        lower, upper = (np.ravel(np.asarray(end)) for end in found.interval())
        with np.errstate(invalid="ignore"):  # inf at a bound of inf
            room = np.minimum(lower - self.low, self.high - upper)
        return np.where(np.isnan(room) | ~np.ravel(_measured(found)), -np.inf, room)


def _no_case() -> DeclarationError:
    return DeclarationError("domain", got="no case", expected="at least one", mend="add cases")


def _has_error(found: Estimate) -> bool:
    return found.bounds is not None or bool(np.any(np.asarray(found.standard_error) != 0))


def _measured(found: Estimate) -> np.ndarray:
    """The numbers that come of chains that agree, with a draw and an error that is one."""
    error, ess, r_hat = (np.asarray(x) for x in (found.standard_error, found.ess, found.r_hat))
    return (error >= 0) & (ess > 0) & (r_hat <= AGREE)


def _interval(found: Estimate, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The interval at any level.

    Stored bounds (replicates, counts) are those of 95%: their distances to the value grow as the
    quantiles of Student's t with `ess - 1` degrees of freedom do. Those of a limit are infinite.
    """
    if found.bounds is None:
        lower, upper = found.interval(level)
        return np.asarray(lower), np.asarray(upper)
    counts = np.clip(np.asarray(found.ess), 2, 1e9).astype(int)
    stretch = np.vectorize(lambda n: student_factor(n, level) / student_factor(n))(counts)
    value = np.asarray(found.value)
    lower, upper = (np.asarray(end) for end in found.interval())
    limit = ~np.isfinite(value)
    with np.errstate(invalid="ignore"):
        return (
            np.where(limit, -np.inf, value - stretch * (value - lower)),
            np.where(limit, np.inf, value + stretch * (upper - value)),
        )


@typed
class ClaimReport(eqx.Module):
    """What the cases say of a claim.

    Args:
        claim: The claim.
        outcome: `"supported"`, `"refuted"` or `"undecided"`.
        cases: How many cases were measured, those of the shrinking included.
        undecided: How many of them were not decided by the greatest effort.
        worst: The counterexample's measurement, or that of the case nearest to a bound.
        case: That case.
        level: Probability that a true claim is refuted; None if no number has an error.
    """

    claim: Claim
    outcome: Outcome = eqx.field(static=True)
    cases: int = eqx.field(static=True)
    undecided: int = eqx.field(static=True)
    worst: Estimate
    case: Any
    level: float | None = eqx.field(static=True)

    @property
    def holds_on(self) -> float:
        """Share of the domain, as it is drawn, on which a supported claim holds (95% confidence).

        `0.05^(1/cases)`: with a smaller share so many cases without a counterexample are drawn with
        a probability of less than 5%. Of a sequence every case was looked at: 1.
        """
        if self.outcome == "supported" and isinstance(self.claim.domain, Sequence):
            return 1.0
        return (1 - CONFIDENCE) ** (1 / self.cases) if self.outcome == "supported" else 0.0

    @property
    def counterexample(self) -> str:
        """The case that refutes the claim, as Python that makes it; empty if there is none."""
        return pasted(self.case) if self.outcome == "refuted" else ""

    def row(self) -> dict[str, Any]:
        """A row of a ledger: strings and numbers, of the number that is nearest to a bound.

        `lower` and `upper` are the ends of its 95% interval.
        """
        worst = int(np.argmin(self.claim._rooms(self.worst)))
        lower, upper = (np.ravel(np.asarray(end)) for end in self.worst.interval())
        return {
            "statement": self.claim.statement,
            "source": self.claim.source,
            "outcome": self.outcome,
            "cases": self.cases,
            "undecided": self.undecided,
            "value": float(np.ravel(np.asarray(self.worst.value))[worst]),
            "standard_error": float(np.ravel(np.asarray(self.worst.standard_error))[worst]),
            "lower": float(lower[worst]),
            "upper": float(upper[worst]),
            "low": self.claim.low,
            "high": self.claim.high,
            "case": pasted(self.case),
            "level": self.level,
        }

    @text_of_values
    def __repr__(self) -> str:
        allowed = f"[{self.claim.low:g}, {self.claim.high:g}]"
        lines = [f"{self.outcome}: {self.claim.statement} ({self.claim.source})"]
        where = "counterexample" if self.outcome == "refuted" else "nearest to a bound"
        count = np.size(self.worst.value)
        allowed += f", each of {count} numbers" if count > 1 else ""
        lines.append(f"{where}: {pasted(self.case)}: {self.worst!r}, claimed in {allowed}")
        if self.outcome == "supported":
            share = f"more than {100 * self.holds_on:.0f}% of the domain (95% confidence)"
            share = "all of them" if self.holds_on == 1 else share
            lines.append(f"{self.cases} cases: holds on {share}")
        elif self.outcome == "undecided":
            known = np.all(_measured(self.worst))
            mend = "raise the efforts" if known else "chains disagree or are short: sample longer"
            lines.append(f"{self.undecided} of {self.cases} cases undecided: {mend}")
        if self.level is None:
            lines.append("no number has an error: no rate of false refutations")
        else:
            lines.append(f"a true claim is refuted with probability at most {self.level:g}")
        return "\n  ".join(lines)
