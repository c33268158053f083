"""Modular addition, declared: prior, action, kernel, self-consistency, nets."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from boltzax.cases import (
    ModularEnsemble,
    ModularPrior,
    ModularUnit,
    modular_addition,
    modular_exact,
    modular_gibbs,
    modular_modes,
    modular_residual,
    modular_split,
    modular_table,
    modular_width,
)
from boltzax.cases._modular_width import _neurons
from boltzax.core import DeclarationError, mean_estimate, with_weights
from boltzax.meanfield import Langevin, solve, train
from boltzax.meanfield._cumulant import NodeCumulant, lower
from boltzax.meanfield._finite_width import _third

P, NOISE, SCALES = 3, 0.05, {"readout_scale": 0.05 / 3}


def test_modes_and_table():
    w = np.random.default_rng(0).normal(size=(4, 5))
    expected = np.abs(np.fft.fft(w)[:, 1:3] / 5) ** 2
    np.testing.assert_allclose(modular_modes(jnp.asarray(w)), expected, atol=1e-14)
    x, y = modular_table(5)
    row = 5 * 3 + 4  # 3 + 4 = 2 mod 5
    assert x[row, 3] == x[row, 5 + 4] == 1 and jnp.sum(x[row]) == 2
    assert y[row, 2] == pytest.approx(0.8)
    np.testing.assert_allclose(jnp.sum(y, axis=0), 0, atol=1e-12)
    seen, held = modular_split(5, 0.6, key=jax.random.key(0))
    assert len(seen) == 15 and set(seen) | set(held) == set(range(25))


def test_prior():
    """Density, draws and constant, each against quadrature; 6 numbers within 4.5 errors: a false
    alarm in 25,000."""
    p, gamma, draws = 5, 3.0, 20_000
    prior = ModularPrior(p, gamma)
    w = np.asarray(jax.jit(lambda key: prior.sample(key, (draws,)))(jax.random.key(1)))

    def moment(power):
        return quad(lambda t: t**power * np.exp(-p * t - gamma * p * t**3 / 3), 0, 9)[0]

    def mean_moment(power):
        return quad(lambda m: m**power * np.exp(-p * m**2 / 2 - gamma * p * m**6 / 6), -4, 4)[0]

    sizes, means = np.asarray(modular_modes(jnp.asarray(w))), w.mean(axis=1)
    exact = [moment(1) / moment(0), moment(2) / moment(0), mean_moment(2) / mean_moment(0)]
    seen = [sizes.ravel(), sizes.ravel() ** 2, means**2]
    for values, truth in zip(seen, exact, strict=True):
        # the two modes of a draw are independent
        assert abs(values.mean() - truth) < 4.5 * values.std() / np.sqrt(len(values))
    phases = np.angle(np.fft.fft(w)[:, 1])
    for turn in (np.cos(phases), np.sin(phases)):
        assert abs(turn.mean()) < 4.5 * np.sqrt(0.5 / draws)
    # normalised: E_N[p(w)/N(w)] = 1
    u = np.random.default_rng(2).normal(size=(draws, p))
    normal = -0.5 * np.sum(u**2, axis=1) - 0.5 * p * np.log(2 * np.pi)
    ratio = np.exp(np.asarray(jax.jit(lambda v: prior.log_prob(v))(jnp.asarray(u))) - normal)
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / np.sqrt(draws)
    # and -log p is ½|w|² + (γP/6) Σ_k |w_k|⁶ up to that constant
    sixth = np.sum(np.abs(np.fft.fft(u) / p) ** 6, axis=1)
    np.testing.assert_allclose(
        np.log(ratio) + gamma * p / 6 * sixth, -float(prior.log_constant), atol=1e-10
    )


@pytest.mark.slow
def test_action_of_a_mode():
    """Readout integrated out, in the field r y/s²: `Σ_k 2P u r² |w_k|²|v_k|²`, to rounding."""
    p, scale, r = 5, 0.03, 0.7
    problem = modular_addition(p, NOISE, readout_scale=scale)
    nodes = lower(problem, "sobol", 16, 0)
    target = problem.to_vector(problem.targets())
    found = nodes.exponents(r * target / NOISE) - nodes.log_weights
    weights = jax.jit(jax.vmap(lambda u: nodes.one.coordinates.from_normal(u)))(nodes.nodes)
    product = modular_modes(weights["left"]) * modular_modes(weights["right"])
    u = 2 * scale**2 * p**2 / NOISE**2
    np.testing.assert_allclose(found, 2 * p * u * r**2 * jnp.sum(product, axis=1), rtol=1e-9)
    # and the kernel's eigenvalue on the target, λ = 4 σ_a² P² ⟨|w_k|²|v_k|²⟩ averaged over modes
    kernel = jnp.einsum("jnr,jmr->nm", nodes.design, nodes.design) / len(product)
    eigenvalue = target @ kernel @ target / (target @ target)
    expected = 4 * scale**2 * p**2 * jnp.mean(product)
    np.testing.assert_allclose(eigenvalue, expected, rtol=1e-9)


@pytest.mark.slow
def test_solve_agrees_with_modular_exact():
    """The joint law of all modes on nodes, at a γ and a noise where nodes of the prior reach it:
    half of them count. The neurons of the prior alone would leave 0.970."""
    gamma, noise, scale = 9.0, 0.27, 0.26 / 3
    problem = modular_addition(P, noise, readout_scale=scale, gamma=gamma)
    _, y = modular_table(P)
    exact = modular_exact(P, noise, readout_scale=scale, gamma=gamma)
    f = np.asarray(solve(problem, order=8192).background.values)
    found = 1 - np.vdot(f, y) / np.vdot(y, y)
    assert found == pytest.approx(exact.residual, abs=0.003)
    # the net is proportional to the target
    assert np.max(np.abs(f - (1 - found) * np.asarray(y))) < 0.01


def test_three_declarations_of_one_net():
    """The net as matrices, as a mean of neurons, and as an ensemble have one density."""
    width, arguments = 4, {**SCALES, "rows": np.arange(5), "product": True}
    problem = modular_addition(P, NOISE, **arguments)
    fast, plain = modular_gibbs(P, width, NOISE, **arguments), problem.gibbs(width)
    w = fast.sample_prior(jax.random.key(3))
    renamed = {f"neurons.{path}": leaf for path, leaf in w.items()}
    value = float(eqx.filter_jit(fast.log_prob)(w))
    assert value == pytest.approx(float(eqx.filter_jit(plain.log_prob)(renamed)), rel=1e-12)
    ensemble, (x, y) = ModularEnsemble(problem), modular_table(P)
    f = jax.jit(jax.vmap(lambda z: ensemble.output(w, z)))(x)
    each = jax.jit(jax.vmap(lambda z: problem.output(w, z)))(x)
    np.testing.assert_allclose(f, each, atol=1e-14)
    # the likelihood: noise of variance s²/N on the data alone
    loss = 0.5 * np.sum(np.asarray(f - y)[:5] ** 2) * width / NOISE
    prior = float(eqx.filter_jit(ensemble.log_prior)(w))
    assert value == pytest.approx(prior - loss, rel=1e-12)


def test_product_units_couple_alike_to_the_whole_table():
    p = 5
    x, y = modular_table(p)
    rng, values = np.random.default_rng(4), []
    leaves = {name: rng.normal(size=p) for name in ("readout", "left", "right")}
    for product in (False, True):
        unit = with_weights(ModularUnit(p, 0.3, product), leaves)
        h = jax.vmap(unit)(x)
        values.append([np.vdot(h, y), np.vdot(h[:20], y[:20])])
    assert values[0][0] == pytest.approx(values[1][0], rel=1e-12)
    assert abs(values[0][1] - values[1][1]) > 0.01  # not on a part of it


def run(modulus, noise, width, steps, scales):
    problem = ModularEnsemble(modular_addition(modulus, noise, **scales))
    x, y = modular_table(modulus)
    found = train(
        problem, width, key=jax.random.key(0), steps=steps, batch=None, frames=100,
        dynamics=Langevin(dt=0.1),
    )  # fmt: skip
    read = jax.jit(jax.vmap(lambda w: modular_residual(problem.net(w), x, y)))
    r = read(found.net_frames)
    return mean_estimate(r[50:][None])


@pytest.mark.slow
def test_a_small_net():
    """P = 3, N = 64: theory, up to four standard errors and 4/N, as far as nets of P = 11 are."""
    found = run(P, NOISE, 64, 2000, SCALES)
    exact = modular_exact(P, NOISE, **SCALES).residual
    assert abs(found.value - exact) < 4 * found.standard_error + 4 / 64
    assert found.value < 0.9  # the Gaussian process of the prior leaves 0.98


@pytest.mark.slow
def test_nets_approach_modular_exact():
    """r = theory + c/N + O(1/N²), extrapolated from two widths: four standard errors (1 in 16,000)
    and 0.0005 for the last order, which is what nets of N = 64 are off the line, by (64/256)²."""
    scales = {"readout_scale": 0.05 / 11}
    exact = modular_exact(11, 0.06, **scales).residual
    one, two = (run(11, 0.06, width, 4000, scales) for width in (256, 1024))
    limit = (4 * two.value - one.value) / 3
    error = jnp.hypot(4 * two.standard_error, one.standard_error) / 3
    assert abs(limit - exact) < 4 * error + 0.0005
    assert 2 / 1024 < two.value - exact < 6 / 1024


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("modulus", lambda: modular_table(4)),
        ("noise", lambda: modular_addition(P, -1.0, **SCALES)),
        ("readout_scale", lambda: modular_addition(P, NOISE, readout_scale=0.0)),
        ("gamma", lambda: ModularPrior(P, -1.0)),
        ("fraction", lambda: modular_split(P, 1.5, key=jax.random.key(0))),
        ("rows", lambda: modular_addition(P, NOISE, **SCALES, rows=np.array([0, 0]))),
        ("width", lambda: modular_gibbs(P, 0, NOISE, **SCALES)),
    ],
)
def test_wrong_arguments(argument, call):
    with pytest.raises(DeclarationError) as raised:
        call()
    assert raised.value.argument == argument


@pytest.mark.slow
def test_the_order_one_over_width_is_that_of_finite_width():
    """The same neurons as nodes of a cumulant: `⟨y, t⟩` by the general code, and `C`."""
    noise, scale, draws = 0.5, 0.2, 1000
    found = modular_width(3, noise, readout_scale=scale, key=jax.random.key(0), draws=draws)
    problem = modular_addition(3, noise, readout_scale=scale)
    exact = modular_exact(3, noise, readout_scale=scale)
    left, right = _neurons(exact, 3, noise, scale, 1.0, jax.random.key(0), draws)
    x, y = modular_table(3)
    feature = scale * (left @ x[:, :3].T + right @ x[:, 3:].T) ** 2
    design = jnp.einsum("jn,qr->jnqr", feature, jnp.eye(3)).reshape(draws, 27, 3)
    target, field = y.reshape(-1), exact.residual / noise * y.reshape(-1)
    flat = jnp.full(draws, 1 / draws)
    drive = jnp.einsum("jnr,n->jr", design, field)
    log_weights = -0.5 * jnp.sum(drive**2, axis=1) - jnp.log(draws)
    nodes = NodeCumulant(
        problem.gibbs(1), {}, log_weights, flat, jnp.zeros(design.shape[:2]), design
    )
    inverse = jnp.linalg.inv(nodes.covariance(field) + noise * jnp.eye(27))
    along = target @ _third(nodes, field, inverse)
    stiff = target @ inverse @ target / (target @ target)
    expected = 0.5 * noise * stiff * along / (target @ target)
    np.testing.assert_allclose(found.value, expected, rtol=1e-9)


def test_neurons_are_drawn_from_the_law():
    """`4σ_a²P²⟨|w_k|²|v_k|²⟩` is the eigenvalue: 4 standard errors, false alarms 6e-5."""
    exact = modular_exact(11, 0.05, readout_scale=0.05 / 11)
    left, right = _neurons(exact, 11, 0.05, 0.05 / 11, 1.0, jax.random.key(1), 20_000)
    product = jnp.mean(modular_modes(left) * modular_modes(right), axis=1) * 4 * 0.05**2
    error = jnp.std(product) / 20_000**0.5
    assert abs(jnp.mean(product) - exact.eigenvalue) < 4 * error
    assert error < 0.01 * exact.eigenvalue
