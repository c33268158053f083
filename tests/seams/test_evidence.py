"""What an estimate is held against: equilibrium, ignorance, noise of the data, missing numbers."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.observe._adaptive_runs import careful_estimate
from boltzax.observe._evidence import virial
from boltzax.observe._local_verdict import judge_local
from boltzax.observe._reference_losses import _best_mean, losses
from boltzax.sample import Trace

KEY = jax.random.key(11)


def product(w, x):
    return jnp.prod(w)


def mixed(w, x):
    return w[0] * w[1] ** 2


def first_alone(w, x):
    return w[0]


def linear(w, x):
    return w @ x


def localised(fn, w, gamma, mass=1000.0, beta=None):
    """The localised posterior of `½ fn(w)²` at w* = `w`."""
    model = bx.models.Function(fn, jnp.asarray(w, float))
    energy = bx.SquaredError(model, mass * bx.Empirical(np.zeros((1, 1))), bx.zero)
    prior = bx.Normal(jnp.asarray(w, float), gamma**-0.5)
    beta = 1 / math.log(mass) if beta is None else beta
    return bx.compile(energy, prior, beta=beta, marginalise=False)


def drawn(gibbs, grid, cut, chains=4, draws=1500) -> Trace:
    """Independent draws of two weights on a grid, none beyond the distance `cut` from 0."""
    first, second = np.meshgrid(grid, grid, indexing="ij")
    points = np.stack([first, second], -1).reshape(-1, 2)
    cell = np.gradient(grid)
    log_p = np.asarray(jax.vmap(lambda w: gibbs.log_prob({"params": w}))(jnp.asarray(points)))
    p = np.exp(log_p - log_p.max()) * np.outer(cell, cell).ravel()
    p *= np.max(np.abs(points), axis=1) < cut
    rng = np.random.default_rng(0)
    where = rng.choice(len(points), size=(chains, draws), p=p / p.sum())
    w = points[where] + (rng.random((chains, draws, 2)) - 0.5) * np.stack(
        [np.broadcast_to(cell[:, None], first.shape).ravel()[where],
         np.broadcast_to(cell[None], first.shape).ravel()[where]], -1
    )  # fmt: skip
    w = {"params": jnp.asarray(w)}
    energy = jax.vmap(jax.vmap(gibbs.energy))(w)
    zero = jnp.zeros_like(energy)
    return Trace(gibbs, energy, zero, zero, zero.astype(bool), w, bx.Status.successful)


@pytest.mark.parametrize(
    ("fn", "gamma", "cut"),
    [(product, 1e-3, 8.0), (mixed, 1e-2, 4.0), (first_alone, 1e-2, 6.0)],
    ids=["arms", "unequal arms", "valley"],
)
def test_draws_that_miss_the_ends_of_an_arm_break_the_virial(fn, gamma, cut):
    """Exact draws obey it (4.5 standard errors); draws cut off before the ends are 6 away."""
    gibbs = localised(fn, [0.0, 0.0], gamma)
    u = np.linspace(-math.asinh(1e3 * 5 * gamma**-0.5), math.asinh(1e3 * 5 * gamma**-0.5), 801)
    grid = 1e-3 * np.sinh(u)
    whole, short = (virial(gibbs, drawn(gibbs, grid, each)) for each in (np.inf, cut))
    assert abs(float(whole.value)) < 4.5 * float(whole.standard_error)
    assert abs(float(short.value)) > 6 * float(short.standard_error)


def labelled(rng, classes):
    return rng.integers(0, classes, 90), rng.normal(size=(90, 2))


@pytest.mark.parametrize("kind", ["integers", "one-hot", "binary", "squared", "scaled"])
def test_the_best_constant_is_that_of_the_labels(kind):
    """Entropy of the label counts, or the variance of the labels; a factor goes along."""
    rng = np.random.default_rng(1)
    label, x = labelled(rng, 3)
    share = np.bincount(label) / len(label)
    truth, factor = -np.sum(share * np.log(share)), 1.0
    if kind in ("integers", "one-hot"):
        model = bx.models.Function(linear, jnp.ones((3, 2)))
        y = label if kind == "integers" else np.eye(3)[label]
        energy = bx.CrossEntropy(model, bx.Empirical((x, y)))
    elif kind == "binary":
        one = (label == 1).astype(float)
        model = bx.models.Function(linear, jnp.ones(2))
        energy = bx.CrossEntropy(model, bx.Empirical((x, one)))
        p = one.mean()
        truth = -p * np.log(p) - (1 - p) * np.log(1 - p)
    else:
        y = rng.normal(2.0, 3.0, size=(90, 3))
        factor = 7.0 if kind == "scaled" else 1.0
        model = bx.models.Function(linear, jnp.ones((3, 2)))
        energy = factor * bx.SquaredError(model, bx.Empirical((x, y)))
        truth = factor * 0.5 * np.sum(np.var(y, axis=0))
        residual = factor * np.mean((x @ np.ones((2, 3)) - y) ** 2)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    found = losses(energy, gibbs.relative_to(), KEY)
    np.testing.assert_allclose(found.of_constant, truth, rtol=1e-6)
    if kind in ("squared", "scaled"):
        np.testing.assert_allclose(found.residual_variance, residual, rtol=1e-6)
    else:
        assert found.residual_variance is None


def evidence(**changes) -> bx.Evidence:
    """Evidence that nothing speaks against."""
    good = {
        "acceptance": 0.8, "divergent": 0.0, "r_hat": 1.0, "ess": 2000.0, "burn_in": 0,
        "steps": (), "by_step": (), "by_step_error": (), "gap": 0.0, "gap_chance": 0.5,
        "gap_seen": 0.1,
        "sensitivity": 0.1, "sensitivity_error": 0.01, "virial": 0.0, "virial_error": 0.05,
        "heat_capacity": 1.5, "heat_capacity_error": 0.05, "loss": 0.5, "loss_of_draws": 0.51,
        "loss_of_prior": 3.0, "loss_of_constant": 1.0, "residual_variance": 1.0, "beta": 0.2,
        "gradients": 1000, "scope": "all 3 weights, data of mass 100",
    }  # fmt: skip
    return bx.Evidence(**(good | changes))


def judged(value=1.5, error=0.03, part=1.0, **changes):
    estimate = bx.Estimate(*(jnp.asarray(a) for a in (value, error, 2000.0, 1.0)))
    names = ("biased", "stuck", "interrupted", "given")
    flags = {name: changes.pop(name, False) for name in names}
    return judge_local(estimate, evidence(**changes), **flags, part=part, chains=4)


MISSING = (
    "divergent r_hat ess gap gap_chance sensitivity sensitivity_error virial virial_error "
    "heat_capacity loss loss_of_draws loss_of_prior"
).split()


def test_nothing_speaks_against_good_evidence():
    assert judged() == bx.Verdict.usable
    # what was not looked for is not held against it
    assert (
        judged(gap_chance=None, gap_seen=None, virial=None, virial_error=None) == bx.Verdict.usable
    )


@pytest.mark.parametrize("name", MISSING)
def test_a_number_that_is_missing_speaks_against_the_estimate(name):
    assert judged(**{name: math.nan}) != bx.Verdict.usable


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"stuck": True}, bx.Verdict.stuck),
        ({"error": math.nan}, bx.Verdict.imprecise),
        ({"virial": -0.3}, bx.Verdict.not_in_equilibrium),
        ({"gap": 1.0, "gap_chance": 0.001}, bx.Verdict.not_a_minimum),
        # a large gap is put down to noise only by a test that would have seen it otherwise
        ({"gap": 1.0, "gap_seen": 1.4}, bx.Verdict.few_data),
        ({"gap": 1.0, "gap_seen": 0.7}, bx.Verdict.usable),
        ({"gap": 0.5, "gap_seen": 1.4}, bx.Verdict.usable),
        ({"value": -1.0}, bx.Verdict.not_a_minimum),
        ({"loss_of_draws": 2.9}, bx.Verdict.melted),
        # the transformer of 256 weights that was called usable: C is 0.45 λ̂, the share 0.54
        (
            {
                "value": 20.4,
                "error": 0.17,
                "loss": 6.93,
                "loss_of_draws": 8.33,
                "loss_of_prior": 9.52,
                "heat_capacity": 9.13,
                "heat_capacity_error": 0.44,
            },
            bx.Verdict.melted,
        ),
        ({"loss_of_draws": 1.1, "heat_capacity": 0.4}, bx.Verdict.melted),
        # draws of a transformer that guess, worse than a constant: C is 0.55 λ̂
        (
            {
                "value": 25.582,
                "error": 0.2,
                "loss": 0.0,
                "loss_of_draws": 4.98,
                "loss_of_constant": 1.0,
                "loss_of_prior": 114.5,
                "heat_capacity": 14.15,
                "heat_capacity_error": 0.74,
            },
            bx.Verdict.melted,
        ),
        # an MLP that is better than a constant, at about the same C, knows its task
        (
            {
                "loss": 0.0,
                "loss_of_draws": 0.336,
                "loss_of_constant": 1.0,
                "loss_of_prior": 2.17,
                "heat_capacity": 0.77,
            },
            bx.Verdict.usable,
        ),
        # a weak signal and a regular model: worse than a constant, and right all the same
        (
            {
                "loss": 0.0,
                "loss_of_draws": 44.5,
                "loss_of_constant": 1.0,
                "loss_of_prior": 155.4,
                "heat_capacity": 1.104,
                "heat_capacity_error": 0.057,
            },
            bx.Verdict.usable,
        ),
        ({"loss_of_draws": 0.6, "loss_of_constant": 0.52}, bx.Verdict.usable),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, dict) else "",
)
def test_each_fault_has_its_verdict(changes, verdict):
    assert judged(**changes) == verdict


@pytest.mark.parametrize(
    ("verdict", "good", "bad"),
    [
        ("rounding", {"rounding": 0.1}, {"rounding": 0.11}),
        ("divergent", {"divergent": 0.01}, {"divergent": 0.011}),
        ("not_mixed", {"r_hat": 1.05}, {"r_hat": 1.06}),
        ("not_mixed", {}, {"r_hat": 1.3}),
        ("not_mixed", {"ess": 120.0}, {"ess": 119.9}),
        # four errors of its own, and two of the estimate
        ("not_in_equilibrium", {"virial": 0.2}, {"virial": 0.201}),
        ("not_in_equilibrium", {"virial": -0.2}, {"virial": -0.201}),
        (
            "not_in_equilibrium",
            {"virial": 0.06, "virial_error": 0.001},
            {"virial": 0.061, "virial_error": 0.001},
        ),
        # a twentieth of the value, and two errors
        (
            "not_a_minimum",
            {"gap": 0.0749, "gap_chance": 0.001},
            {"gap": 0.0751, "gap_chance": 0.001},
        ),
        (
            "not_a_minimum",
            {"gap": 0.1, "gap_chance": 0.001, "error": 0.05},
            {"gap": 0.101, "gap_chance": 0.001, "error": 0.05},
        ),
        (
            "not_a_minimum",
            {"gap": 0.0374, "gap_chance": None, "part": 2.0},
            {"gap": 0.0376, "gap_chance": None, "part": 2.0},
        ),
        ("not_a_minimum", {"gap": 0.5, "gap_chance": 0.011}, {"gap": 0.5, "gap_chance": 0.01}),
        ("not_a_minimum", {"value": -1.0, "given": True}, {"value": -0.1}),
        # half of the value
        ("few_data", {"gap": 0.751, "gap_seen": 0.75}, {"gap": 0.751, "gap_seen": 0.751}),
        ("few_data", {"gap": 0.75, "gap_seen": 2.0}, {"gap": 0.751, "gap_seen": 2.0}),
        (
            "few_data",
            {"gap": 0.376, "gap_seen": 0.375, "part": 2.0},
            {"gap": 0.376, "gap_seen": 0.376, "part": 2.0},
        ),
        ("few_data", {"gap": 2.0, "gap_seen": None}, {"gap": 2.0, "gap_seen": math.inf}),
        ("localisation_dominates", {"sensitivity": 0.51}, {"sensitivity": 0.511}),
        # of 2.5 that ignorance loses: half, or a tenth and a small heat capacity
        (
            "melted",
            {"loss_of_draws": 1.75, "loss_of_constant": None},
            {"loss_of_draws": 1.76, "loss_of_constant": None},
        ),
        (
            "melted",
            {"loss_of_draws": 0.75, "loss_of_constant": None, "heat_capacity": 0.6},
            {"loss_of_draws": 0.76, "loss_of_constant": None, "heat_capacity": 0.6},
        ),
        (
            "melted",
            {"loss_of_draws": 0.8, "heat_capacity": 0.66},
            {"loss_of_draws": 0.8, "heat_capacity": 0.64},
        ),
        # half of what the best constant loses, or all of it and a larger heat capacity
        (
            "melted",
            {"loss_of_draws": 0.75, "loss_of_prior": 9.0, "heat_capacity": 0.64},
            {"loss_of_draws": 0.76, "loss_of_prior": 9.0, "heat_capacity": 0.64},
        ),
        (
            "melted",
            {"loss_of_draws": 1.0, "loss_of_prior": 9.0, "heat_capacity": 0.94},
            {"loss_of_draws": 1.01, "loss_of_prior": 9.0, "heat_capacity": 0.94},
        ),
        (
            "melted",
            {"loss_of_draws": 1.1, "loss_of_prior": 9.0, "heat_capacity": 0.96},
            {"loss_of_draws": 1.1, "loss_of_prior": 9.0, "heat_capacity": 0.94},
        ),
        # a prior that is no worse than w* tells nothing
        (
            "melted",
            {"loss_of_draws": 0.7, "loss_of_prior": 0.4, "heat_capacity": 0.2}
            | {"loss_of_constant": None},
            {"loss_of_draws": 0.7, "loss_of_prior": 0.9, "heat_capacity": 0.2}
            | {"loss_of_constant": None},
        ),
        (
            "melted",
            {"loss_of_draws": 0.7, "loss_of_prior": 0.5, "loss_of_constant": None},
            {"loss_of_draws": 0.7, "loss_of_prior": 0.6, "loss_of_constant": None},
        ),
        (
            "melted",
            {"loss_of_draws": 0.7, "loss_of_prior": 0.4, "loss_of_constant": None},
            {"loss_of_draws": 0.7, "loss_of_prior": 0.8, "loss_of_constant": None},
        ),
        ("imprecise", {"error": 0.3}, {"error": 0.301}),
        ("imprecise", {"value": -0.09, "given": True, "error": 0.018}, {"value": -0.09}),
        ("stuck", {}, {"stuck": True}),
        ("interrupted", {}, {"interrupted": True}),
        ("step_bias", {}, {"biased": True}),
        ("undecided", {"loss_of_prior": math.inf}, {"heat_capacity": math.inf}),
    ],
)
def test_each_limit_lies_where_it_is_said_to(verdict, good, bad):
    assert judged(**good) == bx.Verdict.usable
    assert judged(**bad) == getattr(bx.Verdict, verdict)


def test_the_beta_of_the_noise_that_the_residuals_have():
    assert evidence(residual_variance=4.0).effective_beta == pytest.approx(0.8)
    assert evidence(residual_variance=None).effective_beta is None


def test_the_first_of_the_verdicts_that_holds():
    """All faults at once, mended one after the other."""
    faults = {
        "non_finite": {"value": math.nan},
        "rounding": {"rounding": 1.0},
        "stuck": {"stuck": True},
        "interrupted": {"interrupted": True},
        "divergent": {"divergent": 0.5},
        "not_mixed": {"r_hat": 1.3},
        "step_bias": {"biased": True},
        "undecided": {"loss": math.nan},
        "not_in_equilibrium": {"virial": 3.0},
        "not_a_minimum": {"gap_chance": 0.0},
        "few_data": {"gap": 1.0, "gap_seen": 3.0},
        "localisation_dominates": {"sensitivity": 0.9},
        "melted": {"loss_of_draws": 2.9},
        "imprecise": {"error": 0.4},
    }
    for number, name in enumerate(faults):
        left = list(faults.values())[number:]
        changes = {key: value for each in left for key, value in each.items()}
        assert judged(**changes) == getattr(bx.Verdict, name)


def test_the_error_of_a_slow_direction_is_in_the_bar():
    """`series = slow/3 + noise`: the autocorrelation of `slow` (400 draws) drowns in the noise.

    Over 60 runs the z-scores have the spread 1 to within its error; without `slow` it is larger.
    """
    rng = np.random.default_rng(5)
    known, unknown = [], []
    for _ in range(60):
        kicks = rng.normal(size=(4, 4000)) * math.sqrt(1 - 0.9975**2)
        slow = np.empty((4, 4000))
        slow[:, 0] = rng.normal(size=4)
        for i in range(1, 4000):
            slow[:, i] = 0.9975 * slow[:, i - 1] + kicks[:, i]
        series = 0.3 * slow + rng.normal(size=slow.shape)
        known.append(float(careful_estimate(series, slow).z_score(0.0)))
        unknown.append(float(careful_estimate(series).z_score(0.0)))
    assert np.std(known) < np.std(unknown)
    assert np.std(known) < 1.35, (np.std(known), np.std(unknown))


@pytest.fixture(scope="module")
def whole():
    """Least squares in three weights with noise of variance 0.01, fitted; its data."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = x @ np.ones(3) + 0.1 * rng.normal(size=300)
    y[x[:, 0] > 0.5] += 0.3
    return x, y, np.linalg.lstsq(x, y, rcond=None)[0]


