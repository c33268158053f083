"""Nets of more layers: their formula, and riders that are moved as the net's own neurons are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import boltzax as bx
from boltzax.core import DeclarationError
from boltzax.meanfield import Descent, Neuron, SelfConsistency, Unit, ride_along, train
from boltzax.meanfield._layered import Frozen, Layered
from boltzax.meanfield._neurons import rider_drift

PRIOR = bx.Independent(readout=bx.Normal(0.0, 2.0), embedding=bx.Normal(), bias=bx.Normal(0.3, 0.5))
MEASURE = bx.GaussianMeasure(2, order=4, rule="hermite")


def target(x):
    return x[0] * x[1]


def problem(hidden, layer=None, prior=PRIOR, measure=MEASURE, y=target, **unit):
    neuron = Neuron(Unit(jnp.tanh, dim=2, bias=True, **unit), prior)
    return Layered(neuron, y, measure, 0.2, hidden=hidden, layer=layer)


def net_of(ensemble, seed, width):
    return drawn(ensemble, np.asarray(seed), width)


@eqx.filter_jit
def drawn(ensemble, seed, width):
    return ensemble.draw_net(jax.random.key(seed), width)


@eqx.filter_jit
def riders_of(ensemble, seed, count, width):
    return ensemble.draw_riders(jax.random.key(seed), count, width)


def first(tree):
    return jax.tree.map(lambda leaf: leaf[0], tree)


def net_drift(deep, net):
    """`-N ∂loss/∂θ` by autodiff of the loss."""
    weights = deep.measure.nodes()[1]

    def loss(net):
        r = jax.vmap(lambda z: deep.residual(net, z))(deep.measure.nodes()[0])
        return 0.5 * jnp.sum(weights[:, None] * r.reshape(len(weights), -1) ** 2)

    return jax.tree.map(lambda g: -deep.size(net) * g, jax.jit(jax.grad(loss))(net))


def drift(deep, net, riders):
    data, weights = deep.measure.nodes()
    residual = jax.vmap(lambda z: deep.residual(net, z))(data)
    return eqx.filter_jit(rider_drift)(deep, net, riders, residual, deep.inputs(), weights)


def test_output_is_the_formula():
    deep = problem((3, 4), 1)
    one, two, three = net = net_of(deep, 0, 5)
    x = np.array([0.3, -0.7])
    low = np.tanh(one["embedding"] @ x + one["bias"])
    middle = np.tanh(two["embedding"] @ low / np.sqrt(3) + two["bias"])
    top = np.tanh(three["embedding"] @ middle / np.sqrt(4) + three["bias"])
    assert np.allclose(
        eqx.filter_jit(deep.output)(net, jnp.asarray(x)), np.mean(three["readout"] * top)
    )
    assert deep.depth == 3
    assert deep.size(net) == 5
    assert all(
        map(np.allclose, eqx.filter_jit(deep.activations)(net, jnp.asarray(x)), (low, middle, top))
    )


def test_one_hidden_layer_is_self_consistency():
    deep = problem(())
    flat = SelfConsistency(deep.neuron, target, MEASURE, 0.2)
    net = net_of(flat, 0, 6)
    x = jnp.array([0.5, 0.2])
    assert np.isclose(eqx.filter_jit(deep.output)((net,), x), eqx.filter_jit(flat.output)(net, x))
    assert np.isclose(eqx.filter_jit(deep.log_prior)((net,)), eqx.filter_jit(flat.log_prior)(net))
    rider = first(net)
    assert np.isclose(
        eqx.filter_jit(deep.couple)((net,), rider, x), eqx.filter_jit(flat.couple)(net, rider, x)
    )
    assert np.isclose(
        eqx.filter_jit(deep.log_prior_rider)(rider), eqx.filter_jit(flat.log_prior_rider)(rider)
    )


# hidden widths, the riders' layer, and outputs of a neuron
CASES = [
    ((3, 4), 1, None),
    pytest.param((3, 4), 2, None, marks=pytest.mark.slow),
    ((3,), 2, 2),
]


@pytest.mark.parametrize(("hidden", "layer", "out"), CASES)
def test_copy_of_a_neuron_has_its_drift(hidden, layer, out):
    """Exactly, in every layer: a rider's drift is in the units of its peers'."""
    y = target if out is None else lambda x: jnp.stack([x[0] * x[1], x[0]])
    deep = problem(hidden, layer, out=out, y=y)
    net = net_of(deep, 1, 5)
    found, expected = drift(deep, net, deep.copies(net)), net_drift(deep, net)
    own = expected[layer - 1]
    for path, leaf in own.items():
        assert np.allclose(found[path], leaf, rtol=1e-9, atol=1e-12), path
    if layer < deep.depth:
        assert np.allclose(found["outgoing"], expected[layer]["embedding"].T, rtol=1e-9, atol=1e-12)
    assert float(jnp.max(jnp.abs(own["embedding"]))) > 1e-4


@pytest.mark.parametrize("layer", [1, 2])
def test_couple_is_the_derivative_by_the_weight_of_an_insertion(layer):
    """A neuron put into the net with weight ε, by hand and by finite differences."""
    deep = problem((3,), layer)
    low, top = net = net_of(deep, 2, 5)
    rider = first(riders_of(deep, 3, 2, 5))
    x = jnp.array([0.4, -1.1])

    @jax.jit
    def grown(size):
        phi = jnp.tanh(low["embedding"] @ x + low["bias"])
        z = top["embedding"] @ phi / jnp.sqrt(3.0) + top["bias"]
        if layer == 1:
            more = jnp.tanh(rider["embedding"] @ x + rider["bias"])
            z = z + size * rider["outgoing"] * more / jnp.sqrt(3.0)
            return top["readout"] @ jnp.tanh(z)
        more = jnp.tanh(rider["embedding"] @ phi / jnp.sqrt(3.0) + rider["bias"])
        return top["readout"] @ jnp.tanh(z) + size * rider["readout"] * more

    step = 1e-4
    expected = (grown(step) - grown(-step)) / (2 * step)
    assert np.isclose(eqx.filter_jit(deep.couple)(net, rider, x), expected, rtol=1e-6)
    assert np.isclose(grown(0.0) / 5, eqx.filter_jit(deep.output)(net, x))


def test_priors():
    """Normal(0, 2), Normal(0, 1) and Normal(0.3, 0.5), by hand."""
    deep = problem((3,), 1)
    net = net_of(deep, 4, 5)
    normal = scipy.stats.norm.logpdf
    expected = 0.0
    for layer in net:
        expected += np.sum(normal(layer["embedding"])) + np.sum(normal(layer["bias"], 0.3, 0.5))
    expected += np.sum(normal(net[1]["readout"], 0.0, 2.0))
    assert np.isclose(eqx.filter_jit(deep.log_prior)(net), expected)
    riders = riders_of(deep, 5, 4000, 5)
    assert {path: leaf.shape for path, leaf in riders.items()} == {
        "embedding": (4000, 2),
        "bias": (4000,),
        "outgoing": (4000, 5),
    }
    one = first(riders)
    by_hand = np.sum(normal(one["embedding"])) + np.sum(normal(one["outgoing"]))
    assert np.isclose(
        eqx.filter_jit(deep.log_prior_rider)(one), by_hand + normal(one["bias"], 0.3, 0.5)
    )
    # 5 standard errors each: by chance once in 600,000
    assert abs(float(jnp.mean(riders["bias"])) - 0.3) < 5 * 0.5 / np.sqrt(4000)
    assert abs(float(jnp.mean(riders["outgoing"] ** 2)) - 1) < 5 * np.sqrt(2 / 20000)


@pytest.mark.slow
def test_positive_weights():
    """A prior with a support: riders and nets are in the same unconstrained coordinates."""
    prior = bx.Independent(
        readout=bx.Normal(), embedding=bx.Uniform(-1.0, 1.0), bias=bx.Uniform(0.0, 1.0)
    )
    deep = problem((3,), 1, prior=prior)
    net = net_of(deep, 6, 5)
    found, expected = drift(deep, net, deep.copies(net)), net_drift(deep, net)
    assert np.allclose(found["embedding"], expected[0]["embedding"])
    assert np.allclose(found["outgoing"], expected[1]["embedding"].T)
    x = jnp.array([0.2, 0.9])
    assert np.max(np.abs(eqx.filter_jit(deep.drives)(net, x)[1])) <= np.sqrt(3) + 1
    assert bool(jnp.all(eqx.filter_jit(deep.drives)(net, jnp.zeros(2))[0] >= 0))


@pytest.mark.slow
def test_riders_do_not_touch_the_net():
    deep = problem((4,), 1)
    key, dynamics = jax.random.key(7), Descent(optax.sgd(0.05))
    alone = train(deep, 8, key=key, steps=40, batch=None, dynamics=dynamics)
    beside = train(deep, 8, key=key, steps=40, batch=None, dynamics=dynamics, riders=6)
    same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), alone.net, beside.net)
    assert all(jax.tree.leaves(same))
    # descent descends, and riders moved
    assert float(alone.loss[-1]) < 0.9 * float(alone.loss[0])
    later = ride_along(alone, 3, key=key, steps=2)
    assert later.riders["outgoing"].shape == (3, 8)


def test_frozen_layers():
    deep = problem((3,), 1)
    net = net_of(deep, 9, 5)
    fixed = Frozen(deep, net)
    x = jnp.array([0.1, 0.8])
    top = net_of(fixed, 10, 7)
    assert fixed.size(top) == 7
    assert np.isclose(eqx.filter_jit(fixed.output)(net[1], x), eqx.filter_jit(deep.output)(net, x))
    rider = jax.tree.map(lambda leaf: leaf[2], top)
    alone = jax.tree.map(lambda leaf: leaf[None], rider)
    # neurons of a last layer add up: f is the mean of what they couple as
    assert np.isclose(
        eqx.filter_jit(fixed.couple)(top, rider, x), eqx.filter_jit(fixed.output)(alone, x)
    )
    assert np.isclose(
        eqx.filter_jit(fixed.log_prior)(alone), eqx.filter_jit(fixed.log_prior_rider)(rider)
    )


@pytest.mark.slow
def test_frozen_layers_train():
    deep = problem((3,), 1)
    fixed = Frozen(deep, net_of(deep, 9, 5))
    run = train(fixed, 7, key=jax.random.key(11), steps=20, batch=None, riders=4)
    assert run.riders["embedding"].shape == (4, 3)
    assert run.net["embedding"].shape == (7, 3)


def test_wrong_declarations():
    neuron = Neuron(Unit(jnp.tanh, dim=2), bx.Normal())
    good = {"target": target, "measure": MEASURE, "temperature": 0.1}
    for hidden in ((0,), (2.5,), (True,)):
        with pytest.raises(DeclarationError, match="hidden"):
            Layered(neuron, **good, hidden=hidden)
    for layer in (0, 3, 1.5):
        with pytest.raises(DeclarationError, match="layer"):
            Layered(neuron, **good, hidden=(4,), layer=layer)
    linear = bx.models.Function(lambda w, x: w @ x, jnp.zeros(2))
    with pytest.raises(DeclarationError, match="a Unit"):
        Layered(Neuron(linear, bx.Normal()), **good, hidden=(4,))
    uneven = bx.Independent(readout=bx.Normal(), embedding=bx.Normal(0.0, jnp.array([1.0, 2.0])))
    with pytest.raises(DeclarationError, match="one law for each entry"):
        Layered(Neuron(Unit(jnp.tanh, dim=2), uneven), **good, hidden=(4,))
    Layered(Neuron(Unit(jnp.tanh, dim=2), uneven), **good, hidden=())
    deep = Layered(neuron, **good, hidden=(4,))
    with pytest.raises(DeclarationError, match="2 layers"):
        Frozen(deep, net_of(deep, 0, 3)[:1])
