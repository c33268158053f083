"""How many gradients a large net can afford, and minibatches where these are too few."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.observe._affordable import BATCH, FEWEST, MOST, PASSES, WORK, affordable, in_batches

RNG = np.random.default_rng(0)
WIDE = 1000


def energy(data: int, width: int = WIDE, batch: int | None = None) -> bx.SquaredError:
    """A quadratic loss of a matrix `[width, width]`: `2 width²` operations for its product."""
    model = bx.models.Function(lambda w, x: w @ x, jnp.zeros((width, width)))
    measure = bx.Empirical((np.ones((data, width)), np.zeros((data, width))))
    return bx.SquaredError(model, measure if batch is None else bx.Subsampled(measure, batch))


def test_the_work_is_that_of_the_matrix_product():
    """`WORK / (PASSES n 2 width²)`, less what the loss adds."""
    expected = WORK / (PASSES * 100 * 2 * WIDE**2)
    assert FEWEST < affordable(energy(100)) < MOST
    assert 0.98 * expected < affordable(energy(100)) <= expected


@pytest.mark.parametrize("factor", [2, 4])
def test_it_falls_with_the_data_and_with_the_weights(factor):
    base = affordable(energy(100))
    assert affordable(energy(100 * factor)) == pytest.approx(base / factor, rel=1e-3)
    wider = affordable(energy(100, 2 * WIDE))
    assert wider == pytest.approx(base / 4, rel=0.01)


def test_a_minibatch_counts_as_its_size():
    assert affordable(energy(300, batch=100)) == affordable(energy(100))


def test_terms_add_and_those_without_data_do_not_count():
    one = energy(200)
    two = 3.0 * one + energy(300)
    assert affordable(two) == pytest.approx(affordable(energy(500)), rel=1e-3)
    assert affordable(one + bx.Localisation(one.model, 1.0)) == affordable(one)


def test_a_small_net_may_take_most():
    assert affordable(energy(10, width=2)) == MOST


def test_batches_are_taken_of_more_data_than_one():
    few, many = energy(BATCH, 2), energy(BATCH + 1, 2)
    assert isinstance(in_batches(few).measure, bx.Empirical)
    assert in_batches(many).measure.batch_size == BATCH
    own = energy(3 * BATCH, 2, batch=5)
    assert in_batches(own).measure.batch_size == 5
    both = in_batches(2.0 * few + many)
    sizes = [
        t.measure.batch_size if isinstance(t.measure, bx.Subsampled) else t.measure.size
        for _, t in both.terms()
    ]
    assert sizes == [BATCH, BATCH]
    assert affordable(in_batches(energy(100 * BATCH))) == affordable(energy(BATCH))


def test_the_energy_of_batches_has_the_same_mean():
    x = RNG.normal(size=(3 * BATCH, 2))
    model = bx.models.Function(lambda w, x: w @ x, jnp.array([0.5, -1.0]))
    whole = bx.SquaredError(model, bx.Empirical((x, x[:, 0] + 1)))
    part = in_batches(whole)
    keys = jax.random.split(jax.random.key(1), 4000)
    values = jax.vmap(lambda key: part.estimate(model, key))(keys)
    mean = bx.Estimate.of_samples(values)
    assert mean.standard_error > 0
    assert abs(mean.z_score(whole.value(model))) < 4
