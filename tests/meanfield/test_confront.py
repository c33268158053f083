"""Replay, static foregrounds, mixing, and the four parts of a confrontation.

Planted mutants, each killed by the test that it is named with: data of the wrong step, noise of the
wrong key (replay), a history that starts at 0 after a resumed run (its data), the drift without the
temperature or weights (static), `C/M` for `C/M + C/N`, a covariance not centred, one-sided losses
(noise of functions), a cloud test alone (false positive), memory without signs, hops per frame
(mixing), NaN that passes (failures).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

import boltzax as bx
from boltzax import meanfield as mf
from boltzax.core import DeclarationError, RunError
from boltzax.meanfield._confront import confront
from boltzax.meanfield._function_gap import gap_of
from boltzax.meanfield._mixing import mixing, tempered
from boltzax.meanfield._neurons import Replayed
from boltzax.meanfield._replay import foreground, replay, time_average
from boltzax.meanfield._self_consistency import points_of
from boltzax.report.plot import clouds

KEY = jax.random.key(0)


def product(x):
    return x[0] * x[1]


@pytest.fixture(scope="module")
def problem():
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=2, bias=True), bx.Normal())
    return mf.SelfConsistency(neuron, product, bx.GaussianMeasure(2, order=5), 0.05)


@pytest.fixture(scope="module")
def linear():
    """`h = w·x`: in a field `g` the weights are `N(⟨g, x⟩, 1)`."""
    model = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.zeros(2))
    neuron = mf.Neuron(model, bx.Normal())
    return mf.SelfConsistency(
        neuron, lambda x: x[0] - 0.5 * x[1], bx.GaussianMeasure(2, order=4), 0.5
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "dynamics", [mf.Langevin(), pytest.param(mf.Descent(optax.adam(0.02)), marks=pytest.mark.slow)]
)
def test_replay_with_the_key_of_the_training_is_its_riders(problem, dynamics):
    kept = mf.train(
        problem, 12, key=KEY, steps=20, batch=16, riders=6, history=True, dynamics=dynamics
    )
    again = replay(kept, 6, key=KEY, frames=2)
    for a, b in zip(jax.tree.leaves(kept.riders), jax.tree.leaves(again.riders), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
    for a, b in zip(
        jax.tree.leaves(again.rider_frames), jax.tree.leaves(again.riders), strict=True
    ):
        assert a.shape[0] == 2 and np.array_equal(a[-1], b)
    assert "6 neurons, 20 steps" in repr(again)


@pytest.mark.slow
def test_a_history_after_a_resumed_run_meets_its_own_data(problem):
    """Gradient descent takes its residual where the net is: `y - f` on the data of step 5."""
    descent = mf.Descent(optax.sgd(0.1))
    half = mf.train(problem, 12, key=KEY, steps=5, batch=16, dynamics=descent)
    rest = mf.train(problem, 12, key=KEY, steps=5, batch=16, resume=half, history=True,
                    dynamics=descent)  # fmt: skip
    assert rest.history is not None
    seen = Replayed(rest.history, jnp.asarray(5)).at(problem, jnp.asarray(5))
    f = jax.vmap(lambda x: problem.output(half.net, x))(seen.x)
    np.testing.assert_allclose(seen.residual, jax.vmap(product)(seen.x) - f, atol=1e-12)


@pytest.mark.parametrize("batch", [None, pytest.param(64, marks=pytest.mark.slow)])
def test_a_static_background_makes_the_law_of_its_field(linear, batch):
    """With `f = x_0/4` the field is `(y - f)/T`: `w ~ N((3/2, -1), 1)`; means and variances of 800
    neurons. |z| < 4.5 fails by chance in 1 of 1e5 a number; fresh batches add noise to the field of
    all, of standard deviation about 0.02, and 1% to the variance."""
    background = mf.Background.from_net(lambda x: 0.25 * x[0], linear)
    found = foreground(linear, background, 800, key=KEY, steps=200, batch=batch,
                       dynamics=mf.Langevin(dt=0.05))  # fmt: skip
    w = found.riders["params"]
    np.testing.assert_allclose(np.mean(w, 0), [1.5, -1.0], atol=4.5 / 800**0.5 + 0.04 * bool(batch))
    np.testing.assert_allclose(np.var(w, 0), 1.0, atol=4.5 * (2 / 800) ** 0.5 + 0.02 * bool(batch))


def test_time_average_is_the_mean_of_f(problem):
    kept = mf.train(problem, 12, key=KEY, steps=6, batch=None, frames=3)
    nets = [jax.tree.map(lambda leaf, i=i: leaf[i], kept.net_frames) for i in range(3)]
    each = [mf.Background.from_ensemble(net, problem).values for net in nets]
    np.testing.assert_allclose(time_average(kept).values, np.mean(each, axis=0), atol=1e-12)


@pytest.mark.slow
def test_the_noise_of_functions_is_that_of_samples(linear):
    """p-values of 200 pairs of samples are uniform: KS at 1e-3, a false alarm in 1 of 1000 each.
    Against a fixed function of losses too."""
    weights = jnp.array([0.7, -0.2])
    exact = jax.vmap(lambda x: jnp.dot(weights, x))(linear.inputs())

    def one(key):
        a, b, c = jax.random.split(key, 3)
        riders = {"params": weights + jax.random.normal(a, (20, 2))}
        net = {"params": weights + 0.7 * jax.random.normal(b, (10, 2))}
        two = gap_of(linear, riders, net, None, c, 199)
        fixed = gap_of(linear, riders, None, exact, c, 199)
        return (
            jnp.stack([two.p_value, fixed.p_value, fixed.loss_p_value]),
            two.distance**2 / two.predicted**2,
            (fixed.ratio - 1) / (fixed.predicted_ratio - 1),
        )

    p, ratio, excess = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 200))
    p = p - jax.random.uniform(KEY, p.shape) / 200
    for values in p.T:
        assert scipy.stats.kstest(values, "uniform").pvalue > 1e-3
    for values in (ratio, excess):
        assert abs(np.mean(values) - 1) < 4.5 * np.std(values) / 200**0.5


def lazy(count):
    """Neurons of size 8 hardly move while the net fits: gradient descent on all nodes."""
    model = bx.models.Function(
        lambda w, x: 8.0 * w[0] * jnp.tanh(jnp.dot(w[1:3], x) + w[3]), jnp.zeros(4)
    )
    problem = mf.SelfConsistency(
        mf.Neuron(model, bx.Normal()), lambda x: x[0], bx.GaussianMeasure(2, order=5), 1.0
    )
    descent = mf.Descent(optax.sgd(1 / 64))
    return mf.train(problem, count, key=KEY, steps=60, batch=None, dynamics=descent, history=True)


@pytest.fixture(scope="module")
def lazy_net():
    return lazy(600)


@pytest.mark.slow
def test_a_cloud_alone_is_fooled_by_a_lazy_net(lazy_net):
    """Neurons in its last residual stay at the prior: the same cloud, and another function. In
    the history of its residual they are the net's own."""
    problem = lazy_net.problem
    last = mf.Background.from_ensemble(lazy_net.net, problem)
    static = foreground(
        problem, last, 600, key=jax.random.key(1), steps=60, dynamics=lazy_net.dynamics
    )
    fooled = confront(lazy_net, static, key=KEY)
    assert float(fooled.energy.p_value) > 0.05 and float(fooled.kernel.p_value) > 0.05
    assert float(fooled.gap.distance) > 0.9 * float(fooled.gap.size)
    assert "function" in fooled.failures and "cloud" not in fooled.failures
    assert not fooled.consistent and "FAIL function" in repr(fooled)
    right = confront(lazy_net, replay(lazy_net, 600, key=jax.random.key(2)), key=KEY)
    # neurons of size 8: of 600 a difference is seen from 1.06 on, and the function has the size .98
    assert not right.failures and set(right.undecided) == {"function"}, right
    wide = lazy(1800)
    right = confront(wide, replay(wide, 1800, key=jax.random.key(2)), key=KEY)
    assert right.consistent, right
    assert "consistent (level" in repr(right)


