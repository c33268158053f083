"""Interfaces as sets: canonical form, order, meet, join, erosion, distance; contracts, circuits."""

import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx


@st.composite
def boxes(draw, dim):
    """A few boxes with corners on a small lattice, so that they touch and overlap often."""
    ends = st.lists(st.integers(0, 5), min_size=2 * dim, max_size=2 * dim)
    found = []
    for _ in range(draw(st.integers(0, 4))):
        numbers = np.array(draw(ends)).reshape(dim, 2)
        found.append((tuple(numbers.min(1)), tuple(numbers.max(1))))
    return found


def interfaces(dim):
    """Two values; the second accepts one box at least, so that the dimension is known."""
    solid = [((0,) * dim, (1,) * dim)]
    return st.builds(lambda a, b: bx.Interface.boxes({0: a, 1: b + solid}), boxes(dim), boxes(dim))


def lattice(dim):
    """Points between and on the lattice's lines."""
    axis = np.arange(-1, 6.5, 0.5)
    return np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), -1).reshape(-1, dim)


def members(interface, value):
    """Which lattice points are acceptable, by the definition, box by box."""
    points = lattice(interface.dim)
    found = np.zeros(len(points), bool)
    for low, high in interface.sets()[value]:
        found |= np.all((points >= low) & (points <= high), axis=1)
    return found


dims = st.sampled_from([1, 2])
pairs = dims.flatmap(lambda d: st.tuples(interfaces(d), interfaces(d)))


@hypothesis.given(dims.flatmap(lambda d: st.tuples(st.just(d), boxes(d))))
def test_canonical_form_is_that_of_the_set(case):
    dim, given_boxes = case
    solid = [((0,) * dim, (1,) * dim)]
    one = bx.Interface.boxes({0: given_boxes + solid})
    # the same set, cut along the middle of each box and in another order
    cut = []
    for low, high in reversed(given_boxes + solid):
        middle = (low[0] + high[0]) / 2
        cut += [(low, (middle, *high[1:])), ((middle, *low[1:]), high)]
    other = bx.Interface.boxes({0: cut})
    assert one == other
    assert hash(one) == hash(other)
    definition = np.zeros(len(lattice(dim)), bool)
    for low, high in given_boxes + solid:
        definition |= np.all((lattice(dim) >= low) & (lattice(dim) <= high), axis=1)
    assert np.array_equal(members(one, 0), definition)


@hypothesis.given(pairs)
def test_meet_join_and_order_are_those_of_sets(pair):
    a, b = pair
    for value in (0, 1):
        mine, theirs = members(a, value), members(b, value)
        assert np.array_equal(members(a & b, value), mine & theirs)
        assert np.array_equal(members(a | b, value), mine | theirs)
    # on closed lattice boxes half-integer points tell inclusion
    included = all(np.all(members(a, v) <= members(b, v)) for v in (0, 1))
    assert (a <= b) == included
    assert (a & b) <= a <= (a | b)
    assert (a & b) <= b <= (a | b)


@pytest.mark.slow
@hypothesis.given(dims.flatmap(interfaces))
def test_distance_is_to_the_boundary(interface):
    points = lattice(interface.dim)
    distance = np.asarray(jax.vmap(interface.distance)(jnp.asarray(points)))
    steps = np.array(list(itertools.product(np.arange(-6, 7, 0.5), repeat=interface.dim)))
    for value in (0, 1):
        inside = members(interface, value)
        assert np.array_equal(distance[:, value] >= 0, inside)
        assert np.array_equal(np.asarray(interface.contains(jnp.asarray(points), value)), inside)
        boxes_ = interface.sets()[value]
        if not boxes_:
            assert np.all(distance[:, value] == -np.inf)
            continue
        # a cube a little smaller than the distance is of one kind, one a little larger is not
        for point, far in list(zip(points, distance[:, value], strict=True))[::7]:
            smaller = steps[np.abs(steps).max(1) <= abs(far) - 0.25]
            kinds = [
                any(np.all((x >= low) & (x <= high)) for low, high in boxes_)
                for x in point + smaller
            ]
            assert len(set(kinds)) <= 1


