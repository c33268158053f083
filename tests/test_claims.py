"""Claims as values: their verdicts, their false alarms, their counterexamples."""

import enum
import fractions
import functools
import importlib
import math
import sys
from fractions import Fraction
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from hypothesis import strategies as st

import boltzax
import boltzax as bx
from boltzax import testing
from boltzax.testing import Claim

KEY = jax.random.key(0)


def mean_of(truth: float, key: jax.Array, draws: int) -> bx.Estimate:
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return bx.Estimate.of_samples(truth + rng.normal(size=draws), exact=True)


def test_equal_cases_of_a_sequence_are_measured_apart():
    """They are replicates: each has a key of its own, and the first the key of a single case."""
    met = []

    def check(case, *, key, effort):
        met.append(jax.random.key_data(key).tolist())
        return bx.Estimate.exact(0.0)

    def examined(domain):
        met.clear()
        Claim("0 is small", "planted", domain, check, low=-1.0, high=1.0).examine(key=KEY)
        return list(met)

    many = examined([1, 2, 1, 1])
    assert len({tuple(each) for each in many}) == 4
    assert many[:2] == examined([1, 2])


def test_outcomes_of_an_exact_claim():
    square = Claim("x² is at least 0", "algebra", st.floats(-9, 9), lambda x, **_: exact(x**2))
    report = square.examine(key=KEY, cases=30)
    assert (report.outcome, report.counterexample) == ("supported", "")
    assert report.holds_on == pytest.approx(0.05 ** (1 / report.cases))
    cube = Claim("x³ is at least 0", "wrong", st.integers(-99, 99), lambda x, **_: exact(x**3))
    report = cube.examine(key=KEY)
    assert (report.outcome, report.counterexample) == ("refuted", "-1")  # shrunk
    assert "counterexample: -1" in repr(report) and report.row()["outcome"] == "refuted"
    for each in (square.examine(key=KEY, cases=30), report):  # no errors, no rate
        assert each.row()["level"] is None and "at most 0.01" not in repr(each)


def exact(value: float) -> bx.Estimate:
    return bx.Estimate.exact(float(value))


def test_work_is_spent_where_a_case_is_not_decided():
    efforts = []

    def check(truth, *, key, effort):
        efforts.append(effort)
        return mean_of(truth, key, 50 * effort)

    claim = Claim("the mean is at least 0", "planted", [3.0, 0.3], check)
    report = claim.examine(key=KEY, efforts=(1, 8, 64))
    assert report.outcome == "supported" and efforts[0] == 1 and 8 in efforts[1:]
    assert report.case == 0.3
    assert report.row()["level"] == 0.01 and "probability at most 0.01" in repr(report)
    unsure = Claim("the mean is at least 0", "planted", [0.0], check)
    report = unsure.examine(key=KEY, efforts=(1, 2))
    assert (report.outcome, report.undecided) == ("undecided", 1)
    equal = Claim("the mean is 0.2", "planted", [0.2], check, low=0.1, high=0.3)
    assert equal.examine(key=KEY, efforts=(1, 100)).outcome == "supported"
    assert equal.examine(key=KEY, efforts=(1,)).outcome == "undecided"


def test_a_true_claim_at_its_bound_is_refuted_rarely():
    """Of 200 claims that hold with equality at most 5% are refuted at a first look, at level .05.

    Most of these are not refuted again: those are undecided, and no case is.
    """
    claim = Claim(
        "the mean is at least 0", "planted", range(5),
        lambda _, *, key, effort: mean_of(0.0, key, 40 * effort),
    )  # fmt: skip
    reports = [claim.examine(key=jax.random.key(i), efforts=(1, 2), level=0.05) for i in range(200)]
    alarms = [each for each in reports if each.outcome != "supported" and not each.undecided]
    assert len(alarms) <= 10
    assert sum(each.outcome == "refuted" for each in alarms) <= 3


def test_shrinking_does_not_lose_a_counterexample():
    """The smallest case that is refuted owes it to chance, and half of them are not again."""

    def check(size, *, key, effort):
        return mean_of(-size / 200, key, 50 * effort)

    claim = Claim("the mean is at least 0", "false", st.integers(0, 1000), check)
    reports = [claim.examine(key=jax.random.key(i), cases=10, efforts=(1, 4)) for i in range(12)]
    assert {each.outcome for each in reports} == {"refuted"}
    assert sum(each.case < 100 for each in reports) > 6  # small: of 0 to 1,000