def quick(energy, **more):
    return bx.local_learning_coefficient(
        energy, key=KEY, kernel=bx.RandomWalk(), tolerance=0.05, max_gradients=200_000, **more
    )


@pytest.mark.slow
def test_a_part_of_the_data_is_judged_by_the_whole(whole):
    """Closed form of the Gaussian posterior; 4.5 standard errors. β is 1/log of the whole."""
    x, y, w = whole
    model = bx.models.Function(linear, jnp.asarray(w))
    part = x[:, 0] > 0.5
    all_data = 100.0 * bx.SquaredError(model, bx.Empirical((x, y)))
    some = 100.0 * bx.SquaredError(model, bx.Empirical((x[part], y[part])))
    result = quick(some, trained_on=all_data)
    beta = 1 / math.log(300)
    np.testing.assert_allclose(result.evidence.beta, beta, rtol=1e-6)
    rows, labels = 10 * x[part], 10 * y[part]
    covariance = np.linalg.inv(beta * rows.T @ rows + np.eye(3))
    mean = covariance @ (beta * rows.T @ labels + w)
    value = 0.5 * np.sum((rows @ mean - labels) ** 2) - 0.5 * np.sum((rows @ w - labels) ** 2)
    truth = beta * (value + 0.5 * np.trace(rows.T @ rows @ covariance))
    assert truth < -0.5, "the model is no minimum of this part"
    assert abs(float(result.estimate.z_score(truth))) < 4.5
    assert result.usable, result
    assert "trained on a mass of 300" in repr(result)
    assert quick(some).verdict == bx.Verdict.not_a_minimum


