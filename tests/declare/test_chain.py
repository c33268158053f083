"""Chains: what may stand at a joint, what is refused, and what the old forms of verbs give."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import interfaces as it
from boltzax.declare import Circuit

KEY = jax.random.key(0)
SLOPE = bx.Component(bx.models.Function(lambda w, x: w * x, jnp.zeros(())), bx.Uniform(0.0, 3.0))
TURN = bx.Component(bx.models.Function(lambda w, x: w @ x, jnp.zeros((2, 1))), bx.Normal())
JOIN = bx.Component(bx.models.Function(lambda w, x: w @ x, jnp.zeros((1, 2))), bx.Normal())
FLIP = bx.Component(SLOPE.model, SLOPE.prior, logic={0: "off", 1: "on"})
BACK = bx.Component(SLOPE.model, SLOPE.prior, logic={"off": 0, "on": 1})
FIRST = bx.Interface.thresholds(1.0, 4.0, range=(0, None))
MIDDLE = bx.Interface.thresholds(3.0, 6.0, range=(0, None))
LAST = bx.Interface.thresholds(8.0, 8.0, range=(0, None))
FAMILY = bx.Family.thresholds([2.0, 3.0, 5.0], range=(0, None))
PLANE = bx.Interface.boxes({0: [((0, 0), (1, 1))], 1: [((2, 2), (3, 3))]})
PAIR = [SLOPE, SLOPE]


def test_a_chain_of_interfaces_is_a_circuit():
    chain = bx.Chain(PAIR, [FIRST, MIDDLE, LAST], points=5)
    circuit = Circuit(PAIR, [FIRST, MIDDLE, LAST], points=5)
    models = tuple(bx.models.Function(SLOPE.model.fn, jnp.asarray(w)) for w in (1.8, 1.4))
    assert chain.wires == circuit.wires and chain.joints == 1 and chain.dims == (1, 1, 1)
    assert [c.rows for c in chain.contracts] == [c.rows for c in circuit.contracts]
    assert float(chain.margin(models)) == float(circuit.margin(models))
    assert float(chain.output(models, 2.0)[0]) == pytest.approx(1.8 * 1.4 * 2.0)
    assert chain.prior.by_pattern.keys() == circuit.prior.by_pattern.keys()
    one, other = (it.entropy(each, key=KEY, samples=1000, throw=False) for each in (chain, circuit))
    assert float(one.value) == float(other.value)
    assert jax.tree.structure(jax.tree.map(lambda x: x, chain)) == jax.tree.structure(chain)


def test_candidates_and_open_joints():
    chain = bx.Chain([SLOPE] * 3, [FIRST, FAMILY, MIDDLE, LAST])
    assert [len(family) for family in chain.families] == [1, len(FAMILY), 1, 1]
    chosen = chain.at([2, 0])
    assert chosen.interfaces == (FIRST, FAMILY[2], MIDDLE, LAST) == chain.chosen([2, 0])
    assert chosen.at([0, 0]).interfaces == chosen.interfaces
    assert "Family(6" in repr(chain) and "open" in repr(chain.between([None, None]))
    with pytest.raises(bx.DeclarationError, match="one interface on every wire"):
        it.entropy(chain, key=KEY)
    with pytest.raises(bx.DeclarationError, match="got nothing on wire 2"):
        it.entropy(chain.between([MIDDLE, None]), key=KEY)
    with pytest.raises(bx.DeclarationError, match="Family of candidates"):
        _ = chain.between([None, None]).families
    for members in ([0], [0, 1], [6, 0]):
        with pytest.raises(bx.DeclarationError, match="members"):
            chain.at(members)


def test_an_open_joint_has_the_dimension_and_the_values_of_what_writes_it():
    assert bx.Chain([TURN, JOIN], [FIRST, None, LAST]).dims == (1, 2, 1)
    bx.Chain([FLIP, BACK], [FIRST, None, LAST])
    with pytest.raises(bx.DeclarationError, match="truth table"):
        bx.Chain([FLIP, FLIP], [FIRST, None, LAST])
    with pytest.raises(bx.DeclarationError, match="shape"):
        bx.Chain([TURN, SLOPE, SLOPE], [FIRST, None, MIDDLE, LAST])


BAD = {
    "too few": ("interfaces", PAIR, [FIRST, LAST]),
    "no component": ("interfaces", [], [FIRST]),
    "an open end": ("interfaces[0]", PAIR, [None, MIDDLE, LAST]),
    "candidates at an end": ("interfaces[2]", PAIR, [FIRST, MIDDLE, FAMILY]),
    "a signal of other values": ("logic", PAIR, [FIRST, FAMILY, LAST.relabel({0: "off"})]),
    "a family of other values": (
        "logic",
        PAIR,
        [FIRST, bx.Family.of([MIDDLE.relabel({0: "off"})]), LAST],
    ),
    "another dimension": ("model", PAIR, [FIRST, PLANE, LAST]),
    "no interface": ("interfaces[1]", PAIR, [FIRST, 3.0, LAST]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_chains_are_named(name):
    argument, components, interfaces = BAD[name]
    with pytest.raises(bx.DeclarationError) as caught:
        bx.Chain(components, interfaces)
    assert caught.value.argument == argument


OLD = {
    "end_to_end": ((PAIR, FIRST, LAST), {"points": 5}, {}),
    "chain_tables": ((PAIR, FAMILY, FIRST, LAST), {"points": 5}, {"draws": 200}),
    "maximum_entropy": ((PAIR, [FAMILY], FIRST, LAST), {"points": 5}, {"draws": 200}),
    "interface_law": ((PAIR, FAMILY, FIRST), {"points": 5, "last": LAST}, {"draws": 200}),
    "expected_satisfaction": ((PAIR, FIRST, list(FAMILY), LAST), {"points": 5}, {"draws": 2000}),
}


@pytest.mark.parametrize("name", OLD)
def test_the_old_form_of_a_verb_gives_the_same_with_a_warning(name):
    args, words, numbers = OLD[name]
    verb = getattr(it, name)
    keyed = numbers | ({"key": KEY} if "key" in inspect.signature(verb).parameters else {})
    with pytest.warns(DeprecationWarning, match=rf"{name}\(chain\)") as told:
        old = verb(*args, **words, **keyed)
    assert told[0].filename == __file__
    new = verb(bx.Chain(PAIR, [FIRST, FAMILY, LAST], points=5), **keyed)
    leaves = zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=False)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in leaves)


BAD_OLD = {
    "interface_law": [
        ("last", (PAIR, FAMILY, FIRST)),
        ("components", ([], FAMILY, FIRST, LAST)),
        ("components", ([PAIR[0].model] * 2, FAMILY, FIRST, LAST)),
    ],
    "expected_satisfaction": [("candidates", (PAIR, FIRST))],
}


@pytest.mark.parametrize("name", BAD_OLD)
def test_what_the_old_form_lacks_is_named(name):
    for argument, args in BAD_OLD[name]:
        with pytest.raises(bx.DeclarationError) as caught:
            getattr(it, name)(*args, key=KEY)
        assert caught.value.argument == argument


def test_the_old_names_warn():
    chain = bx.Chain(PAIR, [FIRST, FAMILY, LAST], points=5)
    new = it.maximum_entropy(chain, key=KEY, draws=200, throw=False)
    words = {"key": KEY, "draws": 200, "throw": False}
    for args, more in (((PAIR, [FAMILY], FIRST, LAST), {"points": 5}), ((chain,), {})):
        with pytest.warns(DeprecationWarning, match=r"maximum_entropy_interfaces\(.*\) is") as told:
            old = it.maximum_entropy_interfaces(*args, **words, **more)
        assert len(told) == 1 and told[0].filename == __file__
        assert old.members == new.members
    law = it.interface_law(bx.Chain(PAIR, [FIRST, FAMILY, LAST], points=2), key=KEY, draws=50)
    with pytest.warns(DeprecationWarning, match="tables") as told:
        assert law.chain is law.tables
    assert told[0].filename == __file__
