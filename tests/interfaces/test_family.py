"""Families of interfaces and tables of entropies: exact cases, laws draw by draw, mutants.

Mutants that these tests kill: ζ transposed, one logical value only, entropies indexed by the wrong
family, a cell rounded inwards. Statistical bounds are 4 standard errors, two-sided: false alarms
6e-5 a number; keys are fixed.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.compile import compile as compile_gibbs
from boltzax.core import DeclarationError
from boltzax.declare import Family
from boltzax.interfaces._entropy_table import entropy_table, tightest_kernel

SLOPE = bx.models.Function(lambda w, x: w * x[0], jnp.zeros(()))
STEP = bx.models.Function(lambda c, x: 5.0 * (x[0] > c), jnp.zeros(()))
NET = bx.models.TwoLayer(3, jnp.tanh, bias=True)
FIRST = bx.Interface.intervals({0: [(0, 1.0)], 1: [(4.0, None)]})
LEVELS = Family.thresholds([0.5, 1.0, 2.0, 3.0, 5.0])
key = jax.random.key


def net():
    return bx.Component(NET, bx.Normal(0, 1.5))


def margins(component, before, after, prior_key, draws):
    """Margins of the contract for the draws that a table with this key takes."""
    contract = bx.Contract(component, before, after)
    gibbs = compile_gibbs(bx.Violation(contract), component.prior)

    def one(k):
        return contract.margin(gibbs.model(gibbs.sample_prior(k)))

    return np.asarray(jax.vmap(one)(jax.random.split(prior_key, draws)))


def test_thresholds_are_all_pairs_in_order():
    family = Family.thresholds(np.linspace(0, 5, 40), range=(0, 5))
    assert len(family) == 820
    assert family[41] == bx.Interface.thresholds(5 / 39, 10 / 39, range=(0, 5))
    small = Family.thresholds([0, 1, 3], range=(0, 4))
    pairs = [(0, 0), (0, 1), (0, 3), (1, 1), (1, 3), (3, 3)]
    assert list(small) == [bx.Interface.thresholds(*p, range=(0, 4)) for p in pairs]
    assert [small.index(each) for each in small] == list(range(6))


MEMBERS = [
    bx.Interface.intervals({0: [(0, 1), (3, 4)], 1: [(5, 6)]}),
    bx.Interface.intervals({0: [(0, 4)], 1: [(4.5, 6)]}),
    bx.Interface.intervals({0: [(0, 1)], 1: [(5, 5.5), (5.7, 6)]}),
    bx.Interface.intervals({0: [(0, 1)], 1: []}),
    bx.Interface.intervals({1: [(5, 6)], 0: [(0.5, 1), (3, 3.5)]}),
]


def test_order_is_the_inclusion_of_the_members():
    for family in (Family.of(MEMBERS), LEVELS):
        order = np.asarray(family.order())
        for i, j in itertools.product(range(len(family)), repeat=2):
            assert order[i, j] == (family[i] <= family[j])
    assert [each == other for each, other in zip(Family.of(MEMBERS), MEMBERS, strict=True)] == [
        True
    ] * len(MEMBERS)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Family.of([]),
        lambda: Family.of([MEMBERS[0], MEMBERS[0]]),
        lambda: Family.of([MEMBERS[0], MEMBERS[0].relabel({0: 2})]),
        lambda: Family.thresholds([0, jnp.nan]),
        lambda: Family.thresholds([-1, 2], range=(0, 5)),
        lambda: LEVELS.index(MEMBERS[0]),
        lambda: entropy_table(net(), MEMBERS[0], LEVELS.take([0]), key=key(0), points=1),
        lambda: entropy_table(net(), FIRST.relabel({0: 2}), LEVELS, key=key(0)),
        lambda: entropy_table(net(), FIRST, LEVELS, key=key(0), draws=0),
    ],
)
def test_wrong_declarations(build):
    with pytest.raises(DeclarationError):
        build()


def test_linear_components_exactly():
    component = bx.Component(SLOPE, bx.Uniform(0.0, 3.0))
    table = entropy_table(component, FIRST, LEVELS, key=key(0), points=2)
    low, high = (np.asarray(b) for b in (LEVELS.upper[:, 0, 0, 0], LEVELS.lower[:, 1, 0, 0]))
    exact = np.maximum(np.minimum(3.0, low / 1.0) - high / 4.0, 0) / 3.0
    p = np.asarray(table.probability)[0]
    sure = exact * (1 - exact) == 0
    assert (p[sure] == exact[sure]).all()
    error = np.sqrt(exact * (1 - exact) / table.draws)
    assert (np.abs(p - exact)[~sure] < 4 * error[~sure]).all()
    lower, upper = (np.asarray(b)[0] for b in table.interval(0.9999))
    with np.errstate(divide="ignore"):
        assert ((lower <= np.log(exact) + 1e-12) & (np.log(exact) <= upper + 1e-12)).all()
    one, two = (0, 14), (0, 12)
    gap = table.difference(one, two)
    assert abs(float(gap.z_score(np.log(exact[14] / exact[12])))) < 4
    free = np.hypot(*(float(table.entropy[i].standard_error) for i in (one, two)))
    assert float(gap.standard_error) < free  # what is shared cancels


def test_step_components_exactly():
    component = bx.Component(STEP, bx.Uniform(0.0, 5.0))
    family = Family.thresholds([0.5, 1.0, 2.5, 4.0], range=(0, 5))
    after = bx.Interface.thresholds(1.0, 4.0, range=(0, 5))
    table = entropy_table(component, family, after, key=key(1))
    low, high = (np.asarray(b) for b in (family.upper[:, 0, 0, 0], family.lower[:, 1, 0, 0]))
    exact = (high - low) / 5
    p = np.asarray(table.probability)[:, 0]
    error = np.sqrt(exact * (1 - exact) / table.draws)
    assert (np.abs(p - exact) <= 4 * error).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "members", ["intervals", pytest.param("single", marks=pytest.mark.slow), "thresholds"]
)
def test_a_table_counts_the_margins_of_contracts(members):
    """Both ways of finding cells, against `Contract.margin` of the same draws."""
    inverted = bx.Component(NET, bx.Normal(0, 1.5), logic={0: 1, 1: 0})
    first = bx.Interface.intervals({0: [(-1, -0.2), (0.7, 1)], 1: [(0, 0.5)]})
    family = Family.of(
        [
            bx.Interface.intervals({0: [(-3, 0.2), (1, 2)], 1: [(-0.5, 3)]}),
            bx.Interface.intervals({0: [(-1, 0.5)], 1: [(0, 1), (1.5, None)]}),
            bx.Interface.intervals({0: [(None, 1)], 1: [(-1, None)]}),
        ]
    )
    families = {
        "intervals": family,
        "single": family.take([2]),
        "thresholds": Family.thresholds([-0.5, 0.0, 0.7]),
    }
    draws, component = 400, inverted if members == "intervals" else net()
    table = entropy_table(component, first, families[members], key=key(3), draws=draws)
    for place, after in enumerate(families[members]):
        known = margins(component, first, after, key(3), draws) >= 0
        assert (np.asarray(table.satisfied(0, place)) == known).all()
        assert int(table.hits[0, place]) == known.sum()


@pytest.mark.slow
def test_two_dimensions():
    def turn(w, x):
        return jnp.stack([w[0] * x[0] + w[1] * x[1], -w[1] * x[0] + w[0] * x[1]])

    component = bx.Component(bx.models.Function(turn, jnp.zeros(2)), bx.Normal())
    box = bx.Interface.boxes({0: [((-1, -1), (0, 0))], 1: [((1, 1), (2, 2))]})
    pair = [
        bx.Interface.boxes({0: [((-3, -3), (1, 1))], 1: [((-1, -1), (5, 5))]}),
        bx.Interface.boxes({0: [((-2, -3), (1, 2))], 1: [((-1, 0), (5, 4))]}),
    ]
    table = entropy_table(component, box, Family.of(pair), key=key(4), draws=1000)
    for place, after in enumerate(pair):
        known = margins(component, box, after, key(4), 1000) >= 0
        assert 0 < known.sum() < 1000
        assert (np.asarray(table.satisfied(0, place)) == known).all()


FULL = entropy_table(net(), LEVELS, LEVELS, key=key(5), draws=2000, points=9)


def test_entropy_is_antitone_in_before_and_monotone_in_after():
    order = np.asarray(LEVELS.order())
    hits = np.asarray(FULL.hits)
    kept = np.stack([[FULL.satisfied(b, a) for a in range(15)] for b in range(15)])
    assert (kept.sum(-1) == hits).all() and hits.max() > 50
    for i, j in np.argwhere(order):
        assert (kept[j] <= kept[i]).all()  # wider inputs ask for more
        assert (kept[:, i] <= kept[:, j]).all()  # wider outputs for less


@given(st.integers(0, 14), st.integers(0, 14), st.integers(0, 14))
def test_meet_is_conjunction_draw_by_draw(before, one, two):
    both = LEVELS[one] & LEVELS[two]
    meet = np.asarray(FULL.satisfied(before, LEVELS.index(both)))
    pair = np.asarray(FULL.satisfied(before, one) & FULL.satisfied(before, two))
    assert (meet == pair).all()


def test_relabelling_leaves_the_entropies():
    names = {0: "off", 1: "on"}
    renamed = Family.of([each.relabel(names) for each in LEVELS.take(range(6))])
    small = LEVELS.take(range(6))
    base = entropy_table(net(), small, small, key=key(6), draws=300, points=3)
    again = entropy_table(net(), renamed, renamed, key=key(6), draws=300, points=3)
    assert (np.asarray(base.hits) == np.asarray(again.hits)).all()
    assert np.asarray(base.hits).min() < np.asarray(base.hits).max()


@pytest.mark.slow
def test_the_units_of_a_middle_signal_are_a_gauge():
    """`x -> 2 f(x)` into a stretched interface, and `x -> g(x / 2)` out of it.

    A power of two, so that not a bit differs.
    """
    middle = Family.thresholds([-0.5, 0.0, 0.75])
    wide = Family(middle.values, middle.lower * 2, middle.upper * 2)
    end = bx.Interface.thresholds(0.5, 0.5)
    louder, softer = (
        bx.Component(bx.models.Function(fn, NET), bx.Normal())
        for fn in (lambda net, x: 2 * net(x), lambda net, x: net(x / 2))
    )
    plain = bx.Component(bx.models.Function(lambda net, x: net(x), NET), bx.Normal())
    for pairs in (
        ((plain, FIRST, middle), (louder, FIRST, wide)),
        ((plain, middle, end), (softer, wide, end)),
    ):
        one, two = (entropy_table(*pair, key=key(6), draws=400, points=9) for pair in pairs)
        assert np.asarray(one.hits).max() > 10
        # the points of rays do not scale with them: there the net is saturated
        assert (np.asarray(one.hits) == np.asarray(two.hits)).all()


def test_kernel_times_inclusion_is_the_table():
    """`e^H = K ζ` in counts, so without any rounding; the planted mutants break it."""
    kernel = tightest_kernel(FULL)
    order, hits = np.asarray(LEVELS.order()), np.asarray(kernel.hits)
    assert (hits[:, :-1] @ order == np.asarray(FULL.hits)).all()
    assert (hits.sum(1) == FULL.draws).all()
    assert np.allclose(np.asarray(kernel.matrix).sum(1), 1)
    assert not (hits[:, :-1] @ order.T == np.asarray(FULL.hits)).all()  # ζ transposed
    for before in (0, 7):
        tightest = np.asarray(kernel.tightest(before))
        for after in range(15):
            inside = np.append(order[:, after], False)[tightest]
            assert (inside == np.asarray(FULL.satisfied(before, after))).all()


def test_one_logical_value_is_not_enough():
    """A table that looks at value 0 alone breaks the exact case."""
    component = bx.Component(SLOPE, bx.Uniform(0.0, 3.0))
    half = bx.Interface.intervals({0: [(0, 1.0)], 1: []})
    whole = entropy_table(component, FIRST, LEVELS, key=key(0), points=2, draws=2000)
    mutant = entropy_table(component, half, LEVELS, key=key(0), points=2, draws=2000)
    p, q = np.asarray(whole.probability)[0], np.asarray(mutant.probability)[0]
    assert (q >= p).all() and (q - p).max() > 0.1


@pytest.mark.slow
def test_families_without_tightest_members_are_refused():
    crossing = Family.of(
        [
            bx.Interface.intervals({0: [(None, 1)], 1: [(-1, None)]}),
            bx.Interface.intervals({0: [(None, 2)], 1: [(0, None)]}),
        ]
    )
    table = entropy_table(net(), FIRST, crossing, key=key(7), draws=500)
    with pytest.raises(DeclarationError, match="smallest members are"):
        tightest_kernel(table)
    closed = Family.of([*crossing, crossing[0] & crossing[1]])
    table = entropy_table(net(), FIRST, closed, key=key(7), draws=500)
    kernel = tightest_kernel(table)
    assert (np.asarray(kernel.hits)[:, :-1] @ closed.order() == np.asarray(table.hits)).all()


@pytest.mark.slow
def test_float32_and_what_is_not_finite():
    with jax.enable_x64(False):
        single = bx.Component(bx.models.TwoLayer(3, jnp.tanh, bias=True), bx.Normal(0, 1.5))
        first = bx.Interface.intervals({0: [(0, 1.0)], 1: [(4.0, None)]})
        levels = Family.thresholds([0.5, 1.0, 2.0, 3.0, 5.0])
        table = entropy_table(single, first, levels, key=key(8), draws=500)
        assert table.entropy.value.dtype == jnp.float32
    broken = bx.Component(
        bx.models.Function(lambda w, x: jnp.where(w > 0, jnp.nan, 0.0) + x[0], jnp.zeros(())),
        bx.Normal(),
    )
    whole = {0: [(None, None)], 1: [(None, None)]}
    rays = bx.Interface.intervals(whole)
    two = bx.Interface.intervals({**whole, 1: [(None, 0), (1, None)]})
    for after in (rays, Family.of([rays, two])):  # by levels, and by points
        p = float(entropy_table(broken, FIRST, after, key=key(9), draws=1000).probability[0, 0])
        assert abs(p - 0.5) < 4 * np.sqrt(0.25 / 1000)


@given(st.slices(len(LEVELS)))
def test_a_slice_of_a_family_is_a_family(part):
    members = range(len(LEVELS))[part]
    if members:
        found = LEVELS[part]
        assert isinstance(found, Family)
        assert [LEVELS.index(each) for each in found] == list(members)
    else:
        with pytest.raises(DeclarationError, match="at least one member"):
            LEVELS[part]


def test_corners_of_unlike_dimensions_are_named():
    with pytest.raises(DeclarationError, match="same number of entries"):
        bx.Interface.boxes({0: [((0, 0), (1,))]})
    with pytest.raises(DeclarationError, match="swap the bounds"):
        bx.Interface.boxes({0: [((0, 2), (1, 1))]})