def test_the_whole_has_the_model_of_the_part(whole):
    x, y, w = whole
    one = bx.SquaredError(bx.models.Function(linear, jnp.asarray(w)), bx.Empirical((x, y)))
    other = bx.SquaredError(bx.models.Function(linear, jnp.zeros(3)), bx.Empirical((x, y)))
    for wrong in (other, (x, y)):
        with pytest.raises(bx.DeclarationError, match="trained_on"):
            bx.local_learning_coefficient(one, key=KEY, trained_on=wrong)


def saturating(model, x):
    """A loss that is 1 wherever the model is not right."""
    return 1 - jnp.exp(-20.0 * jnp.sum(model.params**2))


@pytest.mark.slow
@pytest.mark.parametrize("mass", [5.0, 1e4], ids=["melted", "cold"])
def test_a_posterior_that_knows_nothing_is_said_to_be_melted(mass):
    """Four weights, a narrow well in a plateau: λ̂ is β n where the plateau wins, else about 2."""
    model = bx.models.Function(linear, jnp.zeros(4))
    energy = bx.PerDatum(model, mass * bx.Empirical(np.zeros((1, 1))), saturating)
    result = quick(energy)
    melted = result.evidence.loss_of_draws > 0.9
    assert melted == (mass < 100)
    assert (result.verdict == bx.Verdict.melted) == melted, result
    assert result.usable != melted
    first = repr(result).splitlines()[0]
    assert "±" in first and (result.usable or result.reason in first)