def test_a_test_for_pytest():
    holds = Claim("x² is at least 0", "algebra", [1.0, 2.0], lambda x, **_: exact(x**2))
    fails = Claim("x is at most 1", "wrong", [1.0, 2.0], lambda x, **_: exact(1 - x))
    holds.test(key=KEY)()
    assert holds.examine(key=KEY).holds_on == 1 and "all of them" in repr(holds.examine(key=KEY))
    fails.test(key=KEY, expected="refuted")()
    with pytest.raises(AssertionError, match="counterexample: 2.0"):
        fails.test(key=KEY)()


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "case",
    [
        *(Fraction(1, 3), Path("a"), np.dtype(int), Colour.RED, complex(0, math.nan)),
        *(np.array(["nan", "b"]), jnp.zeros((0, 3)), jnp.array([1.0, complex(0, math.nan)])),
        *(np.float32(0.1), np.int8(100), {np.int8(4): 1}, jax.random.key(3, impl="rbg")),
    ],
    ids=lambda case: type(case).__name__,
)
def test_cases_of_any_class_are_examined_and_pasted(case):
    claim = Claim("1 is at least 0", "planted", [case], lambda case, **_: exact(1))
    assert claim.examine(key=KEY).outcome == "supported"
    if not isinstance(case, np.dtype | Path):
        names = {
            "numpy": np,
            "fractions": fractions,
            "tests": sys.modules["tests"],
            "jnp": jnp,
            "jax": jax,
        }
        names |= {"Fraction": Fraction}
        assert repr(eval(_text(case), names)) == repr(case)


@pytest.mark.parametrize("domain", [[], st.nothing(), st.integers().filter(lambda n: False)])
def test_a_domain_without_cases_is_refused(domain):
    claim = Claim("1 is at least 0", "planted", domain, lambda case, **_: exact(1))
    with pytest.raises(bx.DeclarationError, match="domain"):
        claim.examine(key=KEY)


def test_counterexamples_can_be_pasted():
    measure = bx.GaussianMeasure(dim=2, order=8)
    for value in (
        measure,
        jnp.tanh,
        KEY,
        bx.Normal(0.0, 2.0),
        {"a": [jnp.arange(3.0), (1, np.float64(2))]},
    ):
        text = _text(value)
        made = eval(text, {"bx": bx, "jnp": jnp, "jax": jax, "numpyro": numpyro})
        assert _text(made) == text
    assert _text(measure).startswith("bx.GaussianMeasure(dim=2")
    assert _text(np.array([1.0, -np.inf])) == "jnp.array([1.0, -jnp.inf], jnp.float64)"
    assert _text(functools.partial(jnp.sum, axis=0)) == "functools.partial(jnp.sum, axis=0)"
    assert "<" in _text(lambda x: x)  # has no name: Python does not take it


@pytest.mark.parametrize(
    "domain", [testing.models(), testing.priors(), testing.energies(), testing.gibbs_measures()]
)
def test_declarations_that_a_claim_is_about_can_be_pasted(domain):
    """The counterexample as it is printed makes an equal one, also where a key made it."""
    claim = Claim("never", "planted", domain, lambda case, **_: exact(-1.0))
    report = claim.examine(key=KEY, cases=2)
    names = {"bx": bx, "boltzax": boltzax, "jnp": jnp, "jax": jax, "importlib": importlib}
    made = eval(report.counterexample, names)
    assert eqx.tree_equal(made, report.case)
    assert " at 0x" not in report.counterexample  # the same in the next process


def test_fields_that_a_class_does_not_have_are_refused():
    with pytest.raises(bx.DeclarationError, match="activations"):
        testing.with_fields(bx.models.TwoLayer, activations=jnp.tanh)


def _text(value) -> str:
    fails = Claim("never", "planted", [value], lambda case, **_: exact(-1.0))
    return fails.examine(key=KEY).counterexample


def test_wrong_claims_are_refused():
    with pytest.raises(bx.DeclarationError, match="tolerance"):
        Claim("equal", "planted", [1], lambda x, **_: exact(x), low=1.0, high=1.0)
    plain = Claim("a number", "planted", [1], lambda x, **_: x)
    with pytest.raises(bx.DeclarationError, match="Estimate"):
        plain.examine(key=KEY)
    raising = Claim("a raise", "planted", [1], lambda x: exact(x))
    with pytest.raises(bx.DeclarationError, match="check"):
        raising.examine(key=KEY)
    with pytest.raises(bx.DeclarationError, match="rising"):
        plain.examine(key=KEY, efforts=(4, 1))
    empty = Claim("no number", "planted", [1], lambda x, **_: bx.Estimate.exact(np.zeros(0)))
    with pytest.raises(bx.DeclarationError, match="check"):
        empty.examine(key=KEY)
    with pytest.raises(bx.DeclarationError, match="domain"):
        Claim("none", "planted", [], lambda x, **_: exact(x)).examine(key=KEY)


