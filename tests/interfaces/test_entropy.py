"""Entropies against closed forms.

A comparison at 4 standard errors is false 6e-5 of the time; where the error is from 16 replicates
of splitting, .1% (Student's t).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from numpyro.distributions import VonMises

import boltzax as bx
from boltzax.cases import affine_component as affine
from boltzax.cases import amplifier_component as amplifier
from boltzax.cases import gain_component as linear
from boltzax.cases import step_component as step
from boltzax.interfaces import wilson

KEY = jax.random.key(20)
SLOW = pytest.mark.slow
SMALL = {"particles": 256, "moves": 8, "replicates": 16}


def low_high(low, high, top=None):
    """Thresholds above a floor of zero."""
    return bx.Interface.thresholds(low, high, range=(0.0, top))


def linear_contract(before, after):
    return bx.Contract(linear(), low_high(*before), bx.Interface.thresholds(*after), points=5)


LINEAR = [
    ((1.0, 2.0), (1.2, 2.3)),
    ((0.7, 3.1), (1.9, 4.0)),
    ((2.0, 2.5), (7.0, 3.0 * 2.5 - 0.01)),
]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["direct", "levels"])
@pytest.mark.parametrize("before, after", LINEAR)
def test_gain_has_the_entropy_of_an_interval(before, after, by):
    found = bx.interfaces.entropy(linear_contract(before, after), key=KEY, by=by, **SMALL)
    assert abs(found.z_score(bx.theory.linear_interface(3.0, before, after))) < 4
    assert found.successful


@pytest.mark.parametrize("low, high", [(1.0, 1.1), (2.2, 4.9)])
def test_step_must_lie_between_the_thresholds(low, high):
    contract = bx.Contract(step(), low_high(low, high, 5.0), bx.Interface.thresholds(1.0, 4.0))
    found = bx.interfaces.entropy(contract, key=KEY)
    assert abs(found.z_score(bx.theory.step_interface(5.0, (low, high)))) < 4


PAIRS = [
    [((0.0, 1.2), (-0.5, 1.0)), ((2.0, 3.0), (1.5, 4.0))],
    [((0.0, 1.0), (-1.0, 0.8)), ((1.5, 3.0), (1.0, 9.0))],
]


@pytest.mark.parametrize("pairs", PAIRS)
def test_affine_component_has_the_area_of_a_polygon(pairs):
    before = bx.Interface.intervals({i: [pair[0]] for i, pair in enumerate(pairs)})
    after = bx.Interface.intervals({i: [pair[1]] for i, pair in enumerate(pairs)})
    found = bx.interfaces.entropy(bx.Contract(affine(), before, after), key=KEY)
    exact = bx.theory.affine_interface((-1.0, 3.0), (-2.0, 2.0), pairs)
    assert abs(found.z_score(exact)) < 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "by, before, after",
    [
        ("direct", (1.2, 3.5), (1.0, 4.0)),
        ("levels", (1.2, 3.5), (1.0, 4.0)),
        ("auto", (2.0, 2.6), (0.5, 4.6)),
    ],
)
def test_amplifier_is_an_orthant_by_every_method(by, before, after):
    contract = bx.Contract(amplifier(), low_high(*before, 5.0), low_high(*after, 5.0), points=5)
    exact = bx.theory.amplifier_interface(before, after, scale=3.0)
    found = bx.interfaces.entropy(contract, key=KEY, by=by, **SMALL)
    assert abs(found.z_score(exact)) < 4


@pytest.mark.slow
def test_tempered_route_agrees():
    contract = bx.Contract(amplifier(), low_high(1.2, 3.5, 5.0), low_high(0.3, 4.5, 5.0), points=3)
    exact = bx.theory.amplifier_interface((1.2, 3.5), (0.3, 4.5), scale=3.0)
    found = bx.interfaces.entropy(contract, key=KEY, by="tempered", samples=3200, replicates=8)
    assert found.successful
    assert found.standard_error < 0.1
    assert abs(found.z_score(exact)) < 4


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, pytest.param(2, marks=SLOW), pytest.param(3, marks=SLOW), 4])
def test_chain_decouples(length):
    """Joint estimate, sum of parts and closed form, by splitting (A2)."""
    before, after = (1.0, 2.0), (1.5, 2.2)
    lows = np.geomspace(before[0], after[0], length + 1)
    highs = np.geomspace(before[1], after[1], length + 1)
    joints = [low_high(a, b) for a, b in zip(lows, highs, strict=True)]
    chain = bx.Chain([linear()] * length, joints, points=5)
    exact = bx.theory.linear_chain_maximum(3.0, before, after, length)
    parts = bx.interfaces.entropy(chain, key=KEY, by="levels", **SMALL)
    joint = bx.interfaces.entropy(chain, key=KEY, by="levels", joint=True, **SMALL)
    assert len(parts.parts) == length
    assert abs(parts.z_score(exact)) < 4
    assert abs(joint.z_score(exact)) < 4
    error = jnp.hypot(joint.standard_error, parts.standard_error)
    assert abs(joint.value - parts.value) < 4 * error


@pytest.mark.slow
def test_gates_form_a_circuit():
    """A NAND of two inverters: each gate keeps its own truth table, and nothing else."""

    def gate(params, x):
        return 5 * jax.nn.sigmoid(x @ params["w"] + params["b"])

    def model(inputs):
        return bx.models.Function(gate, {"w": jnp.zeros(inputs), "b": jnp.zeros(())})

    wide = bx.Normal(0.0, 5.0)
    inverter = bx.Component(model(1), wide, {0: 1, 1: 0})
    nand = bx.Component(model(2), wide, {(0, 0): 1, (0, 1): 1, (1, 0): 1, (1, 1): 0})
    signal = low_high(1.5, 3.5, 5.0)
    circuit = bx.Circuit([inverter, inverter, nand], [signal] * 5, [(0,), (1,), (2, 3)], points=5)
    parts = bx.interfaces.entropy(circuit, key=KEY, by="direct", throw=False).parts
    first, second, last = (part.value for part in parts)
    assert abs(first - second) < 4 * jnp.hypot(parts[0].standard_error, parts[1].standard_error)
    assert last < first
    # a hand-made circuit that keeps them all, and the truth table at its end
    sharp = eqx_params(circuit.model, [(-9.0, 22.5), (-9.0, 22.5), ((-8.0, -8.0), 54.0)])
    assert circuit.margin(sharp) >= 0
    for a, b in [(0.0, 0.0), (0.0, 5.0), (5.0, 0.0), (5.0, 5.0)]:
        out = circuit.output(sharp, jnp.array([a]), jnp.array([b]))
        wanted = int(not (a < 1 and b < 1))  # NAND of the inverses is OR
        assert bool(signal.contains(out, wanted))


def eqx_params(models, values):
    made = []
    for model, (w, b) in zip(models, values, strict=True):
        params = {"w": jnp.atleast_1d(jnp.asarray(w)), "b": jnp.asarray(b)}
        made.append(bx.models.Function(model.fn, params))
    return made


FOUR = bx.prior(bx.models.Function(lambda p, x: p[0], jnp.zeros(4)), bx.Normal())


def landscape(function, at=0.0, **settings):
    """Rising levels over four standard normals with a level function."""
    settings = SMALL | {"max_levels": 60, "by": "levels", "throw": False} | settings
    return bx.log_probability(FOUR, function, at, key=KEY, **settings)


@pytest.mark.slow
def test_curve_of_one_run_is_the_gaussian_tail():
    places = np.array([0.5, 2.0, 4.0, 6.0])
    found = landscape(lambda model: model.params[0] - 6.0, places - 6.0)
    assert np.all(np.abs(found.z_score(scipy.stats.norm.logsf(places))) < 4)
    assert np.all(found.standard_error < 2 * found.naive_error)


def decoy(model):
    """A wide basin that ends just short of the target, and a narrow one that reaches it."""
    p = model.params
    wide = -0.05 - 0.1 * jnp.linalg.norm(p - jnp.array([2.0, 0.0, 0.0, 0.0]))
    narrow = 0.5 - 2.0 * jnp.linalg.norm(p - jnp.array([-1.0, 1.0, 0.0, 0.0]))
    return jnp.maximum(wide, narrow)


@pytest.mark.slow
def test_decoy_is_flagged():
    found = landscape(decoy)
    assert bool(found.status != bx.Status.successful)
    assert found.standard_error > 2 * found.naive_error


@pytest.mark.slow
def test_plateau_is_extinct_and_not_a_value():
    found = landscape(lambda model: jnp.minimum(model.params[0], 1.0) - 2.0)
    assert bool(found.status == bx.Status.extinct)
    assert found.value == -jnp.inf


@pytest.mark.slow
def test_plateau_on_the_way_is_passed_without_bias():
    """Half of the prior lies on one value: ties that survived would count as progress."""

    def function(model):
        x = model.params[0]
        return jnp.where(x < 0.7, -3.0, x - 3.0)

    found = landscape(function)
    assert abs(found.z_score(scipy.stats.norm.logsf(3.0))) < 4


@pytest.mark.slow
def test_levels_that_run_out_are_said():
    found = landscape(lambda model: model.params[0] - 6.0, max_levels=8)
    assert bool(found.status == bx.Status.capped)


def test_nothing_found_is_an_interval():
    contract = linear_contract((1.0, 2.0), (1.0, 1.99999))
    given = {"key": KEY, "by": "direct", "samples": 1000}
    with pytest.raises(bx.RunError, match="No draw"):
        bx.interfaces.entropy(contract, **given)
    found = bx.interfaces.entropy(contract, throw=False, **given)
    assert bool(found.status == bx.Status.no_hits)
    assert found.value == -jnp.inf
    z = scipy.stats.norm.ppf(0.975)
    np.testing.assert_allclose(found.upper, np.log(z**2 / (1000 + z**2)))
    assert "No draw" in repr(found)


@pytest.mark.parametrize("hits, draws", [(0, 50), (3, 40), (40, 40), (123, 1000)])
def test_wilson_interval(hits, draws):
    low, high = wilson(jnp.asarray(hits), draws)
    exact = scipy.stats.binomtest(hits, draws).proportion_ci(method="wilson")
    np.testing.assert_allclose((low, high), (exact.low, exact.high), atol=1e-12)


@pytest.mark.slow
def test_single_precision_agrees():
    exact = bx.theory.amplifier_interface((2.0, 2.6), (0.5, 4.6), scale=3.0)
    with jax.enable_x64(False):
        contract = bx.Contract(
            amplifier(), low_high(2.0, 2.6, 5.0), low_high(0.5, 4.6, 5.0), points=5
        )
        found = bx.interfaces.entropy(contract, key=jax.random.key(1), by="levels", **SMALL)
        assert found.value.dtype == jnp.float32
    assert abs(found.z_score(exact)) < 4


@pytest.mark.parametrize(
    "argument, call",
    [
        ("replicates", lambda k: bx.interfaces.entropy(k, key=KEY, replicates=1)),
        ("samples", lambda k: bx.interfaces.entropy(k, key=KEY, samples=0)),
        ("particles", lambda k: bx.interfaces.entropy(k, key=KEY, particles=2)),
    ],
)
def test_wrong_counts_are_named(argument, call):
    with pytest.raises(bx.DeclarationError) as caught:
        call(linear_contract((1.0, 2.0), (1.2, 2.3)))
    assert caught.value.argument == argument


def test_prior_without_a_quantile_function_is_named():
    model = bx.models.Function(lambda p, x: p * x, jnp.zeros(()))
    component = bx.Component(model, VonMises(0.0, 1.0))
    contract = bx.Contract(component, low_high(1, 2), low_high(1.2, 2.3))
    with pytest.raises(bx.DeclarationError, match="no quantile function"):
        bx.interfaces.entropy(contract, key=KEY, by="levels")


def test_the_old_words_give_the_same_with_a_warning():
    contract = linear_contract((1.0, 2.0), (1.2, 2.3))
    new = bx.interfaces.entropy(contract, key=KEY, by="direct", samples=500)
    with pytest.warns(DeprecationWarning, match="draws= is now samples=, method= is now by="):
        old = bx.interfaces.entropy(contract, key=KEY, method="direct", draws=500)
    assert float(old.value) == float(new.value)
    few = {"key": KEY, "particles": 16, "moves": 1, "replicates": 2, "throw": False}
    for word in ("by", "method"):
        with pytest.warns(DeprecationWarning, match="'splitting' is now 'levels'"):
            found = bx.interfaces.entropy(contract, **{word: "splitting"}, **few)
        assert found.method == "levels"
    with pytest.raises(TypeError, match="not both"):
        bx.interfaces.entropy(contract, key=KEY, by="direct", method="direct")


@pytest.mark.slow
def test_curve_against_tolerance_is_that_of_dilated_contracts():
    before, after = (2.0, 2.6), (0.5, 4.5)
    contract = bx.Contract(
        amplifier(), low_high(*before, 5.0), bx.Interface.thresholds(*after), points=5
    )
    tolerances = jnp.array([1.5, 0.5, 0.0, -0.3])
    curve = bx.interfaces.entropy_curve(contract, tolerances, key=KEY, **SMALL)
    for tolerance, found in zip(tolerances, curve.entropies, strict=True):
        ends = (after[0] + float(tolerance), after[1] - float(tolerance))
        assert abs(found.z_score(bx.theory.amplifier_interface(before, ends, scale=3.0))) < 4
    assert bool(jnp.all(jnp.diff(curve.value) < 0))
    lines = repr(curve).splitlines()
    assert len(lines) == 6 and lines[4].split(": ")[0].strip() == "-0.3"


def test_curve_wants_finite_tolerances():
    contract = linear_contract((1.0, 2.0), (1.2, 2.3))
    with pytest.raises(bx.DeclarationError, match="finite"):
        bx.interfaces.entropy_curve(contract, jnp.array([0.0, jnp.inf]), key=KEY)
