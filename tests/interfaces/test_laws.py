"""Laws of satisfaction, each shown to kill planted mistakes (`MUTANTS` lists which).

A law is a function of a random generator. All hold draw by draw, without statistical tolerance:
both sides look at the same weights.
"""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.declare import Contract, Interface

DRAWS = 64


def affine(params, x):
    return params["weight"] * x + params["bias"]


def plane(params, x):
    return params["weight"] @ x + params["bias"]


def systems(random, dim=1, slope=3.0):
    """Components with so many random weights, in one or two dimensions."""
    shape = (DRAWS,) if dim == 1 else (DRAWS, dim, dim)
    weight, bias = random.normal(0, slope, shape), random.normal(0, 2, (DRAWS, dim))
    bias = bias[:, 0] if dim == 1 else bias
    params = {"weight": jnp.asarray(weight), "bias": jnp.asarray(bias)}
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape[1:]), params)
    fn = affine if dim == 1 else plane
    component = bx.Component(bx.models.Function(fn, zeros), bx.Normal())
    return component, bx.models.Function(fn, params)


def interval(random, low=-4.0, high=4.0, least=0.2):
    a, b = np.sort(random.uniform(low, high, 2))
    return (float(a), float(max(b, a + least)))


def single(random, dim=1):
    """An interface of one box for each of two values."""

    def box():
        ends = [interval(random) for _ in range(dim)]
        return tuple(e[0] for e in ends), tuple(e[1] for e in ends)

    return Interface.boxes({0: [box()], 1: [box()]})


def several(random):
    """Two boxes for each of two values."""
    made = {v: [interval(random), interval(random)] for v in (0, 1)}
    return Interface.intervals(made)


def wide(random):
    return Interface.intervals({v: [interval(random, -9, 9, 3.0)] for v in (0, 1)})


def margins(models, component, before, after, points=17):
    contract = Contract(component, before, after, points=points)
    return np.asarray(jax.vmap(contract.margin)(models))


def kept(*arguments, **settings):
    return margins(*arguments, **settings) >= 0


def monotone(random):
    """Less assumed or more accepted: what was kept is kept."""
    component, models = systems(random, slope=1.0)
    small, more = single(random), single(random)
    after = wide(random)
    assert np.all(
        kept(models, component, small | more, after) <= kept(models, component, small, after)
    )
    looser = after | wide(random)
    assert np.all(kept(models, component, small, after) <= kept(models, component, small, looser))
    assert small <= (small | more)


def meet(random):
    """To be in two sets is to be in their meet."""
    component, models = systems(random, slope=0.5)
    before, one, other = single(random), wide(random), wide(random)
    both = kept(models, component, before, one) & kept(models, component, before, other)
    assert np.array_equal(kept(models, component, before, one & other), both)


def join_of_inputs(random):
    """To serve two sets of inputs is to serve their join (one box to come to)."""
    component, models = systems(random, slope=1.0)
    one, other, after = single(random), single(random), wide(random)
    both = kept(models, component, one, after) & kept(models, component, other, after)
    assert np.array_equal(kept(models, component, one | other, after), both)


def union_adds(random):
    """A continuous image of an interval lies in one of two boxes that are apart: `e^H` adds."""
    component, models = systems(random)
    before = Interface.intervals({0: [interval(random, -1.0, 1.0)]})
    left, right = (-9.0, -1.5), (1.5, 9.0)
    sets = [[left], [right], [left, right]]
    counts = [
        kept(models, component, before, Interface.intervals({0: boxes})).sum() for boxes in sets
    ]
    assert counts[0] + counts[1] == counts[2]


def series(random):
    """Components that keep their contracts in series keep the one from end to end."""
    first, one = systems(random, slope=1.0)
    _, other = systems(random, slope=1.0)
    before, middle, after = single(random), wide(random), wide(random)
    both = kept(one, first, before, middle) & kept(other, first, middle, after)

    def composed(params, x):
        return affine(params[1], affine(params[0], x))

    models = bx.models.Function(composed, (one.params, other.params))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape[1:]), models.params)
    whole = bx.Component(bx.models.Function(composed, zeros), bx.Normal())
    assert np.all(both <= kept(models, whole, before, after))
    chain = bx.Chain([first, first], [before, middle, after], points=17)
    joint = np.asarray(jax.vmap(lambda a, b: chain.margin((a, b)))(one, other))
    assert np.array_equal(joint >= 0, both)


