"""The satisfaction law: exact ensembles obey it, others do not, and mutants are told apart.

Most tests use two linear components `w x`, `w ~ U[0, 2]`, where all is in closed form. From 0
below 1 and 1 above 2 to thresholds (l, h): `h/2 <= w <= l`; on to (2.2, 2.2):
`2.2/h <= w <= 2.2/l`; end to end `1.1 <= w₁ w₂ <= 2.2`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import cases
from boltzax.core import with_weights
from boltzax.interfaces._components_in_series import in_series
from boltzax.interfaces._expected_satisfaction import (
    Judge,
    Series,
    end_to_end,
    expected_satisfaction,
)
from boltzax.interfaces._satisfaction_law import Agreement, _summary, satisfaction_law


class Amplifier(eqx.Module):
    """`5 σ(gain (x - 2.5) + bias)`."""

    gain: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(()))
    bias: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(()))

    def __call__(self, x):
        return 5 * jax.nn.sigmoid(self.gain * (x[0] - 2.5) + self.bias)


GAINS = {"width": 2.0, "first": (1.0, 2.0), "last": (2.2, 2.2)}
LINEAR = cases.gain_component(GAINS["width"])
AMPLIFIER = bx.Component(Amplifier(), bx.Normal(0.0, 2.0))
FIRST, LAST = (bx.Interface.thresholds(*GAINS[end], range=(0.0, None)) for end in ("first", "last"))
PAIRS = [(low, low * ratio) for low in (0.8, 1.0, 1.2, 1.4, 1.6) for ratio in (1.0, 1.2, 1.4, 1.6)]
FAMILY = [bx.Interface.thresholds(*pair, range=(0.0, None)) for pair in PAIRS]
DRAWS = 100_096
SPEC = (1.1, 2.2)
"""Bounds of w₁ w₂, from thresholds 2.2 and 2.2 at the end."""


@pytest.fixture(scope="module")
def expected():
    return expected_satisfaction(pair(), key=jax.random.key(0), draws=DRAWS)


def pair(first=FIRST, members=FAMILY, last=LAST, points=3):
    """Two linear components with candidates between them."""
    return bx.Chain((LINEAR, LINEAR), (first, bx.Family.of(members), last), points=points)


def exact() -> tuple[np.ndarray, float]:
    """H of each candidate, and log Z."""
    width, first, last = GAINS.values()
    of = bx.theory.linear_interface
    entropies = [of(width, first, pair) + of(width, pair, last) for pair in PAIRS]
    return np.array(entropies), cases.gain_chain_evidence(2, **GAINS)


def linear(weight):
    return eqx.tree_at(lambda model: model.params, LINEAR.model, weight)


def ensemble(key, count):
    """Draws of the prior, as a pair of models."""
    weights = jax.random.uniform(key, (2, count), maxval=2.0)
    return tuple(map(linear, weights))


def chosen(models, rows):
    return jax.tree.map(lambda leaf: leaf[rows], models)


@eqx.filter_jit
def run(judge, models):
    return jax.vmap(judge)(models)


@eqx.filter_jit
def margins(contract, models):
    return jax.vmap(contract.margin)(models)


def product(models):
    return np.asarray(models[0].params * models[1].params)


@pytest.mark.slow
def test_entropies_are_exact(expected):
    entropy, evidence = exact()
    possible = np.isfinite(entropy)
    assert possible.sum() >= 12
    error = np.std(np.asarray(expected.entropy_replicates)[:, possible], axis=0)
    z = (np.asarray(expected.entropy)[possible] - entropy[possible]) / error
    # 20 numbers: one of them is beyond 4.5 by chance with probability 1.4e-4
    assert np.all(np.abs(z) < 4.5), z
    assert np.all(np.asarray(expected.entropy)[~possible] == -np.inf)
    spread = np.std(np.asarray(expected.log_evidence_replicates))
    assert abs(float(expected.log_evidence) - evidence) < 4.5 * spread
    rate = np.exp(evidence) * (1 - np.exp(evidence)) / DRAWS
    assert np.isclose(spread, np.sqrt(rate) / np.exp(evidence), rtol=0.3)
    # of the pool, the same share satisfies each candidate
    share, law = np.mean(np.asarray(expected.pool), axis=0), np.exp(entropy - evidence)
    assert np.all(np.abs(share - law) <= 4.5 * np.sqrt(law / len(expected.pool)))


@pytest.mark.slow
def test_exact_ensemble_obeys_the_law(expected):
    models = ensemble(jax.random.key(1), 8192)
    law = satisfaction_law(models, expected, key=jax.random.key(2), allow_satisfied=True)
    inside = (product(models) >= SPEC[0]) & (product(models) <= SPEC[1])
    assert law.solved == inside.sum() and law.systems == 8192
    assert float(law.slope.standard_error) < 0.1
    assert abs(float(law.slope.z_score(1.0))) < 4
    assert abs(float(law.level.z_score(1.0))) < 4
    assert abs(float(law.best.z_score(1.0))) < 4
    assert float(law.order.value) > 0.95 and law.shortfall < 0.2
    assert law.agreement == Agreement.agrees
    assert "slope" in repr(law) and "candidates" in repr(expected)


@pytest.mark.slow
def test_p_values_and_errors_are_calibrated(expected):
    """Twenty exact ensembles. Uniform p-values have a mean of .5 ± .065, and more than 4 of 20
    below .05 with probability .0026; 20 z-scores of unit variance have a mean square outside
    [.34, 2.2] with probability 2e-3."""
    p, z = [], []
    for i in range(20):
        models = ensemble(jax.random.key(100 + i), 4096)
        law = satisfaction_law(models, expected, key=jax.random.key(i), allow_satisfied=True)
        p.append(law.p_value)
        z.append(float(law.slope.z_score(1.0)))
    assert abs(np.mean(p) - 0.5) < 4 * 0.0645 and np.sum(np.array(p) < 0.05) <= 4
    assert len(set(p)) > 10 and min(p) >= 1 / 201
    assert 0.34 < np.mean(np.square(z)) < 2.2


@pytest.mark.slow
def test_favoured_interface_is_told(expected):
    """Systems that satisfy one poor candidate are kept four times as often."""
    models = ensemble(jax.random.key(3), 12288)
    entropy, _ = exact()
    poor = int(np.argsort(np.where(np.isfinite(entropy), entropy, np.inf))[4])
    low, high = PAIRS[poor]
    first, second = (np.asarray(m.params) for m in models)
    favoured = (first <= low) & (first >= high / 2)
    favoured &= (second <= 2.2 / low) & (second >= 2.2 / high)
    keep = favoured | (np.random.default_rng(0).uniform(size=12288) < 0.25)
    law = satisfaction_law(
        chosen(models, keep), expected, key=jax.random.key(4), allow_satisfied=True
    )
    # the number of systems is no power of two: none is counted twice
    kept = product(models)[keep]
    inside = (kept >= SPEC[0]) & (kept <= SPEC[1])
    assert law.systems == keep.sum() and law.solved == inside.sum()
    assert np.isclose(float(law.fraction[poor]), favoured.sum() / inside.sum())
    assert law.agreement != Agreement.agrees and law.p_value < 0.01
    assert abs(float(law.slope.z_score(1.0))) > 6
    assert law.distance > 3 * law.floor
    assert float(law.fraction[poor] / law.expected[poor]) > 2


@pytest.mark.slow
def test_one_corner_differs_in_order_too(expected):
    """First components as small as the spec allows satisfy none of the likely interfaces."""
    first = jax.random.uniform(jax.random.key(5), (4096,), minval=0.56, maxval=0.75)
    second = jnp.minimum(1.5 / first, 2.0)
    law = satisfaction_law(
        (linear(first), linear(second)), expected, key=jax.random.key(6), allow_satisfied=True
    )
    assert law.solved > 3000 and law.p_value < 0.01
    assert law.agreement == Agreement.differs
    assert float(law.slope.value) < 0 and float(law.best.value) < 0.2 and law.shortfall > 0.5


@pytest.mark.slow
def test_satisfied_starts_are_refused(expected):
    models = ensemble(jax.random.key(7), 8192)
    inside = (product(models) >= SPEC[0]) & (product(models) <= SPEC[1])
    outside = chosen(models, np.flatnonzero(~inside)[:4096])
    models, inside = chosen(models, np.arange(4096)), inside[:4096]
    key = jax.random.key(8)
    with pytest.raises(bx.DeclarationError, match="initial"):
        satisfaction_law(models, expected, key=key)
    with pytest.raises(bx.DeclarationError, match=f"{inside.sum()} of which satisfy"):
        satisfaction_law(models, expected, key=key, initial=models)
    fewer = chosen(outside, np.arange(3000))
    with pytest.raises(bx.DeclarationError, match="the starts of the 4096 systems"):
        satisfaction_law(models, expected, key=key, initial=fewer)
    law = satisfaction_law(models, expected, key=key, initial=outside)
    assert law.solved == inside.sum()


@pytest.mark.slow
def test_wrong_declarations(expected):
    key = jax.random.key(9)
    with pytest.raises(bx.DeclarationError, match="ensemble"):
        satisfaction_law((LINEAR.model, LINEAR.model), expected, key=key, allow_satisfied=True)
    models = ensemble(key, len(expected.pool))
    with pytest.raises(bx.DeclarationError, match="a quarter of the pool"):
        satisfaction_law(models, expected, key=key, allow_satisfied=True)
    with pytest.raises(bx.DeclarationError, match="two"):
        expected_satisfaction(bx.Chain((LINEAR,), (FIRST, FIRST)), key=key)
    beyond = bx.Interface.thresholds(-8.0, 9.0)
    with pytest.raises(bx.DeclarationError, match="none of 100096 draws"):
        expected_satisfaction(pair(last=beyond), key=key, draws=DRAWS)


@pytest.mark.slow
def test_too_few_systems(expected):
    first, second = ensemble(jax.random.key(10), 4096)
    models = linear(first.params.at[32:].set(0.1)), second
    law = satisfaction_law(models, expected, key=jax.random.key(0), allow_satisfied=True)
    assert law.agreement == Agreement.too_few


@pytest.mark.slow
def test_relabelling_changes_nothing(expected):
    names = {0: "low", 1: "high"}
    first, last, *family = (i.relabel(names) for i in (FIRST, LAST, *FAMILY))
    again = expected_satisfaction(pair(first, family, last), key=jax.random.key(0), draws=DRAWS)
    assert np.array_equal(again.entropy, expected.entropy)
    # values listed in another order
    turned = [bx.Interface((1, 0), c.lower[::-1], c.upper[::-1]) for c in FAMILY]
    models = Series(ensemble(jax.random.key(11), 64))
    one, two = (run(Judge(pair(members=each)), models) for each in (FAMILY, turned))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_judge_is_the_contracts():
    """Unions of boxes, shared boxes and padding: the judge is the contracts, one by one."""
    first = bx.Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5)]})
    last = bx.Interface.intervals({0: [(0, 2.2)], 1: [(2.8, 5)]})
    family = [
        bx.Interface.intervals({0: [(0, 2)], 1: [(3, 5)]}),
        bx.Interface.intervals({0: [(0, 1), (1.5, 2)], 1: [(3, 4)]}),
        bx.Interface.intervals({0: [(3, 5)], 1: [(0, 2)]}),
        bx.Interface.intervals({0: [(0, 2)], 1: [(2.2, 2.4), (2.6, 5)]}),
        bx.Interface.intervals({0: [], 1: [(0, 5)]}),
    ]
    inverter = bx.Component(Amplifier(), bx.Normal(0.0, 2.0), logic={0: 1, 1: 0})
    judge = Judge(bx.Chain((inverter,) * 2, (first, bx.Family.of(family), last), points=9))
    keys = jax.random.split(jax.random.key(12), 2)
    gains = [2 * jax.random.normal(k, (2, 400)) for k in keys]
    models = Series(tuple(eqx.tree_at(lambda a: (a.gain, a.bias), Amplifier(), tuple(g))
                          for g in gains))  # fmt: skip
    before, after, solved = run(judge, models)
    for i, middle in enumerate(family):
        one = bx.Contract(inverter, first, middle, points=9)
        two = bx.Contract(inverter, middle, last, points=9)
        assert np.array_equal(before[:, i], margins(one, models.parts[0]) >= 0)
        assert np.array_equal(after[:, i], margins(two, models.parts[1]) >= 0)
        if i != 4:
            assert 0 < np.sum(after[:, i]) < 400
    # what satisfies both contracts satisfies the spec
    assert np.all(np.asarray(solved)[:, None] | ~np.asarray(before & after))
    assert np.sum(before & after) > 0


def test_end_to_end():
    inverter = bx.Component(Amplifier(), bx.Normal(), logic={0: 1, 1: 0})
    two = end_to_end(bx.Chain((inverter, inverter), (FIRST, None, LAST)))
    assert dict(two.component.logic) == {0: 0, 1: 1}
    three = end_to_end(bx.Chain((inverter,) * 3, (FIRST, None, None, LAST)))
    assert dict(three.component.logic) == {0: 1, 1: 0}
    assert set(bx.compile(bx.Violation(two), two.prior).coordinates.base) == {
        f"parts[{i}].{name}" for i in (0, 1) for name in ("gain", "bias")
    }
    weights = {"parts[0].gain": 3.0, "parts[1].gain": -1.0}
    system = with_weights(two.model, {k: jnp.asarray(v) for k, v in weights.items()})
    x = jnp.array([1.7])
    inner = 5 * jax.nn.sigmoid(3.0 * (1.7 - 2.5))
    assert np.allclose(system(x), 5 * jax.nn.sigmoid(-(inner - 2.5)))
    half = bx.Component(Amplifier(), bx.Normal(), logic={0: 2, 1: 3})
    with pytest.raises(bx.DeclarationError, match="truth table"):
        bx.Chain((half, inverter), (FIRST, None, LAST))
    with pytest.raises(bx.DeclarationError, match="truth table"):
        in_series((half, inverter))
    with pytest.raises(bx.DeclarationError, match="components"):
        in_series(())


@pytest.mark.slow
def test_summary_of_exact_shares():
    """Shares that are a power law of e^H give that power, and the level and the best by hand."""
    entropy = jnp.array([-5.0, -1.0, -3.0, -2.0, -jnp.inf])
    used = jnp.array([True, True, True, True, False])
    fraction = 0.3 * jnp.exp(0.7 * entropy).at[4].set(9.0)
    slope, level, order, best = _summary(fraction, entropy, jnp.asarray(-0.5), used)
    rate = np.exp(np.array(entropy[:4]) + 0.5)
    assert np.isclose(slope, 0.7) and np.isclose(order, 1.0)
    assert np.isclose(level, np.sum(fraction[:4]) / rate.sum())
    assert np.isclose(best, fraction[1] / rate[1])
    shuffled = fraction[jnp.array([1, 0, 3, 2, 4])]
    assert np.isclose(_summary(shuffled, entropy, jnp.asarray(-0.5), used)[2], -1.0)


def one_value(expected):
    """Planted: interfaces of which one logical value is looked at."""
    first = bx.Interface.intervals(FIRST.sets() | {1: []})
    last = bx.Interface.intervals(LAST.sets() | {1: [(None, None)]})
    made = expected_satisfaction(pair(first, last=last), key=jax.random.key(0), draws=DRAWS)
    return eqx.tree_at(lambda e: e.judge, made, expected.judge)


def one_part(expected):
    """Planted: H of the first component alone (the second may do as it likes)."""
    all_good = bx.Interface.intervals({0: [(None, None)], 1: [(None, None)]})
    made = expected_satisfaction(pair(last=all_good), key=jax.random.key(0), draws=DRAWS)
    first = (made.entropy, made.entropy_replicates)
    return eqx.tree_at(lambda e: (e.entropy, e.entropy_replicates), expected, first)


def no_evidence(expected):
    """Planted: Z left out."""
    none = (jnp.zeros(()), jnp.zeros_like(expected.log_evidence_replicates))
    return eqx.tree_at(lambda e: (e.log_evidence, e.log_evidence_replicates), expected, none)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [one_value, one_part, no_evidence])
def test_mutants_are_killed(mutant, expected):
    """The exact ensemble of `test_exact_ensemble_obeys_the_law` against a wrong expectation."""
    models = ensemble(jax.random.key(1), 8192)
    wrong = mutant(expected)
    law = satisfaction_law(models, wrong, key=jax.random.key(2), allow_satisfied=True)
    assert law.agreement != Agreement.agrees
    assert max(abs(float(e.z_score(1.0))) for e in (law.slope, law.level)) > 6
