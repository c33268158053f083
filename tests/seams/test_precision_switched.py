"""A measure belongs to the precision it was compiled in: another one is one clear error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(20, 2))
Y = np.sin(X[:, 0])


def measure(marginalise):
    net = bx.models.TwoLayer(2, dim=2, key=KEY)
    return bx.compile(
        bx.SquaredError(net, bx.Empirical((X, Y))), bx.Normal(), marginalise=marginalise
    )


USES = {
    "log_prob": lambda gibbs, w: gibbs.log_prob(w),
    "energy under jit": lambda gibbs, w: jax.jit(lambda w: gibbs.energy(w))(w),
    "estimate": lambda gibbs, w: gibbs.log_prob_estimate(w, KEY),
    "position": lambda gibbs, w: gibbs.position(),
    "prior": lambda gibbs, w: gibbs.sample_prior(KEY),
    "another beta": lambda gibbs, w: gibbs.at(2.0).log_prob(w),
    "sample": lambda gibbs, w: bx.sample(gibbs, bx.RandomWalk(), key=KEY, warmup=4, draws=4),
    "sample from a place": lambda gibbs, w: bx.sample(
        gibbs, bx.MALA(), key=KEY, warmup=4, draws=4, start=w
    ),
    "anneal": lambda gibbs, w: bx.anneal(gibbs, [1.0], bx.RandomWalk(), key=KEY, draws=4),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("made_in_double", [False, True])
def test_a_switch_of_precision_after_compile_is_one_error(use, made_in_double):
    with jax.enable_x64(made_in_double):
        gibbs = measure(marginalise=None if use == "prior" else False)
        w = gibbs.position()
    with (
        jax.enable_x64(not made_in_double),
        pytest.raises(bx.DeclarationError, match="`gibbs`: got a measure compiled in float"),
    ):
        USES[use](gibbs, w)


def test_the_exact_run_of_a_linear_model_refuses_too():
    line = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.zeros(2))
    gibbs = bx.compile(bx.SquaredError(line, bx.Empirical((X, Y))), bx.Normal())
    with jax.enable_x64(False), pytest.raises(bx.DeclarationError, match="`gibbs`"):
        bx.sample(gibbs, key=KEY)