def erosion(random):
    """A margin of r is to keep the contract that is eroded by r."""
    component, models = systems(random, slope=0.5)
    before, after = single(random), wide(random)
    margin = margins(models, component, before, after)
    for r in (0.1, 0.7):
        assert np.array_equal(margin >= r, kept(models, component, before, after.erode(r)))


def gauge(random):
    """The unit of a signal between two components is nobody's business."""
    component, models = systems(random)
    before, after, s = single(random), wide(random), 2.0
    scaled = bx.models.Function(affine, jax.tree.map(lambda x: s * x, models.params))
    sets = {v: [(s * a[0], s * b[0]) for a, b in boxes] for v, boxes in after.sets().items()}
    new = margins(scaled, component, before, Interface.intervals(sets))
    np.testing.assert_allclose(new, s * margins(models, component, before, after), atol=1e-9)


def relabelling(random):
    """Names of logical values, and their order, are nobody's business either."""
    component, models = systems(random)
    before, after = single(random), several(random)
    names = {0: "low", 1: "high"}
    old = margins(models, component, before, after)
    turned = Interface.boxes(dict(reversed(before.relabel(names).sets().items())))
    assert np.allclose(old, margins(models, component, turned, after.relabel(names)))
    crossed = bx.Component(component.model, bx.Normal(), {0: "high", 1: "low"})
    swapped = after.relabel({0: "high", 1: "low"})
    assert np.allclose(old, margins(models, crossed, before, swapped))


def definition(random):
    """The margin by its definition, value by value, point by point, box by box."""
    for dim in (1, 2):
        component, models = systems(random, dim)
        before, after = single(random, dim), single(random, dim)
        if dim == 1:
            after = several(random)
        table = {0: 1, 1: 0}
        gate = bx.Component(component.model, bx.Normal(), table)
        found = margins(models, gate, before, after, points=9)
        inputs = np.asarray(before.points(9))
        weight, bias = (np.asarray(models.params[k]) for k in ("weight", "bias"))
        for i in range(0, DRAWS, 16):
            worst = np.inf
            for v in (0, 1):
                for x in inputs[v]:
                    y = np.atleast_1d(
                        weight[i] * x + bias[i] if dim == 1 else weight[i] @ x + bias[i]
                    )
                    best = max(
                        min(*(y - np.array(low)), *(np.array(high) - y))
                        for low, high in after.sets()[table[v]]
                    )
                    worst = min(worst, best)
            np.testing.assert_allclose(found[i], worst, atol=1e-9)


def ends(random):
    """An affine image of an interval is decided at its ends."""
    component, models = systems(random)
    before, after = single(random), wide(random)
    weight, bias = (np.asarray(models.params[k]) for k in ("weight", "bias"))
    worst = np.full(DRAWS, np.inf)
    for v in (0, 1):
        ((low,), (high,)) = after.sets()[v][0]
        ((start,), (stop,)) = before.sets()[v][0]
        for x in (start, stop):
            y = weight * x + bias
            worst = np.minimum(worst, np.minimum(y - low, high - y))
    np.testing.assert_allclose(margins(models, component, before, after), worst, atol=1e-9)


def tightest(random):
    """A single box is kept if and only if the tightest interface lies in it."""
    component, models = systems(random, slope=1.0)
    before, after = single(random), wide(random)
    gate = bx.Component(component.model, bx.Normal(), {0: 1, 1: 0})
    known = kept(models, gate, before, after)
    contract = Contract(gate, before, after, points=17)
    for i in range(0, DRAWS, 4):
        model = jax.tree.map(lambda leaf, i=i: leaf[i], models)
        assert bool(known[i]) == (bx.interfaces.tightest(contract, model) <= after)


