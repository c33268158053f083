"""Responses to labels: against Gaussian processes, and against nets whose labels are moved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import channels as ch
from boltzax.cases import exponential_process

KEY = jax.random.key(0)


def outputs(x):
    return lambda model: jax.vmap(model)(x)


def test_gaussian_process():
    rng = np.random.default_rng(0)
    process = exponential_process(
        rng.uniform(0, 3, 8), rng.normal(size=8), length=1.0, noise_variance=0.5
    )
    places = np.array([0.5, 1.9])
    gibbs, energy, inputs = process.gibbs(places)
    trace = bx.sample(gibbs, key=KEY, chains=4, draws=1000)
    found = ch.label_response(trace, energy, outputs(inputs))
    assert found.shape == (2, 8)
    assert np.max(np.abs(np.asarray(found.z_score(process.response(places))))) < 4
    assert np.max(np.asarray(found.standard_error)) < 0.02
    own = ch.label_response(trace, energy, outputs(energy.terms()[0][1].measure.nodes()[0][0]))
    assert np.max(np.abs(np.asarray((own.value - own.value.T) / own.standard_error))) < 1e-6


@pytest.mark.slow
def test_errors_are_those_over_runs_of_different_keys():
    """All weights are integrated out: nothing but the key of the run tells runs apart."""
    rng = np.random.default_rng(1)
    process = exponential_process(
        rng.uniform(0, 3, 6), rng.normal(size=6), length=1.0, noise_variance=0.5
    )
    gibbs, energy, inputs = process.gibbs(np.array([1.0]))

    def response(seed):
        trace = bx.sample(gibbs, key=jax.random.key(seed), chains=2, draws=100)
        return ch.label_response(trace, energy, lambda model: model(inputs[0]))

    found = bx.Estimate.stack([response(seed) for seed in range(16)])
    assert np.array_equal(response(3).value, found[3].value)
    ratio = np.std(found.value, axis=0, ddof=1) / np.mean(found.standard_error, axis=0)
    assert 0.7 < np.sqrt(np.mean(ratio**2)) < 1.4


@pytest.mark.slow
def test_labels_of_several_outputs_and_their_temperature():
    """`y = W x`: the posterior is Gaussian, and its rows are independent."""
    x = np.random.default_rng(0).normal(size=(6, 2))
    model = bx.models.DeepLinear((2, 3))
    energy = bx.SquaredError(model, bx.Empirical((x, np.zeros((6, 3)))))
    gibbs = bx.compile(energy, bx.Normal(), beta=2.0)
    trace = bx.sample(gibbs, key=KEY, chains=4, draws=1000)
    found = ch.label_response(trace, energy, outputs(jnp.asarray(x[:1])))
    assert found.shape == (1, 3, 6, 3)
    exact = 2.0 * x[0] @ np.linalg.inv(np.eye(2) + 2.0 * x.T @ x) @ x.T
    for i in range(3):
        row = found[0, i]
        for j in range(3):
            truth = exact if i == j else 0 * exact
            assert np.max(np.abs(np.asarray(row[:, j].z_score(truth)))) < 4.5


@pytest.mark.slow
def test_bayesian_net_whose_label_is_moved():
    x = np.linspace(-1.5, 1.5, 10)[:, None]
    y, net = np.sin(2 * x[:, 0]), bx.models.TwoLayer(4, jnp.tanh, bias=True)

    def run(labels, key):
        energy = bx.SquaredError(net, bx.Empirical((x, labels))) / 0.3**2
        gibbs = bx.compile(energy, bx.Normal())
        many = {"chains": 8, "warmup": 1000, "draws": 2000, "thin": 4}
        return energy, bx.sample(gibbs, key=key, **many)

    def predictions(model):
        return jax.vmap(model)(jnp.asarray(x))

    energy, trace = run(y, jax.random.key(1))
    response = ch.label_response(trace, energy, predictions)[:, 5]
    step = 0.2  # the mean is smooth in the label: a central difference
    ends = [run(y + sign * step * (np.arange(10) == 5), jax.random.key(2))[1] for sign in (1, -1)]
    up, down = (end.mean(predictions) for end in ends)
    difference = (up - down) / (2 * step)
    assert np.max(np.abs(np.asarray(response.z_score(difference)))) < 4
    assert np.max(np.asarray(difference.standard_error)) < 0.1 < float(response.value[5])


@pytest.mark.parametrize(
    "energy",
    [
        bx.SquaredError(bx.models.DeepLinear((1, 1)), bx.GaussianMeasure(1), bx.zero),
        bx.CrossEntropy(
            bx.models.DeepLinear((1, 2)), bx.Empirical((np.ones((3, 1)), np.array([0, 1, 1])))
        ),
    ],
)
def test_wrong_energies(energy):
    trace = bx.sample(bx.compile(energy, bx.Normal()), bx.RandomWalk(), key=KEY, chains=2,
                      draws=8, warmup=8, throw=False)  # fmt: skip
    with pytest.raises(bx.DeclarationError) as caught:
        ch.label_response(trace, energy, outputs(jnp.ones((1, 1))))
    assert caught.value.argument == "energy"
