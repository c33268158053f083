"""Certificates against dense sampling, an attack, exact answers, and planted mistakes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.interfaces import _certify, enclose
from boltzax.interfaces._certify import certified, certify
from boltzax.interfaces._margin import attack, counterexample, margin, satisfies

BEFORE = bx.Interface.intervals({0: [(0.0, 1.2)], 1: [(3.5, 5.0)]})
AFTER = bx.Interface.thresholds(1.0, 4.0)
AMPLIFIER = bx.models.Function(
    lambda p, x: 5 * jax.nn.sigmoid(p[0] * (x[0] - p[1])), jnp.array([2.0, 2.5])
)


def contract_of(model, before=BEFORE, after=AFTER, **more):
    return bx.Contract(bx.Component(model, bx.Normal(), **more), before, after, points=513)


AMPLIFYING = contract_of(AMPLIFIER)


def draws(model, count, seed, scale=2.0):
    """Random models, stacked."""
    leaves, tree = jax.tree.flatten(model)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    pairs = zip(keys, leaves, strict=True)
    return tree.unflatten([scale * jax.random.normal(k, (count, *w.shape)) for k, w in pairs])


def unsound(contract, models, splits):
    """(certified models, those of them that break the contract, all that keep it)."""
    keys = jax.random.split(jax.random.key(9), len(jax.tree.leaves(models)[0]))

    def one(model, key):
        least = jnp.minimum(margin(contract, model), attack(contract, model, key, 8, 20))
        return certified(contract, model, splits), least >= 0

    over = jax.jit(
        lambda models, keys: jax.lax.map(lambda a: one(*a), (models, keys), batch_size=500)
    )
    good, kept = (np.asarray(each) for each in over(models, keys))
    return good.sum(), np.sum(good & ~kept), kept.sum()


NET = bx.models.MLP((1, 4, 1))
NET_CONTRACT = contract_of(NET, after=bx.Interface.thresholds(1.5, 2.5))
NARROW = bx.Interface.intervals({0: [(0.0, 0.2)], 1: [(3.5, 5.0)]})
GATE = contract_of(
    bx.models.MLP((2, 4, 1)),
    NARROW @ NARROW,
    bx.Interface.thresholds(-0.2, 0.2),
    logic={(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 1},
)


@pytest.mark.slow
def test_none_of_500_certificates_is_wrong():
    good, wrong, kept = unsound(NET_CONTRACT, draws(NET, 500, 0, 3.0), 16)
    assert wrong == 0
    assert 0.9 * kept <= good and good >= 10  # and most that could be had are given


@pytest.mark.slow
@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu, jax.nn.softplus, jax.nn.hard_tanh])
def test_none_of_10000_certificates_is_wrong(activation):
    contract = contract_of(bx.models.MLP((1, 4, 1), activation))
    good, wrong, kept = unsound(contract, draws(contract.model, 10_000, 1), 16)
    assert wrong == 0 and good > 100 and good > 0.8 * kept


@pytest.mark.slow
def test_none_of_10000_certificates_of_a_gate_is_wrong():
    good, wrong, kept = unsound(GATE, draws(GATE.model, 10_000, 2), 64)
    assert wrong == 0 and good > 20 and good > 0.5 * kept


@pytest.mark.slow
def test_the_check_sees_a_certificate_for_one_logical_value_only(monkeypatch):
    honest = _certify._covered

    def half(contract, model, *more):
        assume = contract.assume
        empty = (assume.lower.at[1:].set(jnp.inf), assume.upper.at[1:].set(-jnp.inf))

        def ends(c):
            return (c.assume.lower, c.assume.upper)

        return honest(eqx.tree_at(ends, contract, empty), model, *more)

    monkeypatch.setattr(_certify, "_covered", half)
    assert unsound(NET_CONTRACT, draws(NET, 500, 0, 3.0), 16)[1] > 0


@pytest.mark.slow
def test_a_contract_that_holds():
    found = certify(AMPLIFYING)
    exact = min(5 / (1 + np.exp(-2.0)) - 4, 1 - 5 / (1 + np.exp(2.6)))
    assert found.status == "holds" and found.holds and found.witness is None
    assert found.lower <= exact <= found.upper
    assert found.upper - found.lower < 1e-12  # a monotone model, in one box for each value
    assert "holds" in repr(found)
    assert bool(certified(AMPLIFYING)) and bool(satisfies(AMPLIFYING))
    assert counterexample(AMPLIFYING, key=jax.random.key(0)) is None


@pytest.mark.slow
def test_a_contract_that_is_violated():
    # a dip of width 0.02 that 33 points do not see
    dip = bx.models.Function(
        lambda p, x: AMPLIFIER(x) - p * jnp.exp(-(((x[0] - 4.133) / 0.01) ** 2)), jnp.array(3.0)
    )
    seen = bx.Contract(bx.Component(dip, bx.Normal()), BEFORE, AFTER)
    assert bool(satisfies(seen)) and not bool(certified(seen, None, 64))
    found = certify(seen)
    assert found.status == "violated" and found.upper < 0 and "violated" in repr(found)
    witness = found.witness
    assert witness.value == 1 and abs(witness.x[0] - 4.133) < 0.03
    output = dip(jnp.asarray(witness.x))
    assert not bool(AFTER.contains(output, 1))
    np.testing.assert_allclose(output - 4, witness.margin, atol=1e-9)
    best = counterexample(seen, key=jax.random.key(0), starts=200)
    least = float(jnp.min(jax.vmap(dip)(jnp.linspace(4.1, 4.16, 20_001)[:, None]))) - 4
    assert best is not None and best.value == 1 and best.margin == pytest.approx(least, abs=1e-5)
    tight = certify(seen, gap=1e-3)
    assert tight.lower <= least <= tight.upper + 1e-9 and tight.upper - tight.lower <= 1e-3


def test_a_contract_that_stays_unknown():
    identity = bx.models.Function(lambda p, x: p * x[0], jnp.array(1.0))
    found = certify(contract_of(identity, after=BEFORE), splits=100)
    assert found.status == "unknown" and found.boxes <= 100 and found.witness is None
    assert -1e-12 < found.lower <= 0 <= found.upper  # the margin is exactly zero
    assert "unknown" in repr(found)


@pytest.mark.slow
@settings(max_examples=25)
@given(
    st.floats(0.5, 8.0),
    st.floats(1.5, 3.5),
)
def test_of_a_monotone_model_the_ends_decide(gain, centre):
    model = bx.models.Function(AMPLIFIER.fn, jnp.array([gain, centre]))
    ends = jnp.array([0.0, 1.2, 3.5, 5.0])
    y = np.asarray(jax.vmap(model)(ends[:, None]))
    exact = min(1 - y[:2].max(), y[2:].min() - 4)
    if abs(exact) > 1e-9:
        assert bool(MONOTONE(model)) == (exact > 0)
        found = certify(AMPLIFYING, model)
        assert found.status == ("holds" if exact > 0 else "violated")
        assert found.lower - 1e-12 <= exact <= found.upper + 1e-12


MONOTONE = jax.jit(lambda model: certified(AMPLIFYING, model, 4))


@pytest.mark.slow
def test_outputs_are_judged_against_unions_and_across_seams():
    union = bx.Interface.boxes({0: [((0, 0), (1, 1)), ((1, 0), (2, 1)), ((0, 1), (0.5, 2))]})
    before = bx.Interface.intervals({0: [(-1.0, 1.0)]})
    across = bx.models.Function(lambda p, x: jnp.array([1 + 0.9 * x[0], p]), jnp.array(0.5))
    found = certify(contract_of(across, before, union))
    assert found.holds and found.lower == pytest.approx(0.1)
    outside = bx.models.Function(lambda p, x: jnp.array([1.0, 1 + p * x[0]]), jnp.array(0.5))
    assert certify(contract_of(outside, before, union)).status == "violated"


@pytest.mark.slow
def test_rays_are_covered_to_their_ends():
    before = bx.Interface.thresholds(-1.0, 1.0)
    after = bx.Interface.thresholds(-0.5, 0.5)
    saturating = bx.models.Function(lambda p, x: jnp.tanh(p * x[0]), jnp.array(2.0))
    found = certify(contract_of(saturating, before, after))
    assert found.holds and found.lower == pytest.approx(np.tanh(2) - 0.5)
    # breaks only beyond 5e4, where sampling does not look
    far = bx.models.Function(lambda p, x: jnp.tanh(x[0]) * (1 - x[0] ** 2 / p**2), jnp.array(5e4))
    contract = contract_of(far, before, after)
    assert bool(satisfies(contract)) and not bool(certified(contract, None, 16))
    found = certify(contract)
    assert found.status == "violated" and abs(found.witness.x[0]) > 3e4


@pytest.mark.slow
def test_the_bounds_of_a_rising_model_on_rays_are_its_finite_ends():
    before = bx.Interface.thresholds(-1.0, 1.0)
    after = bx.Interface.thresholds(-0.5, 0.5)
    rising = bx.models.Function(lambda p, x: p * x[0], jnp.array(2.0))
    found = certify(contract_of(rising, before, after))
    assert found.holds and found.lower == pytest.approx(1.5)
    assert bool(certified(contract_of(rising, before, after), None, 4))


@pytest.mark.slow
def test_of_a_circuit_every_component_is_certified():
    weak = bx.models.Function(AMPLIFIER.fn, jnp.array([0.9, 2.5]))
    buffer = bx.Component(AMPLIFIER, bx.Normal())
    circuit = bx.Chain([buffer, buffer], [BEFORE, BEFORE, AFTER])
    found = certify(circuit)
    assert found.holds and bool(certified(circuit, None, 4))
    alone = [certify(part) for part in circuit.contracts]
    assert found.lower == min(each.lower for each in alone)
    found = certify(circuit, (AMPLIFIER, weak))
    assert found.status == "violated" and found.witness.component == 1
    worst = counterexample(circuit, (AMPLIFIER, weak), key=jax.random.key(0), starts=8, steps=10)
    assert worst.component == 1
    with pytest.raises(bx.DeclarationError, match="a model for each of the 2 components"):
        certify(circuit, (AMPLIFIER,))


VERBS = {
    "margin": margin,
    "satisfies": satisfies,
    "certify": certify,
    "certified": certified,
    "counterexample": lambda *a: counterexample(*a, key=jax.random.key(0), starts=2, steps=2),
    "attack": lambda *a: attack(*a, jax.random.key(0), 2, 2),
    "tightest": bx.interfaces.tightest,
}
MISFITS = {
    "an array": jnp.ones(3),
    "a dictionary": {"w": jnp.ones(3)},
    "a tuple": (AMPLIFIER, AMPLIFIER),
    "two arguments": bx.models.Function(lambda w, x, y: w * x, jnp.ones(())),
    "a wide input": bx.models.MLP((3, 4, 1)),
    "a wide output": bx.models.Function(lambda w, x: w * jnp.ones(5), jnp.ones(())),
    "text": bx.models.Function(lambda w, x: "text", jnp.ones(())),
}


@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_model_that_does_not_fit_is_named(verb, misfit):
    with pytest.raises(bx.DeclarationError) as caught:
        VERBS[verb](AMPLIFYING, MISFITS[misfit])
    assert caught.value.argument.split("[")[0] == "model"


@pytest.mark.parametrize("fn", [int, str, lambda x, y: x, lambda x: "text", len])
def test_a_function_that_cannot_be_enclosed_is_named(fn):
    with pytest.raises(bx.DeclarationError) as caught:
        enclose(fn, jnp.zeros(2), jnp.ones(2))
    assert caught.value.argument == "fn"


@pytest.mark.slow
def test_of_a_gate_every_pair_of_values_is_certified():
    nor = bx.models.Function(
        lambda p, x: 5 * jax.nn.sigmoid(p * (2.5 - jax.nn.relu(x[0]) - jax.nn.relu(x[1] - 0.1))),
        jnp.array(6.0),
    )
    before = bx.Interface.intervals({0: [(0.0, 0.9)], 1: [(3.5, 5.0)]})
    logic = {(0, 0): 1, (0, 1): 0, (1, 0): 0, (1, 1): 0}
    contract = contract_of(nor, before @ before, logic=logic)
    assert certify(contract).holds and bool(certified(contract, None, 64))
    wrong = contract_of(nor, before @ before, logic=logic | {(1, 1): 1})
    found = certify(wrong)
    assert found.status == "violated" and found.witness.value == (1, 1)


@pytest.mark.slow
def test_float32_certificates():
    with jax.enable_x64(False):
        before = bx.Interface.intervals({0: [(0.0, 1.2)], 1: [(3.5, 5.0)]})
        after = bx.Interface.thresholds(1.0, 4.0)
        contract = contract_of(AMPLIFIER, before, after)
        contract = jax.tree.map(lambda x: x.astype(jnp.float32), contract)
        assert before.lower.dtype == jnp.float32
        assert bool(certified(contract, None, 4))
        found = certify(contract)
        exact = min(5 / (1 + np.exp(-2.0)) - 4, 1 - 5 / (1 + np.exp(2.6)))
        # the inputs of the interface are rounded to float32
        assert found.holds and found.lower - 1e-6 <= exact <= found.upper + 1e-6


def test_weights_that_are_no_numbers_are_not_certified():
    broken = bx.models.Function(AMPLIFIER.fn, jnp.array([jnp.nan, 2.5]))
    assert not bool(certified(AMPLIFYING, broken, 4))
    assert certify(AMPLIFYING, broken).status == "unknown"


def test_where_nothing_is_assumed_everything_holds():
    empty = bx.Interface.intervals({0: [], 1: [(3.5, 5.0)]})
    found = certify(contract_of(AMPLIFIER, empty))
    assert found.holds and found.boxes == 1


def test_the_cells_cover_the_boxes():
    assume = bx.Interface.boxes(
        {0: [((0, 0), (1, 1)), ((1, 0), (2, 2))], 1: [((3, 0.1), (None, 7))]}
    )
    low, high = (np.asarray(b) for b in _certify._cells(assume.lower, assume.upper, 20))
    x = np.random.default_rng(0).uniform(0, 1, (2000, 2))
    for row, scale, start in ((0, (1, 1), (0, 0)), (0, (1, 2), (1, 0)), (1, (1, 6.9), (3, 0.1))):
        points = np.asarray(start) + x * np.asarray(scale)
        if row == 1:
            points[:, 0] = 3 + 1 / (1 - x[:, 0]) ** 3  # far out, too
        inside = (points[:, None] >= low[row]) & (points[:, None] <= high[row])
        assert np.all(np.any(np.all(inside, axis=-1), axis=-1))
    assert low.shape[1] == 2 * 16  # four on each side of two boxes


def test_what_is_refused():
    sine = contract_of(bx.models.Function(lambda p, x: p * jnp.sin(x[0]), jnp.array(1.0)))
    for call in (certify, certified):
        with pytest.raises(bx.DeclarationError, match="`sin`"):
            call(sine)
    for wrong in (0, True):
        with pytest.raises(bx.DeclarationError, match="splits"):
            certify(AMPLIFYING, splits=wrong)
    with pytest.raises(bx.DeclarationError, match="gap"):
        certify(AMPLIFYING, gap=0.0)
    with pytest.raises(bx.DeclarationError, match="certified"):
        jax.jit(lambda model: certify(AMPLIFYING, model).lower)(AMPLIFIER)
    with pytest.raises(bx.DeclarationError, match="starts"):
        counterexample(AMPLIFYING, key=jax.random.key(0), starts=0)


def test_more_models_compile_nothing_new():
    traced = []

    def one(p):
        traced.append(p)
        return certified(AMPLIFYING, bx.models.Function(AMPLIFIER.fn, p), 4)

    run = jax.jit(jax.vmap(one))
    p = jnp.array([[2.0, 2.5], [0.5, 2.5], [4.0, 2.4]])
    alone = [bool(MONOTONE(bx.models.Function(AMPLIFIER.fn, row))) for row in p]
    assert run(p).tolist() == alone == [True, False, True]
    assert run(p + 0.01).shape == (3,) and len(traced) == 1


def test_an_enclosure_and_the_margin_agree():
    low, high = jnp.array([3.5]), jnp.array([5.0])
    below, _ = enclose(AMPLIFIER, low, high)
    one = bx.Contract(bx.Component(AMPLIFIER, bx.Normal()), BEFORE, AFTER)
    assert float(below) - 4 >= certify(one).lower - 1e-12


def test_a_search_leaves_a_point_between_two_equal_sides(monkeypatch):
    """Both ends map to the middle of what is accepted, where the two sides pull equally."""
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.zeros(shape))
    hill = bx.models.Function(lambda p, x: p * x * (2 - x), jnp.ones(()))
    before = bx.Interface.intervals({0: [(0.0, 2.0)]})
    contract = contract_of(hill, before, bx.Interface.intervals({0: [(-0.5, 0.5)]}))
    worst = counterexample(contract, key=jax.random.key(0), starts=2)
    assert worst is not None and worst.margin == pytest.approx(-0.5, abs=1e-4)


@pytest.mark.parametrize("y", [-jnp.inf, jnp.inf, jnp.nan])
def test_what_is_not_finite_has_no_distance_to_a_ray(y):
    """`inf - inf` on either side: neither ray may take it for an output far inside."""
    line = bx.Interface.intervals({0: [(None, 0.0)] if y < 0 else [(0.0, None)]})
    wild = bx.models.Function(lambda p, x: p + 0 * x, jnp.asarray(y))
    contract = contract_of(wild, bx.Interface.intervals({0: [(0.0, 1.0)]}), line)
    assert float(margin(contract)) == -jnp.inf == float(attack(contract, None, jax.random.key(0)))
    assert not line.contains(jnp.asarray(y), 0)
