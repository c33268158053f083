"""Interacting neurons, and neurons that ride along."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import boltzax as bx
from boltzax import meanfield as mf
from boltzax.core import Status, working_bytes
from boltzax.meanfield._neurons import rider_drift


def product(x):
    return x[0] * x[1]


@pytest.fixture(scope="module")
def problem():
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=2, bias=True), bx.Normal())
    return mf.SelfConsistency(neuron, product, bx.GaussianMeasure(2, order=5), 0.1)


def run(problem, **changes):
    settings = {"steps": 20, "batch": 32, "riders": 4, "frames": 2} | changes
    return mf.train(problem, 8, key=jax.random.key(0), **settings)


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(bool(jnp.all(x == y)) for x, y in pairs)


@pytest.mark.slow
def test_a_resumed_run_is_the_same_to_the_last_bit(problem):
    whole = run(problem)
    half = run(problem, steps=10, frames=1)
    rest = run(problem, steps=10, frames=1, resume=half)
    assert same(whole.state, rest.state)
    assert same(whole.loss[10:], rest.loss)


@pytest.mark.slow
def test_the_net_as_an_ensemble(problem):
    """The mean over neurons is the output of the net; its error is that of independent neurons."""
    made = run(problem)
    net, x = made.ensemble, jnp.array([0.3, -0.2])
    assert net.axes == ("frame", "neuron") and net.shape == (2, 8)
    mean = net[-1].mean(lambda neuron: neuron(x))
    np.testing.assert_allclose(mean.value, problem.output(made.net, x), rtol=1e-12)
    each = jnp.stack([problem.model(jax.tree.map(lambda a, i=i: a[i], made.net))(x)
                      for i in range(8)])  # fmt: skip
    np.testing.assert_allclose(mean.standard_error, jnp.std(each, ddof=1) / 8**0.5, rtol=1e-10)
    both = net.mean(lambda neuron: neuron(x))
    assert both.shape == (2,) and float(both.value[-1]) == pytest.approx(float(mean.value))
    alone = mf.replay(run(problem, history=True), 4, key=jax.random.key(0), frames=2)
    assert same(alone.ensemble.w, alone.rider_frames)
    deep = mf.Layered(problem.neuron, product, problem.measure, 0.1, hidden=(3,))
    with pytest.raises(bx.DeclarationError, match="SelfConsistency"):
        _ = mf.train(deep, 4, key=jax.random.key(0), steps=1, batch=4).ensemble


@pytest.mark.slow
def test_riders_never_act_on_the_net(problem):
    whole = run(problem)
    alone = run(problem, riders=0)
    assert same(whole.net, alone.net) and same(whole.loss, alone.loss)
    assert alone.riders is None
    later = mf.ride_along(alone, 3, key=jax.random.key(1), steps=20)
    assert same(later.net, mf.train(problem, 8, key=jax.random.key(0), steps=20, batch=32,
                                    frames=1, resume=alone).net)  # fmt: skip


@pytest.mark.slow
def test_a_rider_that_starts_as_a_neuron_stays_that_neuron(problem):
    """Without noise a rider's force is its twin's in the net: the couplings agree."""
    start = run(problem, steps=1, frames=1, dynamics=mf.Descent(optax.sgd(0.1)), riders=8)
    weights = start.state.weights | {"riders": start.net}
    state = start.state._replace(weights=weights)
    twin = mf.Training(**{**_fields(start), "state": state})
    after = run(problem, dynamics=mf.Descent(optax.sgd(0.1)), riders=8, resume=twin)
    for a, b in zip(jax.tree.leaves(after.net), jax.tree.leaves(after.riders), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    assert not same(after.net, start.net)


def _fields(training):
    return {name: getattr(training, name) for name in training.__dataclass_fields__}


def test_one_step_of_descent_by_hand(problem):
    """`θ += lr ⟨y - f, ∂h⟩` on all nodes, for the neurons of a net, and the loss before it."""

    def step(rate):
        descent = mf.Descent(optax.sgd(rate))
        return run(problem, steps=1, frames=1, batch=None, riders=0, dynamics=descent)

    before, after = step(1e-300), step(0.5)
    net = before.net
    x, y, w = problem.inputs(), problem.targets(), problem.measure.nodes()[1]
    drive = x @ net["embedding"].T + net["bias"]
    r = y - jnp.mean(net["readout"] * jnp.tanh(drive), axis=1)
    move = (w * r) @ jnp.tanh(drive)
    np.testing.assert_allclose(after.net["readout"], net["readout"] + 0.5 * move, atol=1e-12)
    slope = (w * r)[:, None] * net["readout"] / jnp.cosh(drive) ** 2
    moved = net["embedding"] + 0.5 * slope.T @ x
    np.testing.assert_allclose(after.net["embedding"], moved, atol=1e-12)
    np.testing.assert_allclose(after.loss[0], 0.5 * jnp.sum(w * r**2), rtol=1e-12)


@pytest.mark.slow
def test_langevin_has_the_law_of_the_gibbs_measure():
    """A linear neuron with fixed drive is Gaussian: variance and mean in closed form.

    `f = (1/N) Σ a_i x`, `x = ±1`, `y = x`: the sum `s = Σ a_i/N` has the precision
    `N + N/T`, about `1/(1 + T)`. 4 standard errors of 4,000 correlated steps; false alarms 6e-5.
    """
    neuron = mf.Neuron(bx.models.Function(_scale, jnp.zeros(())), bx.Normal())
    data = bx.Empirical(jnp.array([[1.0], [-1.0]])).normalized()
    problem = mf.SelfConsistency(neuron, lambda x: x[0], data, 0.5)
    done = mf.train(problem, 4, key=jax.random.key(3), steps=8000, frames=8000, batch=None,
                    dynamics=mf.Langevin(dt=0.1))  # fmt: skip
    (weights,) = jax.tree.leaves(done.net_frames)
    s = jnp.mean(weights[500:], axis=1)[None]
    mean = bx.mean_estimate(s)
    square = bx.mean_estimate((s - 1 / 1.5) ** 2)
    assert abs(mean.z_score(1 / 1.5)) < 4
    # BAOAB keeps a Gaussian's variance to O(dt²)
    assert abs(square.value - 1 / (4 + 4 / 0.5)) < 4 * square.standard_error + 1e-3


def _scale(a, x):
    return a * x[0]


def test_the_history_is_what_the_neurons_saw(problem):
    done = run(problem, history=True)
    np.testing.assert_allclose(0.5 * jnp.mean(done.history.residual**2, axis=1), done.loss)


def test_a_training_is_a_run_like_any_other(problem, tmp_path):
    """Saved and streamed; gone on with from its checkpoint, it is what it was."""
    whole = run(problem)
    checkpoints = bx.Checkpoints(tmp_path / "c", every=1)
    saved = {"checkpoints": checkpoints, "sink": bx.ZarrSink(tmp_path / "s")}
    for _ in range(2):
        kept = run(problem, **saved)
        assert same(kept.state, whole.state) and same(kept.loss, whole.loss)
        assert kept.net_frames is None and kept.rider_frames is None
    assert len(list((tmp_path / "c" / "records").iterdir())) == 20
    stored = bx.open_zarr(tmp_path / "s")
    for path, frames in whole.net_frames.items():
        assert np.array_equal(stored[f"net.{path}"][9::10], frames)
    with pytest.raises(bx.DeclarationError, match="history"):
        run(problem, history=True, **saved)


def test_riders_within_little_memory(problem):
    """Some kilobytes at once instead of all riders together."""
    options = {"steps": 1, "frames": 1, "riders": 40, "batch": None}
    many, few = run(problem, **options), run(problem, **options, memory=10_000)
    for a, b in zip(jax.tree.leaves(many.riders), jax.tree.leaves(few.riders), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)

    def bytes_at_once(memory):
        net, riders = many.net, many.riders
        data = problem.inputs(), problem.measure.nodes()[1]
        residual = jnp.ones(len(data[1]))
        return working_bytes(
            lambda riders: rider_drift(problem, net, riders, residual, *data, memory), riders
        )[0]

    assert bytes_at_once(10_000) < 0.5 * bytes_at_once(2**30)


def test_failures_say_so(problem):
    wild = mf.Descent(optax.sgd(1e200))
    with pytest.raises(bx.RunError, match="non-finite"):
        run(problem, dynamics=wild)
    assert run(problem, dynamics=wild, throw=False).status == Status.non_finite
    for changes, name in [
        ({"steps": 0}, "steps"),
        ({"frames": 3}, "frames"),
        ({"batch": 0}, "batch"),
    ]:
        with pytest.raises(bx.DeclarationError, match=name):
            run(problem, **changes)