def test_a_copy_with_other_evidence_still_prints():
    """Evidence without the optional numbers has a readable repr."""
    shown = repr(dataclasses.replace(evidence(), virial=None, loss_of_constant=None, steps=(1.0,),
                                     by_step=(2.0,), by_step_error=(0.1,)))  # fmt: skip
    assert "best constant" not in shown and "step x 1: 2" in shown


def test_a_tenth_of_what_ignorance_loses_melts_where_the_heat_capacity_is_small():
    small = {"loss_of_draws": 0.58, "loss_of_prior": 1.0, "loss_of_constant": None}
    assert evidence(**small, heat_capacity=0.3).melted(1.5)
    assert not evidence(**small, heat_capacity=1.5).melted(1.5)
    assert not evidence(**small | {"loss_of_draws": 0.54}, heat_capacity=0.3).melted(1.5)


def test_the_loss_of_the_best_constant_keeps_its_digits_far_from_zero():
    """Labels of 1e12 have a mean known to 1e-4, and a variance to 1e-8."""
    part = np.arange(90) % 7 / 8
    model = bx.models.Function(linear, jnp.ones(2))
    energy = bx.SquaredError(model, bx.Empirical((np.ones((90, 2)), 1e12 + part)))
    best, _ = _best_mean(energy, bx.compile(energy, bx.Normal(), marginalise=False))
    np.testing.assert_allclose(best, 0.5 * 90 * np.var(part), rtol=1e-6)