@pytest.mark.slow
def test_riders_agree_and_neurons_in_the_lazy_background_do_not():
    """By chance an agreement fails in 1 of 200."""
    neuron = mf.Neuron(mf.Unit(lambda x: jnp.clip(x, -1, 1), dim=2, bias=True), bx.Normal())
    problem = mf.SelfConsistency(neuron, product, bx.GaussianMeasure(2, order=8), 0.02)
    kept = mf.train(problem, 600, key=KEY, steps=1600, batch=64, riders=600, frames=4)
    agreement = confront(kept, key=KEY)
    assert agreement.consistent, agreement
    wrong = foreground(
        problem, mf.Background.lazy(problem, order=512), 600, key=KEY, steps=1600, frames=4
    )
    assert {"cloud", "function"} <= set(confront(kept, wrong, key=KEY).failures)
    # bare coordinates: nothing is known of mixing, unless a law is given to compare with
    bare = confront(kept, kept.riders, key=KEY)
    assert "not known" in bare.undecided["mixing"] and not bare.consistent
    assert confront(kept, kept.riders, key=KEY, law=kept.net).consistent
    assert "mixing" in confront(kept, kept.riders, key=KEY, law=wrong.riders).failures


def autoregressive(rho: float, frames: int = 6, neurons: int = 2000):
    def step(x, key):
        new = rho * x + (1 - rho**2) ** 0.5 * jax.random.normal(key, x.shape)
        return new, new

    keys = jax.random.split(jax.random.key(2), frames)
    return {"w": jax.lax.scan(step, jax.random.normal(KEY, (neurons,)), keys)[1]}


def test_mixing_of_an_autoregressive_sequence():
    """Signs change in a share `arccos(ρ)/π` of steps; the memory of `k` frames is `ρ^k`. |z| < 4.5
    fails by chance in 1 of 1e5 a number."""
    rho, interval = 0.8, 2.0
    found = mixing(autoregressive(rho), interval)
    assert abs(found.hop_rate.z_score(np.arccos(rho) / np.pi / interval)) < 4.5
    assert abs(float(found.memory) - rho**5) < 4.5 / 2000**0.5
    exact = interval * (0.5 + sum(rho**k for k in range(1, 6)))
    assert abs(float(found.autocorrelation_time) / exact - 1) < 0.1
    assert not found.forgotten and float(found.span) == 10.0
    assert mixing(autoregressive(0.5), interval).forgotten