def test_false_alarms_of_few_replicates():
    """Of 200 claims that hold with equality at most 5% are refuted at level .05 (P < .01 else)."""

    def check(case, *, key, effort):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return bx.Estimate.of_replicates(rng.normal(size=4 * effort))

    claim = Claim("the mean is at least 0", "planted", [0, 1], check)
    outcomes = [
        claim.examine(key=jax.random.key(i), efforts=(1, 2), level=0.05).outcome for i in range(200)
    ]
    assert outcomes.count("refuted") <= 12


def test_counts_decide_and_a_limit_does_not():
    def check(hits, **_):
        return bx.Estimate.of_hits(hits, 40, log=True)

    rare = Claim("log p is at most -0.3", "planted", [2, 3], check, low=-30.0, high=-0.3)
    assert rare.examine(key=KEY).outcome == "supported"
    none = Claim("log p is at most -0.3", "planted", [0], check, low=-30.0, high=-0.3)
    assert none.examine(key=KEY).outcome == "undecided"


def test_a_run_that_fails_decides_nothing():
    def check(case, *, key, effort):
        if effort < 4:
            raise bx.RunError("too short", None)
        return exact(case)

    claim = Claim("x is at least 0", "planted", [1.0], check)
    assert claim.examine(key=KEY).outcome == "supported"
    assert claim.examine(key=KEY, efforts=(1,)).outcome == "undecided"


BROKEN = {
    "chains disagree": {"r_hat": 1.06},
    "too few draws for an r_hat": {"r_hat": math.nan},
    "no draw": {"ess": 0.0},
    "negative error": {"standard_error": -0.1},
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("value", [-9.0, 9.0])
def test_numbers_of_runs_that_went_wrong_decide_nothing(value, broken):
    """Beside a number that is known well they leave a support undecided, not a refutation."""
    good = {"value": value, "standard_error": 0.1, "ess": 9.0, "r_hat": 1.04}

    def examined(*numbers):
        found = bx.Estimate(**{name: jnp.array([each[name] for each in numbers]) for name in good})
        claim = Claim("x is positive", "planted", [0], lambda case, **_: found)
        return claim.examine(key=KEY)

    outcome = "supported" if value > 0 else "refuted"
    bad = good | BROKEN[broken]
    report = examined(bad)
    assert report.outcome == "undecided" and "sample longer" in repr(report)
    assert examined(good).outcome == outcome
    assert examined(good, bad).outcome == ("undecided" if value > 0 else "refuted")


def test_a_row_is_of_the_number_nearest_to_a_bound():
    claim = Claim(
        "x is at most 1", "planted", [0.0],
        lambda case, **_: bx.Estimate.exact(np.array([0.9, -3.0, 1.5])), low=-9.0, high=1.0,
    )  # fmt: skip
    row = claim.examine(key=KEY).row()
    assert (row["outcome"], row["value"], row["lower"], row["upper"]) == ("refuted", 1.5, 1.5, 1.5)


def test_all_numbers_of_an_array_are_claimed_and_share_the_level():
    """2.37 errors below a bound refute one number (2.24 are enough), and not one of two (2.50)."""

    def check(size, **_):
        noise = np.tile([1.0, -1.0], 5000) - 2.37 / 100
        return bx.Estimate.of_samples(np.tile(noise[:, None], size), exact=True)

    def outcome(size, low):
        claim = Claim("the means are at least low", "planted", [size], check, low=low)
        return claim.examine(key=KEY, efforts=(1,), level=0.05)

    assert [outcome(size, 0.0).outcome for size in (1, 2)] == ["refuted", "undecided"]
    assert "each of 2 numbers" in repr(outcome(2, 0.0))
    assert "numbers" not in repr(outcome(1, 0.0))
    assert outcome(2, -0.1).outcome == "supported"
    one = Claim(
        "x is at least 0", "planted", [0], lambda _, **k: bx.Estimate.exact(np.array([1.0, -1.0]))
    )
    assert one.examine(key=KEY).outcome == "refuted"
