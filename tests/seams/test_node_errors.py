"""Fixed points of a field know the error of their nodes."""

import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import meanfield as mf
from boltzax.core import Status

X, Y, M = np.array([-1.2, 0.4, 1.5]), np.array([0.9, -0.5, 0.3]), np.array([0.5, 0.3, 0.2])
READOUT, EMBEDDING, BIAS = 1.5, 1.2, 0.8


def problem(temperature):
    prior = bx.Independent(
        readout=bx.Normal(0.0, READOUT),
        embedding=bx.Normal(0.0, EMBEDDING),
        bias=bx.Normal(0.0, BIAS),
    )
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=1, bias=True), prior)
    return mf.SelfConsistency(neuron, None, bx.Empirical((X[:, None], Y), weights=M), temperature)


def dense(temperature, count=240):
    """The fixed point on a dense grid of embedding and bias, in NumPy."""
    b, c = (np.linspace(-7 * s, 7 * s, count) for s in (EMBEDDING, BIAS))
    b, c = (x.ravel() for x in np.meshgrid(b, c, indexing="ij"))
    log_p = -(b**2) / 2 / EMBEDDING**2 - c**2 / 2 / BIAS**2
    keep = log_p > -32
    p = np.exp(log_p[keep])
    p, root = p / p.sum(), np.sqrt(M)
    phi = np.tanh(b[keep, None] * X + c[keep, None]) * root
    y, g = root * Y, np.zeros(3)
    for _ in range(100):
        s = phi @ g
        e = 0.5 * READOUT**2 * s**2
        w = p * np.exp(e - e.max())
        psi = e.max() + np.log(w.sum())
        w, mu = w / w.sum(), READOUT**2 * s
        f = (w * mu) @ phi
        covariance = (phi.T * (w * (READOUT**2 + mu**2))) @ phi - np.outer(f, f)
        residual = temperature * g + f - y
        if np.abs(residual).max() < 1e-12:
            break
        step = np.linalg.solve(temperature * np.eye(3) + covariance, residual)
        g = g - step / max(1.0, np.linalg.norm(step) / 3)
    loss, entropy = 0.5 * np.sum((f - y) ** 2), psi - g @ f
    eigenvalues = np.linalg.eigvalsh(covariance)
    return {
        "background": f / root,
        "loss": loss,
        "entropy": entropy,
        "free_energy": loss - temperature * entropy,
        "stiffness": eigenvalues[-1] / temperature,
        "fluctuation": eigenvalues.sum(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.06, 0.3])
def test_the_errors_cover_what_a_dense_grid_gives(temperature):
    """|z| < 6 of the root mean square over two seeds: errors come from five scramblings each."""
    exact = dense(temperature)
    found = [mf.solve(problem(temperature), order=512, seed=seed, refinements=1) for seed in (0, 1)]
    for name, truth in exact.items():
        off, error = [], []
        for each in found:
            value = each.background.values if name == "background" else getattr(each, name)
            off.append(np.max(np.abs(np.asarray(value) - truth)))
            error.append(np.max(np.asarray(getattr(each.errors, name))))
        assert np.sqrt(np.mean(np.square(off))) < 6 * np.sqrt(np.mean(np.square(error))), name
        assert max(error) < 0.2 * np.max(np.abs(truth)), name
    assert "±" in repr(found[0])


def test_a_coarser_rule_bounds_the_error_of_a_grid():
    exact = dense(0.3)
    found = mf.solve(problem(0.3), rule="trapezoid", order=24, refinements=0)
    for name in ("loss", "entropy", "free_energy"):
        off = abs(float(getattr(found, name)) - exact[name])
        assert off < 2 * float(getattr(found.errors, name)) + 1e-12, name


def test_a_function_that_its_nodes_do_not_know_is_not_believed():
    found = mf.solve(problem(0.01), order=16, refinements=0, throw=False)
    assert found.status == Status.few_nodes
    without = mf.solve(problem(0.3), order=128, refinements=0, replicates=0, throw=False)
    assert bool(jnp.isnan(without.errors.loss)) and "nan" in repr(without)


@pytest.mark.slow
def test_the_order_one_over_width_carries_the_error_of_its_nodes():
    """`h = w x` in closed form: |z| < 6 of the root mean square over three seeds."""
    model = bx.models.Function(lambda w, x: w * x, jnp.zeros(()))
    data = bx.Empirical((jnp.full(1, 2.0), jnp.full(1, 1.5)))
    linear = mf.SelfConsistency(mf.Neuron(model, bx.Normal()), None, data, 0.8)
    kwargs = {"order": 256, "refinements": 0, "replicates": 0, "throw": False}
    found = [mf.finite_width(mf.solve(linear, seed=s, **kwargs)) for s in (0, 1, 2)]
    exact = {"loss": 2 / 6, "log_partition": -0.5 * np.log(6), "background": 0.0}
    for name, truth in exact.items():
        off = [np.max(np.abs(np.asarray(getattr(each, name)) - truth)) for each in found]
        error = [np.max(np.asarray(getattr(each.errors, name))) for each in found]
        assert np.sqrt(np.mean(np.square(off))) < 6 * np.sqrt(np.mean(np.square(error))), name
        assert 0 < max(error) < 0.3, name
    assert "±" in repr(found[0])
    grid = mf.solve(linear, rule="hermite", order=8, refinements=0, replicates=0, throw=False)
    assert bool(jnp.isnan(mf.finite_width(grid).errors.loss))  # half a grid is no rule
