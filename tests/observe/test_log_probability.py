"""Probabilities of rare events under a prior, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import boltzax as bx
from boltzax.observe._log_probability_result import of_hits

KEY = jax.random.key(5)
FEW = {"particles": 128, "moves": 8}


def first(model):
    return model.params[0]


PRIOR = bx.prior(bx.models.Function(lambda p: p[0], jnp.zeros(2)), bx.Normal())
CURVE = np.array([-1.0, 0.5, 2.0, 3.5])
RUN = bx.log_probability(PRIOR, first, CURVE, key=KEY, by="levels", keep=True, throw=False, **FEW)


@pytest.mark.parametrize(
    "by, at, more",
    [
        ("direct", 1.0, {"samples": 5000}),
        pytest.param("tempered", 2.0, {"samples": 3200, "replicates": 8}, marks=pytest.mark.slow),
    ],
)
def test_a_gaussian_tail(by, at, more):
    found = bx.log_probability(PRIOR, first, at, key=KEY, by=by, **more)
    assert found.successful and found.standard_error < 0.1
    assert abs(found.z_score(scipy.stats.norm.logsf(at))) < 4
    assert found.lower < found.value < found.upper <= 0
    np.testing.assert_allclose(found.bits, -found.value / np.log(2))


def test_one_run_gives_the_curve():
    """A t of 15 degrees of freedom is beyond 4 in a thousandth of the cases."""
    exact = scipy.stats.norm.logsf(CURVE)
    assert RUN.successful and np.all(np.abs(RUN.z_score(exact)) < 4)
    assert np.all(np.asarray(RUN.standard_error) < 2 * np.asarray(RUN.naive_error))
    assert np.all(np.diff(RUN.value) < 0) and np.all(np.asarray(RUN.upper) <= 0)
    runs = np.exp(np.asarray(RUN.replicates))
    np.testing.assert_allclose(np.log(runs.mean(axis=0)), RUN.value, rtol=1e-12)
    last = RUN[-1]
    assert last.value == RUN.value[-1] and len(list(RUN)) == 4
    assert repr(RUN).startswith("LogProbability over the level[\n         -1: ")
    assert "levels" in repr(RUN) and repr(last).startswith(f"{float(last.value):.5g}")


def test_the_order_of_the_levels_does_not_matter():
    run = bx.log_probability(
        PRIOR, first, CURVE[::-1], key=KEY, by="levels", keep=True, throw=False, **FEW
    )
    np.testing.assert_array_equal(run.value, RUN.value[::-1])
    np.testing.assert_array_equal(run.replicates, RUN.replicates[:, ::-1])
    for above, highest in ((RUN.above, RUN.replicates[:, 3]), (run.above, run.replicates[:, 0])):
        np.testing.assert_array_equal(above[2], highest)
    assert run.evaluations == RUN.evaluations


def test_a_function_of_levels_knows_that_they_share_replicates():
    """Steps between levels; their errors against the spread of the replicates' own steps."""
    same = RUN.map(lambda h: h)
    np.testing.assert_allclose(same.value, RUN.value, rtol=1e-12)
    np.testing.assert_allclose(same.standard_error, RUN.standard_error, rtol=1e-9)
    steps = RUN.map(jnp.diff)
    assert np.all(np.abs(steps.z_score(np.diff(scipy.stats.norm.logsf(CURVE)))) < 4)
    own = np.diff(np.asarray(RUN.replicates), axis=-1).std(axis=0, ddof=1) / 4
    np.testing.assert_allclose(steps.standard_error, own, rtol=0.2)
    apart = RUN.estimate.map(jnp.diff).standard_error
    assert np.all(np.asarray(steps.standard_error) < np.asarray(apart))
    few = bx.log_probability(PRIOR, first, 1.0, key=KEY, by="direct", samples=5000)
    with pytest.raises(bx.DeclarationError, match="each replicate"):
        few.map(jnp.exp)