@pytest.mark.slow
def test_frozen_lobes_are_remembered():
    """Signs that stay, with sizes that do not."""
    signs = jnp.sign(jax.random.normal(KEY, (500,)))
    sizes = jnp.abs(0.3 * jax.random.normal(jax.random.key(1), (4, 500)) + 2.0)
    found = mixing({"w": signs * sizes}, 1.0)
    assert float(found.memory) > 0.99 and float(found.hop_rate.value) == 0.0
    assert not found.forgotten


@pytest.mark.slow
def test_tempered_draws_have_the_law(linear):
    """`w ~ N(m, 1)`; means within 4.5 standard errors of a fifth as many independent draws."""
    background = mf.Background.from_net(lambda x: 0.25 * x[0], linear)
    w = tempered(mf.probe(linear, background), 2000, key=KEY)["params"]
    np.testing.assert_allclose(np.mean(w, 0), [1.5, -1.0], atol=4.5 / 400**0.5)
    np.testing.assert_allclose(np.var(w, 0), 1.0, atol=4.5 * (2 / 400) ** 0.5)


@pytest.mark.slow
def test_the_fixed_point_is_its_own_background_and_the_lazy_one_is_not():
    """A lazy background makes neurons of its own law, always; but they do not add up to it."""
    neuron = mf.Neuron(mf.Unit(lambda x: jnp.clip(x, -1, 1), dim=2, bias=True), bx.Normal())
    problem = mf.SelfConsistency(neuron, product, bx.GaussianMeasure(2, order=8), 0.03)
    solved, lazy = mf.solve(problem), mf.Background.lazy(problem)
    right = foreground(problem, solved.background, 256, key=KEY, steps=3200, frames=4)
    assert confront(solved, right, key=KEY).consistent
    wrong = foreground(problem, lazy, 256, key=KEY, steps=3200, frames=4)
    found = confront(mf.probe(problem, lazy), wrong, key=KEY, law=solved)
    assert "function" in found.failures and "cloud" not in found.failures
    # with the law that neurons should have
    assert found.law is not None and float(found.law.p_value) < 0.002


@pytest.mark.slow
def test_failures_name_each_part(lazy_net):
    good = confront(lazy_net, lazy_net.net, key=KEY, permutations=999)
    assert set(good.failures) <= {"loss", "function"}  # equal clouds: no distance at all
    broken = {
        "cloud": lambda a: a.kernel.p_value,
        "function": lambda a: a.gap.p_value,
        "loss": lambda a: a.gap.loss_p_value,
    }
    for part, where in broken.items():
        for value in (0.001, jnp.nan):
            changed = eqx.tree_at(where, good, jnp.asarray(value))
            assert part in changed.failures and not changed.consistent


@pytest.mark.slow
def test_wrong_arguments(problem, lazy_net):
    few = mf.train(problem, 4, key=KEY, steps=2, batch=4)
    with pytest.raises(DeclarationError, match="history"):
        replay(few, 3, key=KEY)
    with pytest.raises(DeclarationError, match="riders"):
        confront(few, key=KEY)
    with pytest.raises(DeclarationError, match="permutations=99999"):
        confront(few, few.net, key=KEY, level=1e-5)
    with pytest.raises(DeclarationError, match="coordinates"):
        confront(few, lazy_net.net, key=KEY)
    with pytest.raises(DeclarationError, match="divisor"):
        replay(lazy_net, 3, key=KEY, frames=7)
    with pytest.raises(DeclarationError, match="frames"):
        mixing(few.net_frames)
    at_nodes = mf.Background.from_array(problem.targets(), problem)
    with pytest.raises(DeclarationError, match="nodes"):
        foreground(problem, at_nodes, 3, key=KEY, batch=4)
    with pytest.raises(RunError, match="non-finite"):
        foreground(problem, at_nodes, 3, key=KEY, steps=2, dynamics=mf.Descent(optax.sgd(jnp.nan)))


@pytest.mark.slow
def test_points_and_pictures_have_one_order(problem):
    neurons = problem.draw_net(KEY, 5)
    points = points_of(neurons)
    assert points.shape == (5, 4)
    ax = clouds(neurons, neurons, coordinates=("embedding[1]", "readout"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("embedding[1]", "readout")
    assert [c.get_label() for c in ax.collections] == ["background", "foreground"]
    plain = clouds(points, coordinates=(2, -1))
    for picture in (ax, plain):
        shown = np.asarray(picture.collections[0].get_offsets())
        np.testing.assert_allclose(shown[:, 0], neurons["embedding"][:, 1])
        np.testing.assert_allclose(shown[:, 1], neurons["readout"])
    with pytest.raises(DeclarationError, match="embedding"):
        clouds(neurons, coordinates=("embedding", 0))