LAWS = [
    tightest,
    monotone,
    meet,
    join_of_inputs,
    union_adds,
    series,
    erosion,
    gauge,
    relabelling,
    definition,
    ends,
]


@pytest.mark.parametrize("law", LAWS)
@hypothesis.settings(max_examples=6)
@hypothesis.given(seed=st.integers(0, 2**32 - 1))
def test_law(law, seed):
    law(np.random.default_rng(seed))


real_margins, real_points = Contract.margins, Interface.points


def one_value_only(self, image):
    return jnp.full(len(self.rows), real_margins(self, image)[0])


def best_input(self, image):
    each = jax.vmap(lambda row: real_margins(self, row), in_axes=1)(image[:, :, None])
    return jnp.max(each, axis=0)


def mean_input(self, image):
    each = jax.vmap(lambda row: real_margins(self, row), in_axes=1)(image[:, :, None])
    return jnp.mean(each, axis=0)


def _sides(self, image):
    rows = jnp.asarray(self.rows)
    low, high = self.guarantee.lower[rows][:, None], self.guarantee.upper[rows][:, None]
    return image[:, :, None] - low, high - image[:, :, None]


def upper_bound_only(self, image):
    _, above = _sides(self, image)
    return jnp.min(jnp.max(jnp.min(above, -1), -1), -1)


def any_coordinate(self, image):
    below, above = _sides(self, image)
    return jnp.min(jnp.max(jnp.max(jnp.minimum(below, above), -1), -1), -1)


def every_box(self, image):
    below, above = _sides(self, image)
    each = jnp.min(jnp.minimum(below, above), -1)
    return jnp.min(jnp.min(jnp.where(jnp.isfinite(each), each, jnp.inf), -1), -1)


def squared(self, image):
    margin = real_margins(self, image)
    return jnp.sign(margin) * margin**2


def places(self, image):
    """Reads the values of the two interfaces by their place, not by their name."""
    low, high = self.guarantee.lower[:, None], self.guarantee.upper[:, None]
    y = image[:, :, None]
    return jnp.min(jnp.max(jnp.min(jnp.minimum(y - low, high - y), -1), -1), -1)


def ends_only(self, count):
    return real_points(self, 2)


def without_ends(self, count):
    return real_points(self, count + 2)[:, 1:-1]


def join_for_meet(self, other):
    return self | other


def grown(self, by):
    return real_erode(self, -by)


def first_box_included(self, other):
    return self.sets()[0][:1] == other.sets()[0][:1]


real_erode = Interface.erode

MUTANTS = [
    ("margins", Contract, one_value_only, definition),
    ("margins", Contract, one_value_only, relabelling),
    ("margins", Contract, best_input, ends),
    ("margins", Contract, best_input, monotone),
    ("margins", Contract, mean_input, join_of_inputs),
    ("margins", Contract, upper_bound_only, definition),
    ("margins", Contract, any_coordinate, definition),
    ("margins", Contract, every_box, union_adds),
    ("margins", Contract, every_box, definition),
    ("margins", Contract, one_value_only, tightest),
    ("margins", Contract, squared, erosion),
    ("margins", Contract, squared, gauge),
    ("margins", Contract, places, relabelling),
    ("points", Interface, ends_only, union_adds),
    ("points", Interface, without_ends, ends),
    ("__and__", Interface, join_for_meet, meet),
    ("erode", Interface, grown, erosion),
    ("__le__", Interface, first_box_included, monotone),
]


@pytest.mark.parametrize(
    "name, owner, mutant, law",
    MUTANTS,
    ids=[f"{m.__name__}-{law.__name__}" for *_, m, law in MUTANTS],
)
def test_law_kills_mutant(monkeypatch, name, owner, mutant, law):
    monkeypatch.setattr(owner, name, mutant)
    for seed in range(12):
        try:
            law(np.random.default_rng(seed))
        except AssertionError:
            return
    pytest.fail(f"{law.__name__} lets {mutant.__name__} live")