@hypothesis.given(dims.flatmap(interfaces), st.sampled_from([0.25, 0.5, 1.0]))
def test_erosion_keeps_what_has_the_margin(interface, by):
    points = lattice(interface.dim)
    distance = np.asarray(jax.vmap(interface.distance)(jnp.asarray(points)))
    widths = [
        [min(high - low for low, high in zip(*box, strict=True)) for box in each]
        for each in interface.sets().values()
    ]
    if any(each and max(each) < 2 * by for each in widths):
        with pytest.raises(bx.DeclarationError, match="leaves nothing"):
            interface.erode(by)
        return
    smaller = interface.erode(by)
    for value in (0, 1):
        assert np.array_equal(members(smaller, value), distance[:, value] >= by)


@pytest.mark.slow
def test_rays_products_and_pictures():
    left = bx.Interface.intervals({0: [(None, 0.5), (4.6, None)], 1: [(2.6, 3.8)]})
    assert repr(left) == "Interface(0: (-∞, 0.5] ∪ [4.6, ∞), 1: [2.6, 3.8])"
    both = left @ left
    assert both.values == ((0, 0), (0, 1), (1, 0), (1, 1))
    assert both.dim == 2
    assert bool(both.contains([1e6, 3.0], (0, 1)))
    assert not bool(both.contains([1.0, 3.0], (0, 1)))
    assert ((left @ left) @ left).values == (left @ (left @ left)).values
    points = np.asarray(left.points(9))
    assert points.min() < -900
    assert points.max() > 900
    assert bool(jnp.all(left.contains(points[0], 0)))
    plane = (left @ left).points(16)
    for row, value in zip(plane, both.values, strict=True):
        assert bool(jnp.all(both.contains(row, value)))


def test_thresholds_may_be_traced():
    def distance(low):
        return bx.Interface.thresholds(low, 4.0).distance(jnp.array([0.5]))[0]

    assert jax.grad(distance)(1.0) == 1.0
    assert jax.jit(distance)(1.0) == 0.5


BAD = {
    "bounds": ("sets[0]", lambda: bx.Interface.intervals({0: [(2.0, 1.0)]})),
    "no list": ("sets[0]", lambda: bx.Interface.intervals({0: (0.0, 1.0)})),
    "mixed": ("sets", lambda: bx.Interface.boxes({0: [(0, 1)], 1: [((0, 0), (1, 1))]})),
    "empty": ("sets", lambda: bx.Interface.boxes({})),
    "plane": ("sets", lambda: bx.Interface.intervals({0: [((0, 0), (1, 1))]})),
    "order": ("low, high", lambda: bx.Interface.thresholds(2.0, 1.0)),
    "range": (
        "range",
        lambda: bx.Interface.thresholds([1.0, 1.0], [2.0, 2.0], range=([0.0] * 3, None)),
    ),
    "lengths": ("high", lambda: bx.Interface.thresholds([1.0, 1.0], [2.0] * 3)),
    "nan": ("lower", lambda: bx.Interface((0,), [[[np.nan]]], [[[1.0]]])),
    "value": ("value", lambda: signal().contains(1.0, "high")),
    "signals": ("interface", lambda: signal() <= signal() @ signal()),
    "logic": ("logic", lambda: bx.Contract(component({0: 1}), signal(), signal())),
    "output": ("logic", lambda: bx.Contract(component({0: 1, 1: 7}), signal(), signal())),
    "input": ("model", lambda: bx.Contract(plane(), signal(), signal())),
    "points": ("points", lambda: bx.Contract(component(), signal(), signal(), points=1)),
    "joints": ("interfaces", lambda: bx.Chain([component()], [signal()])),
    "wires": (
        "wires[0]",
        lambda: bx.Circuit([component()], [signal(), signal()], [(1,)]),
    ),
    "model": ("model", lambda: bx.Component(3.0, bx.Normal())),
    "violation": ("contract", lambda: bx.Violation(signal())),
}


def signal():
    return bx.Interface.thresholds(1.0, 4.0)


def component(logic=None):
    return bx.Component(bx.models.Function(lambda p, x: p * x, jnp.ones(())), bx.Normal(), logic)


def plane():
    return bx.Component(bx.models.Function(lambda p, x: p @ x, jnp.ones(2)), bx.Normal())


