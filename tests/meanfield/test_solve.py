"""The fixed point of the convex dual, and one neuron in its background."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import meanfield as mf
from boltzax.core import Status, with_weights


def hard_tanh(z):
    return jnp.clip(z, -1, 1)


def product(x):
    return x[0] * x[1]


def problem(temperature=0.05, activation=jnp.tanh, bias=True, order=6):
    neuron = mf.Neuron(mf.Unit(activation, dim=2, bias=bias), bx.Normal())
    return mf.SelfConsistency(neuron, product, bx.GaussianMeasure(2, order=order), temperature)


@pytest.fixture(scope="module")
def solved():
    return mf.solve(problem(), order=1024, refinements=0)


def integral(problem, values):
    return float(jnp.sum(problem.measure.nodes()[1] * values))


@pytest.mark.slow
def test_the_field_is_self_consistent_by_sums_over_draws(solved):
    """`f = E_ρ[h]` with the law drawn, not summed: 4 standard errors, false alarms 6e-5 a node."""
    p = solved.problem
    neurons = solved.draw(jax.random.key(0), 4096)
    h = jax.vmap(lambda one: jax.vmap(p.model(one))(p.inputs()))(neurons)
    error = jnp.std(h, axis=0) / 64
    assert jnp.all(jnp.abs(jnp.mean(h, axis=0) - solved.background.values) < 4 * error)
    field = (p.targets() - solved.background.values) / p.temperature
    np.testing.assert_allclose(solved.field, field, atol=1e-7)


@pytest.mark.slow
def test_the_law_maximises_the_weighted_density(solved):
    """The nodes' law is `p0 exp⟨g, h⟩` with `h` of the neuron itself, the readout integrated out.

    `E_a exp(a ⟨g, φ⟩) = exp(½⟨g, φ⟩²)`, by hand.
    """
    p = solved.problem
    nodes, field = solved.law.nodes, solved.law.vector
    weights = p.measure.nodes()[1]

    def exponent(u):
        phi = jnp.tanh(p.inputs() @ u["embedding"] + u["bias"])
        return 0.5 * jnp.sum(weights * solved.field * phi) ** 2

    by_hand = jax.vmap(exponent)(nodes.nodes) + nodes.log_weights
    np.testing.assert_allclose(nodes.exponents(field), by_hand, rtol=1e-10)


@pytest.mark.slow
def test_energies_add_up(solved):
    p = solved.problem
    misfit = p.targets() - solved.background.values
    np.testing.assert_allclose(solved.loss, 0.5 * integral(p, misfit**2), rtol=1e-10)
    total = solved.loss - p.temperature * solved.entropy
    np.testing.assert_allclose(solved.free_energy, total, rtol=1e-12)
    law = solved.law.nodes.law(solved.law.vector)
    # KL of nodes and integrated readout together: E⟨g, h⟩ - Ψ
    drive = solved.law.vector @ solved.law.nodes.mean(solved.law.vector)
    kl = drive - solved.law.nodes.value(solved.law.vector)
    np.testing.assert_allclose(solved.entropy, -kl, rtol=1e-10)
    assert kl > jnp.sum(law * jnp.log(law * len(law))) > 0


@pytest.mark.slow
def test_derivatives_of_the_cumulant(solved):
    nodes, g = solved.law.nodes, solved.law.vector
    np.testing.assert_allclose(nodes.mean(g), jax.grad(nodes.value)(g), atol=1e-10)
    jacobian = jax.jacfwd(nodes.mean)(g)
    np.testing.assert_allclose(nodes.covariance(g), jacobian, atol=1e-9)


@pytest.mark.slow
def test_integrating_the_readout_out_changes_nothing():
    """With the readout as one more node axis `Ψ` is the same integral."""
    p = problem(0.2, order=4)
    out = mf.solve(p, rule="hermite", order=12, refinements=0)
    flat = mf.Neuron(bx.models.Function(_plain, jnp.zeros(4)), bx.Normal())
    whole = mf.SelfConsistency(flat, product, p.measure, 0.2)
    kept = mf.solve(whole, order=2**13, refinements=0)
    assert kept.law.nodes.design.shape[-1] in (0, 1)
    np.testing.assert_allclose(out.background.values, kept.background.values, atol=0.03)


def _plain(w, x):
    return w[0] * jnp.tanh(w[1] * x[0] + w[2] * x[1] + w[3])


@pytest.mark.slow
def test_a_net_of_draws_has_the_predicted_loss(solved):
    """`E loss = loss + trace C/(2N)` over 256 nets of 64 draws: 4 s.e., false alarms 6e-5."""
    p = solved.problem
    neurons = solved.draw(jax.random.key(1), 256 * 64)
    nets = jax.tree.map(lambda leaf: leaf.reshape(256, 64, *leaf.shape[1:]), neurons)
    weights = p.measure.nodes()[1]

    def loss(net):
        misfit = p.targets() - jax.vmap(lambda x: p.output(net, x))(p.inputs())
        return 0.5 * jnp.sum(weights * misfit**2)

    losses = jax.lax.map(loss, nets)
    expected = solved.loss + solved.fluctuation / 128
    assert abs(jnp.mean(losses) - expected) < 4 * jnp.std(losses) / 16
    assert solved.thermal_fluctuation < 0.5 * solved.fluctuation


def test_backgrounds_agree_on_what_they_are(solved):
    p = solved.problem
    again = jax.vmap(solved.background)(p.inputs())
    np.testing.assert_allclose(again, solved.background.values, atol=1e-12)
    net = p.draw_net(jax.random.key(0), 8)
    ensemble = mf.Background.from_ensemble(net, p)
    models = jax.vmap(p.coordinates.constrain)(net)
    stacked = with_weights(p.gibbs(8).declared, {f"neurons.{k}": v for k, v in models.items()})
    other = mf.Background.from_net(stacked, p)
    np.testing.assert_allclose(ensemble.values, other.values, atol=1e-12)
    array = mf.Background.from_array(ensemble.values, p)
    np.testing.assert_array_equal(array.values, ensemble.values)
    with pytest.raises(bx.DeclarationError, match="array"):
        array(p.inputs()[0])


@pytest.mark.slow
def test_the_lazy_background_is_a_gaussian_process(solved):
    """`K(K + T)⁻¹y` with the kernel of the prior's nodes, through both constructors."""
    p = solved.problem
    lazy = mf.Background.lazy(p, order=256)
    nodes = mf.probe(p, lazy, order=256, refinements=0).nodes.nodes

    def kernel(a, b):
        phi = jax.vmap(lambda u: jnp.tanh(jnp.stack([a, b]) @ u["embedding"] + u["bias"]))(nodes)
        return jnp.mean(phi[:, 0] * phi[:, 1])

    process = mf.Background.from_kernel(kernel, p)
    np.testing.assert_allclose(lazy.values, process.values, atol=1e-9)
    x = jnp.array([0.3, -1.1])
    np.testing.assert_allclose(lazy(x), process(x), atol=1e-9)
    # it lags behind: the law of its neurons is the prior's to first order
    assert integral(p, (p.targets() - lazy.values) ** 2) > 2.5 * float(solved.loss)


