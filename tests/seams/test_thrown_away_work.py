"""What a run throws away it does not compute: warm-up steps read no energy over all data."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

N, BATCH, CHAINS = 50, 2, 2


class Counter:
    """How many times a loss was evaluated at one datum."""

    def __init__(self):
        self.count = 0
        self.lock = threading.Lock()  # callbacks come from several threads

    def loss(self, model, z):
        jax.debug.callback(self.add, z)
        return 0.5 * (model(z) - 1.0) ** 2

    def add(self, z):
        with self.lock:
            self.count += int(np.size(z))


def problem(measure):
    counter = Counter()
    model = bx.models.Function(lambda w, z: w * z, jnp.asarray(0.5))
    energy = bx.PerDatum(model, measure, counter.loss)
    return counter, bx.compile(energy, bx.Normal(), marginalise=False)


def spent(gibbs, counter, kernel, warmup: int, thin: int, **settings) -> int:
    counter.count = 0
    bx.sample(
        gibbs, kernel, key=jax.random.key(0), chains=CHAINS, warmup=warmup, draws=4, thin=thin,
        throw=False, **settings,
    )  # fmt: skip
    jax.effects_barrier()
    return counter.count


@pytest.mark.slow
def test_a_warm_up_step_of_minibatches_costs_minibatches():
    data = bx.Subsampled(bx.Empirical(jnp.linspace(-1.0, 1.0, N)), BATCH)
    counter, gibbs = problem(data)
    kernel = bx.SGLD(1e-4)
    without = spent(gibbs, counter, kernel, 0, 1)
    more = spent(gibbs, counter, kernel, 40, 1) - without
    assert 0 < more <= 2 * 40 * CHAINS * BATCH


def test_a_warm_up_step_of_a_walk_costs_one_energy():
    counter, gibbs = problem(bx.Empirical(jnp.linspace(-1.0, 1.0, N)))
    without = spent(gibbs, counter, bx.RandomWalk(), 0, 1)
    more = spent(gibbs, counter, bx.RandomWalk(), 40, 1) - without
    assert more == 40 * N  # the data are the same for all chains: one call for both


def test_reductions_are_not_summed_in_warm_up():
    seen = []
    counter, gibbs = problem(bx.Empirical(jnp.linspace(-1.0, 1.0, N)))

    def watched(model):
        jax.debug.callback(lambda w: seen.extend(np.ravel(w)), model.params)
        return model.params

    reduce = {"mean": bx.Mean(watched, length=1)}
    spent(gibbs, counter, bx.RandomWalk(), 40, 2, reduce=reduce)
    assert len(seen) == 4 * CHAINS