def test_a_range_of_numbers_holds_for_every_coordinate():
    made = bx.Interface.thresholds([1.0, 2.0], [3.0, 4.0], range=(0.0, [5.0, 6.0]))
    assert made.sets() == {0: (((0.0, 0.0), (1.0, 2.0)),), 1: (((3.0, 4.0), (5.0, 6.0)),)}


@pytest.mark.parametrize("name", BAD)
def test_bad_declarations_are_named(name):
    argument, declare = BAD[name]
    with pytest.raises(bx.DeclarationError) as caught:
        declare()
    assert caught.value.argument == argument


def test_violation_is_zero_exactly_where_the_contract_holds():
    contract = bx.Contract(
        component(), bx.Interface.thresholds(1.0, 2.0, range=(0.0, 3.0)), signal()
    )
    gibbs = bx.compile(bx.Violation(contract), contract.prior, beta=3.0)
    assert "Violation" in repr(gibbs)
    for weight in (0.5, 0.999, 1.0, 2.0, 2.5):
        model = bx.models.Function(contract.model.fn, jnp.asarray(weight))
        w = gibbs.position(model)
        lack = max(weight * 1.0 - 1.0, 4.0 - weight * 2.0, 0.0)
        np.testing.assert_allclose(gibbs.energy(w), lack, atol=1e-12)
        np.testing.assert_allclose(gibbs.potential_at(w, gibbs.beta), 3 * lack, atol=1e-12)


def test_prior_of_a_circuit_keeps_each_component_its_own():
    narrow = bx.Component(component().model, bx.Normal(0.0, 1e-3))
    chain = bx.Chain([component(), narrow], [signal()] * 3)
    gibbs = bx.compile(bx.Violation(chain), chain.prior)
    draws = jax.vmap(gibbs.sample_prior)(jax.random.split(jax.random.key(0), 200))
    spread = {path: float(jnp.std(x)) for path, x in draws.items()}
    assert spread["[0].params"] > 0.5
    assert spread["[1].params"] < 2e-3


@pytest.mark.parametrize("prior", [bx.Uniform(-1.0, 2.0), bx.Normal(1.0, 0.3), bx.Laplace(0.5)])
def test_whitened_weights_have_the_law_of_the_prior(prior):
    from scipy import stats

    known = component()
    gibbs = bx.compile(
        bx.Violation(bx.Contract(bx.Component(known.model, prior), signal(), signal())), prior
    )
    u = jax.random.normal(jax.random.key(1), (2000,))
    white = jax.vmap(lambda u: gibbs.coordinates.from_normal({"params": u})["params"])(u)
    drawn = jax.vmap(lambda k: gibbs.constrain(gibbs.sample_prior(k))["params"])(
        jax.random.split(jax.random.key(2), 2000)
    )
    # Kolmogorov and Smirnov's test, false in one of a thousand
    assert stats.ks_2samp(np.asarray(white), np.asarray(drawn)).pvalue > 1e-3


@pytest.mark.slow
def test_gradient_of_the_margin_survives_compilation():
    """The derivative of a minimum by equality would be lost to other rounding, for many weights."""
    before = bx.Interface.thresholds(2.97, 3.14, range=(0.0, None))
    after = bx.Interface.intervals({0: [(0, 8.0)], 1: [(8.0, None)]})
    contract = bx.Contract(component(), before, after, points=2)
    violation = bx.Violation(contract)
    w = jax.random.uniform(jax.random.key(5), (2000,), maxval=3.0)

    def margin(w):
        return contract.margin(bx.models.Function(contract.model.fn, w))

    def lack(w):
        return violation.value(bx.models.Function(contract.model.fn, w))

    # margin = min(0, 8 - 2.97 w, 3.14 w - 8), the 0 from the end of the box at 0
    exact = jnp.where(3.14 * w < 8, 3.14, jnp.where(2.97 * w > 8, -2.97, 0.0))
    found = jax.jit(jax.vmap(jax.grad(margin)))(w)
    np.testing.assert_allclose(found, exact, atol=1e-9)
    slope = jax.jit(jax.vmap(jax.grad(lack)))(w)
    np.testing.assert_allclose(slope, jnp.where(jax.vmap(margin)(w) < 0, -found, 0.0), atol=1e-9)
    assert bool(jnp.all((slope != 0) == (jax.vmap(lack)(w) > 0)))