def test_a_probe_answers_as_its_covariance_says(solved):
    p = solved.problem
    change = jnp.sin(p.inputs()[:, 0])
    small = 1e-5

    def mean(sign):
        values = solved.background.values - sign * small * change * p.temperature
        there = mf.Background.from_array(values, p)
        return mf.probe(p, there, order=1024, refinements=0).mean().values

    slope = (mean(1) - mean(-1)) / (2 * small)
    np.testing.assert_allclose(solved.law.response(change), slope, atol=1e-6)


@pytest.mark.slow
def test_the_probe_is_a_gibbs_measure_of_the_core(solved):
    """`log p0 + ⟨g, h⟩ - Ψ`: its exponential has the integral one over the prior's draws."""
    p = solved.problem
    neurons = p.draw_net(jax.random.key(2), 4096)
    tilt = jax.vmap(lambda one: solved.law.log_density(one) - p.coordinates.log_prior(one))
    ratio = jnp.exp(tilt(neurons))
    # 4 s.e.; heavy-tailed, so that the error is itself uncertain: false alarms below 1%
    assert abs(jnp.mean(ratio) - 1) < 4 * jnp.std(ratio) / 64


def test_a_second_start_and_a_neighbour_come_to_the_same(solved):
    near = mf.solve(problem(0.08), order=1024, refinements=0)
    again = mf.solve(problem(), order=1024, start=near, refinements=0)
    np.testing.assert_allclose(again.field, solved.field, atol=1e-5)
    assert solved.unique == mf.Uniqueness.convex
    assert near.stiffness < solved.stiffness


@pytest.mark.slow
def test_nodes_drawn_where_the_law_is_give_the_same_integrals():
    """At T = .005 the prior's Sobol nodes are too few; against 2^17 of them."""
    cold = problem(0.005, order=5)
    exact = mf.solve(cold, order=2**17, refinements=0, throw=False)
    few = mf.solve(cold, order=1024, refinements=0, throw=False)
    many = mf.solve(cold, order=1024)
    assert few.ess < 50 and many.ess > 150
    for name in ("loss", "free_energy", "entropy", "fluctuation"):
        np.testing.assert_allclose(getattr(many, name), getattr(exact, name), rtol=0.03)
    assert abs(many.entropy - exact.entropy) < 0.25 * abs(few.entropy - exact.entropy)
    # the error of Ψ is about 1/√ess: 4 of them, false alarms 6e-5
    tilt = mf.probe(cold, exact.background, order=1024)
    psi = exact.law.nodes.value(exact.law.vector)
    error = jnp.sqrt(1 / tilt.ess + 1 / exact.ess)
    assert abs(tilt.nodes.value(tilt.vector) - psi) < 4 * error < 0.5


@pytest.mark.slow
def test_failures_say_so():
    cold = problem(1e-4)
    with pytest.raises(bx.RunError, match="effective nodes"):
        mf.solve(cold, order=64, refinements=0)
    thin = mf.solve(cold, order=64, refinements=0, throw=False)
    assert thin.status == Status.few_nodes
    short = mf.solve(problem(), order=1024, steps=1, throw=False)
    assert short.status == Status.not_converged
    assert short.unique == mf.Uniqueness.unknown


@pytest.mark.parametrize(
    "make, argument",
    [
        (lambda: mf.Unit(jnp.tanh, dim=0), "dim"),
        (lambda: mf.Unit(3), "activation"),
        (lambda: mf.Neuron(3, bx.Normal()), "model"),
        (lambda: mf.Neuron(mf.Unit(), 1.0), "prior"),
        (lambda: problem(-1.0), "temperature"),
        (lambda: problem("cold"), "temperature"),
        (lambda: mf.SelfConsistency(mf.Unit(), product, bx.GaussianMeasure(2), 1.0), "neuron"),
        (lambda: mf.Background.from_array(jnp.zeros(5), problem()), "values"),
        (lambda: mf.solve(problem(), rule="sparse", order=4), "rule"),
        (lambda: mf.Langevin(dt=-1.0), "dt"),
        (lambda: mf.Descent("adam"), "optimiser"),
    ],
)
def test_a_wrong_declaration_says_what_to_mend(make, argument):
    with pytest.raises(bx.DeclarationError) as caught:
        make()
    assert argument in caught.value.argument
