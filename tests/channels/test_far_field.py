"""The averaged far field: against linear algebra, and its exact first order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import channels as ch
from boltzax.cases import exponential_process
from boltzax.channels._far_field import _extrapolation

KEY = jax.random.key(0)
CENTRE, RADII = 3.0, np.array([0.5, 1.0, 2.0])


@pytest.fixture(scope="module")
def process():
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 6, 24))
    return exponential_process(
        x, np.sin(2 * x) + 0.3 * rng.normal(size=24), length=1.0, noise_variance=0.2
    )


def from_centre(datum):
    return jnp.abs(datum[0][0] - CENTRE)


def run(process, background, orders, **changes):
    _, energy, inputs = process.gibbs(np.array([CENTRE]))
    given = {"key": KEY, "distance": from_centre, "chains": 4, "draws": 250} | changes
    return ch.far_field(
        energy, bx.Normal(), np.asarray(inputs[0]), RADII, background=background, orders=orders,
        **given,
    )  # fmt: skip


def at_coupling(process, radius, h):
    """The prediction with far data of noise `s²/h`."""
    x, y = process.x, process.y
    share = np.where(np.abs(x - CENTRE) <= radius, 1.0, h)
    keep = share > 0
    x, y, noise = x[keep], y[keep], process.noise_variance / share[keep]
    inner = np.exp(-np.abs(x[:, None] - x)) + np.diag(noise)
    return np.exp(-np.abs(CENTRE - x)) @ np.linalg.solve(inner, y)


def test_average_is_exact_at_first_order(process):
    found = run(process, "average", 1)
    error = np.asarray(found.error.value)
    np.testing.assert_allclose(error[:, 0], process.screened(CENTRE, RADII, "average"), atol=1e-12)
    assert np.max(np.abs(error[:, 1])) < 1e-12 < 1e-6 < np.max(np.abs(error[:, 0]))
    assert found.error.axis == "radius" and "orders 0 to 1" in repr(found)


def test_orders_of_dropped_data(process):
    found = run(process, "drop", 2)
    mean = process.mean(np.array([CENTRE]))[0]
    for i, radius in enumerate(RADII):
        zero, one, two = (at_coupling(process, radius, h) for h in (0, 1 / 3, 2 / 3))
        # straight on from the first two, and a parabola through all
        exact = np.array([zero, zero + 3 * (one - zero), zero - 3 * one + 3 * two])
        assert np.max(np.abs(np.asarray(found.error[i].z_score(exact - mean)))) < 4
        assert np.max(np.abs(np.asarray(found.prediction[i].z_score(exact)))) < 4
    assert abs(float(found.full.z_score(mean))) < 4


def test_a_prediction_of_one_entry_is_a_number(process):
    _, _, inputs = process.gibbs(np.array([CENTRE]))
    few = {"draws": 8, "warmup": 20, "throw": False}
    plain = run(process, "average", 1, **few)
    boxed = run(process, "average", 1, prediction=lambda model: model(inputs[0])[None, None], **few)
    assert boxed.prediction.shape == (3, 2) and boxed.full.shape == ()
    np.testing.assert_allclose(boxed.prediction.value, plain.prediction.value, rtol=1e-12)
    np.testing.assert_allclose(boxed.error.standard_error, plain.error.standard_error, rtol=1e-9)


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_order_k_is_exact_for_polynomials_of_degree_k(nodes):
    h = np.arange(nodes) / nodes
    for order in range(nodes):
        weights = np.array(_extrapolation(order, nodes))
        assert np.all(weights[order + 1 :] == 0)
        for degree in range(order + 1):
            assert weights @ (h - 0.3) ** degree == pytest.approx(0.7**degree)


def test_wrong_arguments(process):
    with pytest.raises(bx.DeclarationError, match="one number for each model"):
        run(process, "average", 1, prediction=lambda model: model.params)
    with pytest.raises(bx.DeclarationError, match="background"):
        run(process, "resample", 1)
