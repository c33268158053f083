"""Laws of the self-consistent field, on random neurons given by their nodes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boltzax.meanfield._cumulant import NodeCumulant
from boltzax.meanfield._dual import Dual, newton

NODES, DATA = 96, 5
GOAL = jnp.asarray(1e-10)
STEPS = 500  # as of `solve`


def neuron(key, kind="readout", nodes=NODES, data=DATA):
    """A random neuron: tanh features of the nodes with a Gaussian readout, or outputs."""
    keys = jax.random.split(key, 4)
    w = jax.random.normal(keys[0], (nodes, 3))
    x = jax.random.normal(keys[1], (data, 3))
    features = jnp.tanh(2 * w @ x.T)
    masses = jax.nn.softmax(0.5 * jax.random.normal(keys[2], (nodes,)))
    scale = jnp.exp(jax.random.normal(keys[3]))
    if kind == "readout":
        shift, design = jnp.zeros_like(features), scale * features[:, :, None]
    else:
        shift, design = scale * features, jnp.zeros((nodes, data, 0))
    return NodeCumulant(None, {}, jnp.log(masses), masses, shift, design)


def random_dual(key, kind="readout", nodes=NODES, data=DATA):
    """A random neuron and target; T from 1e-4 to 10."""
    key_neuron, key_y, key_t = jax.random.split(key, 3)
    t = 10 ** jax.random.uniform(key_t, minval=-4.0, maxval=1.0)
    target = jax.random.normal(key_y, (data,))
    return Dual(neuron(key_neuron, kind, nodes, data), target, t)


@eqx.filter_jit
def solved(dual, start=None):
    """Field, output, loss and free energy (`-T D`) of the solution, and whether it converged."""
    g = jnp.zeros_like(dual.target) if start is None else start
    found = newton(dual, g, GOAL, STEPS)
    f = dual.cumulant.mean(found.field)
    return {
        "g": found.field,
        "f": f,
        "loss": 0.5 * jnp.sum((f - dual.target) ** 2),
        "free": -dual.temperature * dual.value(found.field),
        "residual": found.residual,
        "converged": found.converged,
        "steps": found.steps,
    }


def at(dual, temperature):
    return Dual(dual.cumulant, dual.target, jnp.asarray(temperature, float))


def problem(seed, log_t=0.0, kind="readout"):
    dual = random_dual(jax.random.key(seed), kind)
    return at(dual, 10.0**log_t)


@eqx.filter_jit
def free_of(dual, logits):
    """`½|f - y|² + T KL(ρ‖p0)` of the law with these logits on the nodes, written out."""
    law, log_law = jax.nn.softmax(logits), jax.nn.log_softmax(logits)
    f = law @ dual.cumulant.shift
    divergence = jnp.sum(law * (log_law - dual.cumulant.log_weights))
    return 0.5 * jnp.sum((f - dual.target) ** 2) + dual.temperature * divergence


seeds = st.integers(0, 10_000)
log_temperatures = st.floats(-3, 1)


def all_solved(count, kind, nodes, data, seed):
    keys = jax.random.split(jax.random.key(seed), count)
    duals = eqx.filter_vmap(lambda k: random_dual(k, kind, nodes, data))(keys)
    found = eqx.filter_jit(eqx.filter_vmap(lambda d: newton(d, 0 * d.target, GOAL, STEPS)))(duals)
    gaps = 0.5 * np.asarray(found.residual) ** 2
    assert np.all(gaps <= 1e-12), (np.sum(gaps > 1e-12), gaps.max())
    return int(np.max(np.asarray(found.steps)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["readout", "output"])
def test_random_problems_are_solved(kind):
    assert all_solved(24, kind, NODES, DATA, 0) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["readout", "output"])
@pytest.mark.parametrize(("nodes", "data"), [(256, 3), (512, 12)])
def test_four_hundred_random_problems_are_solved(kind, nodes, data):
    all_solved(100, kind, nodes, data, 1)


@pytest.mark.slow
@given(seeds, log_temperatures, st.floats(0.1, 3))
def test_the_duality_gap_is_half_the_squared_residual(seed, log_t, size):
    dual = problem(seed, log_t, "output")
    g = size * jax.random.normal(jax.random.key(seed + 1), (DATA,))
    f = dual.cumulant.law(g) @ dual.cumulant.shift
    gap = free_of(dual, dual.cumulant.exponents(g)) + dual.temperature * dual.value(g)
    half = 0.5 * jnp.sum(dual.residual(g) ** 2)
    np.testing.assert_allclose(gap, half, rtol=1e-9, atol=1e-10)
    exact = solved(dual)
    assert float(jnp.linalg.norm(f - exact["f"])) <= 2 * float(half) ** 0.5 * (1 + 1e-9)


@given(seeds, log_temperatures)
def test_no_other_law_has_less_free_energy(seed, log_t):
    dual = problem(seed, log_t, "output")
    least = solved(dual)["free"]
    noise = jax.random.normal(jax.random.key(seed + 2), (20, NODES))
    base = dual.cumulant.exponents(solved(dual)["g"])
    sizes = jnp.logspace(-2, 0.5, 20)[:, None]
    others = jax.vmap(lambda logits: free_of(dual, logits))(base + sizes * noise)
    assert bool(jnp.all(others >= least - 1e-9)), float(jnp.min(others) - least)
    np.testing.assert_allclose(free_of(dual, base), least, rtol=1e-8, atol=1e-9)


@given(seeds, log_temperatures)
def test_derivative_of_the_free_energy_is_minus_the_entropy(seed, log_t):
    dual = problem(seed, log_t)
    here, t, step = solved(dual), 10.0**log_t, 1e-4 * 10.0**log_t
    entropy = dual.cumulant.value(here["g"]) - here["g"] @ here["f"]
    slope = (solved(at(dual, t + step))["free"] - solved(at(dual, t - step))["free"]) / (2 * step)
    assert float(entropy) <= 1e-12
    np.testing.assert_allclose(slope, -entropy, rtol=1e-5, atol=1e-7)


@given(seeds, log_temperatures)
def test_free_energy_is_concave_and_loss_rises_with_temperature(seed, log_t):
    dual = problem(seed, log_t)
    t = 10.0**log_t
    low, middle, high = (solved(at(dual, t * k)) for k in (0.5, 1.0, 1.5))
    assert low["free"] <= middle["free"] + 1e-10 and middle["free"] <= high["free"] + 1e-10
    assert 2 * middle["free"] >= low["free"] + high["free"] - 1e-10
    assert low["loss"] <= middle["loss"] + 1e-10 and middle["loss"] <= high["loss"] + 1e-10


@given(seeds, log_temperatures, st.floats(0.3, 3))
def test_units(seed, log_t, unit):
    dual = problem(seed, log_t)
    bigger = eqx.tree_at(lambda c: c.design, dual.cumulant, replace_fn=lambda d: unit * d)
    scaled = Dual(bigger, unit * dual.target, unit**2 * dual.temperature)
    one, other = solved(dual), solved(scaled)
    np.testing.assert_allclose(unit * other["g"], one["g"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(other["loss"], unit**2 * one["loss"], rtol=1e-6, atol=1e-10)


@given(seeds, log_temperatures)
def test_rotations_of_the_data_rotate_the_field(seed, log_t):
    dual = problem(seed, log_t)
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(seed + 3), (DATA, DATA)))[0]
    turned = eqx.tree_at(
        lambda c: c.design, dual.cumulant, replace_fn=lambda d: jnp.einsum("nm,jmr->jnr", turn, d)
    )
    one = solved(dual)
    other = solved(Dual(turned, turn @ dual.target, dual.temperature))
    np.testing.assert_allclose(other["f"], turn @ one["f"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(other["free"], one["free"], rtol=1e-8, atol=1e-10)


@settings(max_examples=5)
@given(seeds, log_temperatures)
def test_copies_change_nothing(seed, log_t):
    dual = problem(seed, log_t)
    c = dual.cumulant
    one = solved(dual)
    # every node twice with half its mass: the same neuron
    halves = jnp.concatenate([c.log_weights, c.log_weights]) - jnp.log(2.0)
    twice = NodeCumulant(
        None,
        {},
        halves,
        jnp.exp(halves),
        jnp.concatenate([c.shift, c.shift]),
        jnp.concatenate([c.design, c.design]),
    )
    other = solved(Dual(twice, dual.target, dual.temperature))
    np.testing.assert_allclose(other["f"], one["f"], rtol=1e-7, atol=1e-9)
    # every datum twice with half its mass: roots of the masses stand in the vectors
    parts = (c.shift, c.design)
    shift, design = (jnp.concatenate([part, part], axis=1) / 2**0.5 for part in parts)
    data = NodeCumulant(None, {}, c.log_weights, c.rule, shift, design)
    target = jnp.concatenate([dual.target, dual.target]) / 2**0.5
    other = solved(Dual(data, target, dual.temperature))
    np.testing.assert_allclose(2**0.5 * other["f"][:DATA], one["f"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(other["free"], one["free"], rtol=1e-8, atol=1e-10)


@settings(max_examples=5)
@given(seeds, st.floats(-1, 1))
def test_integrating_the_readout_out_is_summing_over_it(seed, log_t):
    dual = problem(seed, log_t)
    c = dual.cumulant
    # features of unit size, so that Gauss-Hermite converges: E exp(a d·g) with |d·g| < 5 or so
    small = eqx.tree_at(lambda c: c.design, c, replace_fn=lambda d: d / jnp.max(jnp.abs(d)))
    dual = Dual(small, 0.5 * dual.target, dual.temperature)
    a, mass = np.polynomial.hermite_e.hermegauss(96)
    log_mass = jnp.log(jnp.maximum(jnp.asarray(mass / mass.sum()), 1e-300))
    shift = (small.design[:, :, 0][:, None, :] * jnp.asarray(a)[:, None]).reshape(-1, DATA)
    log_weights = (small.log_weights[:, None] + log_mass).reshape(-1)
    summed = NodeCumulant(
        None, {}, log_weights, jnp.exp(log_weights), shift, jnp.zeros((len(shift), DATA, 0))
    )
    one, other = solved(dual), solved(Dual(summed, dual.target, dual.temperature))
    np.testing.assert_allclose(other["f"], one["f"], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(other["free"], one["free"], rtol=1e-7, atol=1e-9)


@given(seeds, log_temperatures)
def test_any_start_leads_to_the_same_field(seed, log_t):
    dual = problem(seed, log_t)
    start = 0.5 * jax.random.normal(jax.random.key(seed + 4), (DATA,))
    one, other = solved(dual), solved(dual, start)
    assert bool(other["converged"])
    np.testing.assert_allclose(other["f"], one["f"], rtol=1e-7, atol=1e-8)