@pytest.mark.parametrize("name", ["Level", "Splitting", "from_splitting", "split"])
def test_the_older_sampler_says_what_took_its_place(name):
    with pytest.raises(AttributeError, match="any more: use boltzax.log_probability"):
        getattr(bx.interfaces, name)
    with pytest.raises(AttributeError, match="no attribute 'splitt'$"):
        _ = bx.interfaces.splitt


def test_the_weights_above_the_level_are_the_tail():
    """`⟨u | u > t⟩ = φ(t)/Φ(-t)`, the inverse Mills ratio; the other weight is free."""
    tail = RUN.draw(2000, key=KEY)
    assert tail.axes == ("subset",)
    weights = np.asarray(tail.map(lambda model: model.params))
    assert weights[:, 0].min() > CURVE[-1] - 1e-12
    exact = np.exp(scipy.stats.norm.logpdf(3.5) - scipy.stats.norm.logsf(3.5))
    spread = scipy.stats.truncnorm.std(3.5, np.inf)
    assert abs(weights[:, 0].mean() - exact) < 8 * spread / np.sqrt(2000)
    assert abs(weights[:, 1].mean()) < 0.2


def at_most_zero(model):
    return jnp.minimum(model.params[0], 0.0)


def test_weights_exactly_at_the_level_are_kept():
    """Half of the prior lies at the level 0, which no smaller number than `tiny` is told from."""
    found = bx.log_probability(PRIOR, at_most_zero, key=KEY, by="levels", keep=True, **FEW)
    assert abs(found.z_score(np.log(0.5))) < 4
    assert found.draw(100, key=KEY).map(lambda model: model.params)[:, 0].min() >= 0


def test_few_hits_are_said_and_auto_goes_on():
    few = bx.log_probability(PRIOR, first, 3.0, key=KEY, by="direct", samples=2000, throw=False)
    assert bool(few.status == bx.Status.few_hits) and np.isfinite(few.value)
    none = bx.log_probability(PRIOR, first, 9.0, key=KEY, by="direct", samples=2000, throw=False)
    assert none.value == -np.inf and np.exp(none.upper) < 0.002
    assert bool(none.status == bx.Status.no_hits) and "No draw" in repr(none)
    with pytest.raises(bx.RunError, match="No draw") as caught:
        bx.log_probability(PRIOR, first, 9.0, key=KEY, by="direct", samples=2000)
    assert caught.value.result.upper == none.upper
    found = bx.log_probability(PRIOR, first, 3.0, key=KEY, samples=2000, **FEW)
    one = bx.log_probability(PRIOR, first, 3.0, key=KEY, samples=1, **FEW)
    assert found.evaluations == one.evaluations + 1999
    assert found.method == "levels" and abs(found.z_score(scipy.stats.norm.logsf(3.0))) < 4


def plateau(model):
    return jnp.minimum(model.params[0], 1.0)


@pytest.mark.parametrize(
    "level, at, more, status",
    [(plateau, 2.0, {}, "extinct"), (first, 9.0, {"max_levels": 8}, "capped")],
)
def test_a_level_that_is_not_reached_has_no_value(level, at, more, status):
    settings = FEW | {"key": KEY, "by": "levels", "throw": False} | more
    found = bx.log_probability(PRIOR, level, at, keep=True, **settings)
    assert bool(found.status == getattr(bx.Status, status)) and found.value == -np.inf
    assert found.upper == 0
    with pytest.raises(bx.RunError, match="no draw reaches the level"):
        found.draw(3, key=KEY)


@pytest.mark.parametrize(
    "argument, change",
    [
        ("at", {"at": np.inf}),
        ("at", {"at": [1.0, 2.0], "by": "tempered"}),
        ("keep", {"keep": True, "by": "direct"}),
        ("level", {"level": lambda model: model.params}),
        ("level", {"level": lambda model: model.weights[0]}),
        ("level", {"level": lambda model: float(model.params[0])}),
        ("particles", {"particles": 3}),
        ("gibbs", {"gibbs": PRIOR.model(PRIOR.position())}),
    ],
)
def test_wrong_arguments_are_named(argument, change):
    given = {"gibbs": PRIOR, "level": first, "key": KEY} | change
    with pytest.raises(bx.DeclarationError) as caught:
        bx.log_probability(**given)
    assert caught.value.argument == argument


