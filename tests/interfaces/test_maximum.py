"""Maximum-entropy interfaces: brute force over all chains, exact linear chains, pressures.

Mutants that are told apart: + in place of max, one logical value only, shared draws taken for
independent ones. Statistical bounds are 4 standard errors: false alarms 6e-5 a number, fixed keys.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax import cases, theory
from boltzax import interfaces as it
from boltzax.core import DeclarationError, RunError, Status
from boltzax.declare import Family
from boltzax.interfaces._entropy_table import EntropyTable
from boltzax.interfaces._maximum_entropy import (
    ChainTables,
    chain_tables,
    max_plus,
    maximum_entropy,
)
from boltzax.interfaces._maximum_thresholds import maximise_interfaces
from boltzax.interfaces._pressure import pressure

W, RATIO, STEP = 3.0, 8.0, 2.0  # R = l_n / l_0, S = h_n / h_0
FIRST, LAST = (1.0, 4.0), (RATIO, 4 * STEP)
key, slopes = jax.random.key, cases.gain_chain


def best_sum(n):
    return theory.linear_chain_maximum(W, FIRST, LAST, n)


def entropy(low, high, low_after, high_after):
    return theory.linear_interface(W, (low, high), (low_after, high_after))


def grid(n):
    """The exact optimum of each joint among other levels: geometric thresholds."""
    low = [RATIO ** (i / n) for i in range(1, n)]
    high = [4 * STEP ** (i / n) for i in range(1, n)]
    return Family.thresholds([*low, *high, 1.2, 5.2, 12.0], range=(0, None)), low, high


@pytest.mark.parametrize(
    "n", [2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_linear_chains_exactly(n):
    family, low, high = grid(n)
    draws = 20_000 if n == 2 else 40_000
    chain = chain_tables(slopes(n, family), key=key(n), draws=draws)
    wanted = [
        family.index(bx.Interface.thresholds(a, b, range=(0, None)))
        for a, b in zip(low, high, strict=True)
    ]
    ends = [(1.0, 4.0), *zip(low, high, strict=True), (RATIO, 4 * STEP)]
    exact = [entropy(*a, *b) for a, b in itertools.pairwise(ends)]
    assert np.isclose(sum(exact), best_sum(n))
    found = max_plus(chain)
    table = [chain.at(i).entropy[b, a] for i, (_, b, a) in enumerate(chain.pairs(wanted))]
    assert all(abs(float(h.z_score(e))) < 4 for h, e in zip(table, exact, strict=True))
    # no chain can be better than the exact one but by its error
    at_wanted = sum(float(h.value) for h in table)
    assert float(found.selected.value) >= at_wanted - 1e-12
    exact_found = [(1.0, 4.0), *(ends_of(family[m]) for m in found.members), (RATIO, 4 * STEP)]
    truth = sum(entropy(*a, *b) for a, b in itertools.pairwise(exact_found))
    assert truth <= best_sum(n) + 1e-12
    assert abs(float(found.selected.z_score(truth))) < 4
    assert best_sum(n) - truth < 4 * float(found.selected.standard_error)


def ends_of(interface):
    return float(interface.upper[0, 0, 0]), float(interface.lower[1, 0, 0])


@pytest.fixture(scope="module")
def small():
    family = Family.thresholds([1.5, 2.5, 4.0, 6.0], range=(0, None))
    return chain_tables(slopes(4, family), key=key(0), draws=3000)


def sums(chain):
    logs = [np.log(np.asarray(chain.at(i).probability)) for i in range(4)]
    return logs[0][0][:, None, None] + logs[1][:, :, None] + logs[2][None] + logs[3][:, 0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_max_plus_is_brute_force(small):
    every = sums(small)
    order = np.argsort(every.ravel())[::-1]
    found = max_plus(small)
    assert np.isclose(every[found.members], every.max())
    assert np.isclose(float(found.selected.value), every.max())
    assert found.members != found.runner_up
    assert np.isclose(every[found.runner_up], every.ravel()[order[1]])
    assert np.isclose(float(found.lead.value), np.diff(every.ravel()[order[:2]])[0] * -1)
    assert found.interfaces[1] == small.family(0)[found.members[0]]
    assert np.isclose(float(jnp.sum(found.entropies.value)), float(found.entropy.value))
    # the mutant with + for max gives the log of a sum over chains
    total = np.log(np.sum(np.exp(every)))
    assert total > every.max() + 0.1


@pytest.mark.slow
@given(st.integers(0, 10**6), st.sampled_from([3, 5]))
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_max_plus_of_any_tables(seed, count):
    """Tables of noise, with hits that are 0: the best and the second best chain of all."""
    random = np.random.default_rng(seed)
    declared = slopes(count, Family.thresholds([1.0, 2.0]))
    tables = []
    for before, after in itertools.pairwise(declared.families):
        cell = random.integers(0, 4, (len(before), 50))
        contains = random.random((4, len(after))) < 0.5
        contains[0] = True
        hits = contains[cell].sum(1)
        tables.append(EntropyTable(before, after, *map(jnp.asarray, (cell, contains, hits))))
    chain = ChainTables(declared, tuple(tables), tuple(range(count)))
    every = [
        (sum(float(chain.at(i).entropy.value[b, a]) for i, (_, b, a) in enumerate(pairs)), m)
        for m in itertools.product(range(3), repeat=count - 1)
        for pairs in [chain.pairs(m)]
    ]
    values = sorted((value for value, _ in every), reverse=True)
    found = max_plus(chain)
    assert np.isclose(float(found.selected.value), values[0])
    assert np.isclose({m: v for v, m in every}[found.members], values[0])
    assert found.runner_up != found.members
    assert np.isclose({m: v for v, m in every}[found.runner_up], values[1])
    assert np.isclose(float(found.lead.value), values[0] - values[1])


def test_equal_components_share_draws_and_errors(small):
    assert small.position == (0, 1, 1, 2)
    found = max_plus(small)
    separate = float(jnp.sqrt(jnp.sum(found.entropies.standard_error**2)))
    assert float(found.entropy.standard_error) != pytest.approx(separate, rel=1e-3)
    influence = np.zeros(3000)
    for u, b, a in small.pairs(found.members)[1:3]:
        hit = np.asarray(small.tables[u].satisfied(b, a), float)
        influence += hit / hit.mean() - 1
    square = influence.var() / 3000
    square += sum(float(found.entropies.standard_error[i]) ** 2 for i in (0, 3))
    # the variance of independent draws is by n - 1
    assert float(found.entropy.standard_error) == pytest.approx(np.sqrt(square), rel=1 / 3000)


PAIRED = slopes(2, Family.thresholds([2.0, 3.0, 5.0], range=(0, None)))


@given(st.integers(0, 5), st.integers(0, 10**6))
def test_tables_of_a_chosen_chain_are_entries_of_those_of_the_candidates(member, seed):
    """By the same draws: gains take intervals to intervals, whatever the points."""
    all_of_them, chosen = (
        chain_tables(each, key=key(seed), draws=300) for each in (PAIRED, PAIRED.at([member]))
    )
    assert np.array_equal(chosen.entropies([0]).value, all_of_them.entropies([member]).value)
    found = all_of_them.influence([member])
    assert float(found.value) == pytest.approx(float(np.sum(chosen.entropies([0]).value)))


def test_fresh_draws_do_not_flatter():
    family, _, _ = grid(2)
    found = maximum_entropy(slopes(2, family), key=key(3), draws=4000)
    pairs = itertools.pairwise([ends_of(each) for each in found.interfaces])
    truth = [entropy(*a, *b) for a, b in pairs]
    assert abs(float(found.entropy.z_score(sum(truth)))) < 4
    assert (np.abs(found.entropies.z_score(np.array(truth))) < 4).all()
    assert float(found.entropy.value) != float(found.selected.value)


@pytest.mark.slow
def test_pressures_balance_at_the_optimum():
    levels = [2.2, RATIO**0.5, 3.5, 5.0, 4 * STEP**0.5, 6.3]
    family = Family.thresholds(levels, range=(0, None))
    chain = chain_tables(slopes(2, family), key=key(5), draws=40_000)
    low, high = RATIO**0.5, 4 * STEP**0.5
    member = family.index(bx.Interface.thresholds(low, high, range=(0, None)))
    found = pressure(chain, [member])

    def exact(before, value):  # the same central differences of the exact entropies
        ends = {0: (2.2, 3.5), 1: (5.0, 6.3)}[value]
        at = [(t, high) if value == 0 else (low, t) for t in ends]
        if before:
            h = [entropy(1.0, 4.0, *t) for t in at]
        else:
            h = [entropy(*t, RATIO, 4 * STEP) for t in at]
        return (h[1] - h[0]) / (ends[1] - ends[0])

    for value, side in ((0, 1), (1, 0)):
        one, two, both = (each[value, side, 0] for each in (found.before, found.after, found.total))
        assert abs(float(one.z_score(exact(True, value)))) < 4
        assert abs(float(two.z_score(exact(False, value)))) < 4
        assert abs(float(both.z_score(exact(True, value) + exact(False, value)))) < 4
        assert float(one.value) * float(two.value) < 0
    assert np.isnan(found.total.value[0, 0]).all() and np.isnan(found.total.value[1, 1]).all()


@pytest.mark.slow
def test_continuous_thresholds_find_the_exact_optimum():
    found = maximise_interfaces(
        slopes(2), key=key(0), span=(0.0, 12.0), range=(0, None), starts=2, steps=150,
    )  # fmt: skip
    low, high = ends_of(found.interfaces[1])
    truth = entropy(1.0, 4.0, low, high) + entropy(low, high, RATIO, 4 * STEP)
    assert abs(float(found.entropy.z_score(truth))) < 4
    # near the maximum of 2000 fixed draws, whose own error is 0.03
    assert best_sum(2) - 0.03 < truth <= best_sum(2)
    assert float(found.starts.max()) == pytest.approx(best_sum(2), abs=0.15)
    total = found.pressures[0].total
    assert (
        abs(float(total.z_score(0.0)[0, 1, 0])) < 4 and abs(float(total.z_score(0.0)[1, 0, 0])) < 4
    )
    assert float(found.pressures[0].before.value[0, 1, 0]) > 0.1


@pytest.mark.slow
def test_continuous_thresholds_in_two_dimensions():
    """Coordinates that do not mix: twice the one-dimensional optimum, in each coordinate."""
    pair = bx.Component(bx.models.Function(lambda w, x: w * x, jnp.zeros(2)), bx.Uniform(0.0, W))
    first = bx.Interface.thresholds([1.0, 1.0], [4.0, 4.0], range=(0, None))
    last = bx.Interface.thresholds([8.0, 8.0], [8.0, 8.0], range=(0, None))
    found = maximise_interfaces(
        bx.Chain([pair] * 2, [first, None, last], points=2), key=key(1), span=(0.0, 12.0),
        range=(0, None), draws=8000, starts=2, steps=150,
    )  # fmt: skip
    truth = 0.0
    for axis in (0, 1):
        low, high = (float(t) for t in found.thresholds[0][:, axis])
        truth += entropy(1.0, 4.0, low, high) + entropy(low, high, 8.0, 8.0)
    assert abs(float(found.entropy.z_score(truth))) < 4
    assert 2 * best_sum(2) - 0.06 < truth <= 2 * best_sum(2)


def test_what_is_wrong_is_refused(small):
    family = small.family(0)
    chain = chain_tables(slopes(2, family, last=(0.1, 1e6)), key=key(0), draws=500)
    with pytest.raises(RunError, match="No chain of members"):
        max_plus(chain)
    with pytest.raises(DeclarationError, match="Family of candidates"):
        chain_tables(slopes(2), key=key(0))
    with pytest.raises(DeclarationError, match="at least one joint"):
        maximise_interfaces(slopes(1), key=key(0), span=(0.0, 1.0))
    with pytest.raises(DeclarationError, match="joint"):
        pressure(small, [0, 0, 0], 3)
    with pytest.raises(DeclarationError, match="span"):
        maximise_interfaces(slopes(2), key=key(0), span=(1.0, 1.0))


@pytest.mark.parametrize("draws", [30, 60, 120])
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))]
)
def test_few_hits_are_told(draws, seed):
    """The status follows from the fresh draws that keep the rarest contract."""
    family, _, _ = grid(2)
    found = maximum_entropy(slopes(2, family), key=key(seed), draws=draws, throw=False)
    rarest = round(float(np.exp(np.min(found.entropies.value))) * draws)
    wanted = Status.successful if rarest >= 10 else Status.few_hits
    wanted = wanted if rarest else Status.no_hits
    assert bool(found.status == wanted) and found.successful == (rarest >= 10)
    if rarest < 10:
        assert Status[found.status] in repr(found)
        with pytest.raises(bx.RunError, match="throw=False"):
            maximum_entropy(slopes(2, family), key=key(seed), draws=draws)


@pytest.mark.parametrize(
    "verb", [pytest.param(it.interface_law, marks=pytest.mark.slow), it.expected_satisfaction]
)
def test_evidence_of_few_draws_is_told(verb):
    affine = bx.models.Function(
        lambda p, x: p["a"] * x[0] + p["b"], {"a": jnp.zeros(()), "b": jnp.zeros(())}
    )
    one = bx.Component(affine, bx.Normal())
    first = bx.Interface.thresholds(1.0, 4.0, range=(0, 5))
    family = Family.thresholds([1.0, 1.5, 2.0, 3.0], range=(0, 5))
    chain = bx.Chain([one, one], [first, family, bx.Interface.thresholds(2.0, 3.0)], points=2)
    with pytest.raises(bx.RunError, match="Fewer than 10 draws"):
        verb(chain, key=key(0), draws=60)
    few = verb(chain, key=key(0), draws=60, throw=False)
    assert not few.successful and bool(few.status == Status.few_hits)
    assert Status[few.status] in repr(few)
    many = verb(chain, key=key(0), draws=20_000)
    assert many.successful and Status[few.status] not in repr(many)
    if verb is it.expected_satisfaction:
        assert not np.isnan(few.standard_error).any() and few.few.any()
        assert np.array_equal(np.isinf(few.standard_error), np.isinf(few.entropy))
