"""A run without a Metropolis test that still cools is not taken for a result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.sample._virial import equilibrium_status

X = np.linspace(-1, 2, 13)[:, None]
LINE = bx.models.Function(lambda p, x: p[0] * x[0] + p[1], jnp.zeros(2))
GIBBS = bx.compile(
    bx.SquaredError(LINE, bx.Empirical((X, 1.3 * X[:, 0] + 0.4))),
    bx.Normal(0, 2),
    beta=30.0,
    marginalise=False,
)
DESIGN = np.concatenate([X, np.ones_like(X)], axis=1)
PRECISION = 30 * DESIGN.T @ DESIGN + np.eye(2) / 4
MEAN = np.linalg.solve(PRECISION, 30 * DESIGN.T @ (1.3 * X[:, 0] + 0.4))


def drawn(width: float, seed: int):
    """Draws of the posterior, a Gaussian, `width` times as wide about its mean."""
    z = np.random.default_rng(seed).normal(size=(4, 200, 2))
    return {"params": jnp.asarray(MEAN + width * z @ np.linalg.inv(np.linalg.cholesky(PRECISION)))}


@settings(max_examples=10)
@given(st.integers(0, 1000), st.floats(1.5, 30.0), st.floats(0.01, 0.6))
def test_draws_that_are_too_hot_or_too_cold_break_the_virial_theorem(seed, hot, cold):
    good = bx.Status.successful
    assert equilibrium_status(GIBBS, drawn(1.0, seed), good) == good
    for width in (hot, cold):
        status = equilibrium_status(GIBBS, drawn(width, seed), good)
        assert status == bx.Status.not_in_equilibrium
    both = GIBBS.at(jnp.array([30.0, 30.0]))
    pair = jax.tree.map(lambda a, b: jnp.stack([a, b]), drawn(1.0, seed), drawn(hot, seed))
    assert equilibrium_status(both, pair, good) == bx.Status.not_in_equilibrium


def test_a_run_that_cools_says_so():
    """The energy oscillates on its way down, so that halves of chains and chains agree."""
    line = bx.models.Function(
        lambda p, x: p["a"] * x[0] + p["b"], {"a": jnp.array(0.0), "b": jnp.array(0.0)}
    )
    energy = bx.SquaredError(line, bx.Empirical((X, 1.3 * X[:, 0] + 0.4)))
    gibbs = bx.compile(energy, bx.Normal(0, 2), marginalise=False)
    run = bx.sample(
        gibbs.at([0.1, 1.0, 30.0]),
        bx.Underdamped(),
        key=jax.random.key(11),
        draws=512,
        thin=5,
        throw=False,
    )
    found = bx.learning_coefficient(run)
    assert float(found.value[2]) > 100  # 1 where it is in equilibrium
    assert float(found.r_hat[2]) < 1.1
    assert run.status == bx.Status.not_in_equilibrium


@pytest.mark.parametrize("keep", [True, False])
def test_draws_that_are_not_kept_are_looked_at_too(keep):
    """A step close to the largest stable one, where the variance is ten times too large."""
    step = 3.6 / np.linalg.eigvalsh(PRECISION).max()
    run = {"key": jax.random.key(0), "warmup": 200, "draws": 400, "throw": False}
    trace = bx.sample(GIBBS, bx.SGLD(step), start={"params": jnp.asarray(MEAN)}, keep=keep, **run)
    assert trace.status == bx.Status.not_in_equilibrium
    assert (trace.w is not None) == keep