def test_weights_that_were_integrated_out_are_refused():
    model = bx.models.TwoLayer(3)
    marginal = bx.compile(bx.SquaredError(model, bx.IntervalMeasure(order=8), bx.zero), bx.Normal())
    with pytest.raises(bx.DeclarationError, match="integrated out"):
        bx.log_probability(marginal, first, key=KEY)
    with pytest.raises(bx.DeclarationError, match="without weights"):
        RUN[0].draw(3, key=KEY)


def root(model):
    return jnp.sqrt(model.params[0])


@pytest.mark.parametrize(
    "by, more",
    [
        ("direct", {"samples": 8000}),
        ("levels", {}),
        pytest.param("tempered", {"samples": 3200, "replicates": 8}, marks=pytest.mark.slow),
    ],
)
def test_a_level_that_is_not_a_number_is_never_reached(by, more):
    """Half of the prior has no level; `√w >= 1.2` where `w >= 1.44`."""
    found = bx.log_probability(PRIOR, root, 1.2, key=KEY, by=by, **more)
    assert abs(found.z_score(scipy.stats.norm.logsf(1.44))) < 4


@pytest.mark.parametrize(
    "by, settings",
    [("levels", {"particles": 64, "replicates": 4}), ("tempered", {"samples": 4000})],
)
def test_no_certainty_near_probability_one(by, settings):
    """Of 40 intervals of 95% fewer than 33 cover in one of 1,000 cases."""
    level, exact = float(scipy.stats.norm.isf(0.999)), np.log(0.999)
    runs = [
        bx.log_probability(
            PRIOR, first, level, key=jax.random.key(i), by=by, throw=False, **settings
        )
        for i in range(40)
    ]
    assert all(run.standard_error > 0 and run.successful for run in runs)
    assert sum(bool(run.lower <= exact <= run.upper) for run in runs) >= 33


def test_a_function_of_levels_near_one_keeps_their_errors():
    """The wide end of a curve, which every particle reaches, has errors and slopes with errors."""
    at = np.array([-6.0, -5.0, 0.0])
    run = bx.log_probability(PRIOR, first, at, key=KEY, by="levels", **FEW)
    assert np.all(np.asarray(run.standard_error) > 0) and np.all(np.asarray(run.lower) < 0)
    np.testing.assert_allclose(run.map(lambda h: h).standard_error, run.standard_error, rtol=1e-5)
    assert np.all(np.asarray(run.map(jnp.diff).standard_error) > 0)


@pytest.mark.parametrize("samples", [500, 4000])
def test_intervals_of_counts_cover_also_near_probability_zero_and_one(samples):
    """Summed over the binomial law. Wilson's alone, planted, covers by 0.84 where one miss in six
    runs is expected."""
    hits = np.arange(samples + 1)
    near = (hits < 60) | (hits > samples - 60)
    wilson = np.log(np.maximum(bx.core.wilson(hits, samples), 1e-300))
    ends = wilson.copy()
    for count in hits[near]:
        low, high = of_hits(int(count), samples).estimate.interval()
        ends[:, count] = float(low), float(high)

    def least(ends):
        covered = []
        for expected in np.geomspace(0.05, 30, 120):
            for p in (expected / samples, 1 - expected / samples):
                inside = (ends[0] <= np.log(p)) & (np.log(p) <= ends[1])
                covered.append(scipy.stats.binom.pmf(hits, samples, p)[inside].sum())
        return min(covered)

    assert least(ends) > 0.93
    assert least(wilson) < 0.85
    assert np.all(ends[0] <= wilson[0]) and np.all(ends[1] >= wilson[1] - 1e-12)
