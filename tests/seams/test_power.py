"""A test that could not have seen a difference says so: agree, disagree, too few to tell."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import meanfield as mf
from boltzax.core import Outcome
from boltzax.observe._minimum import SIGNIFICANCE, _flipped, _seen
from boltzax.sample._anneal import _agreement

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def solved():
    """`h = w·x`: neurons are Gaussian, with the mean that the field gives."""
    model = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.zeros(2))
    problem = mf.SelfConsistency(
        mf.Neuron(model, bx.Normal()), lambda x: x[0], bx.GaussianMeasure(2, order=4), 0.05
    )
    return mf.solve(problem, order=1024, refinements=0, replicates=0, throw=False)


def neurons(count, shift, seed):
    mean = jnp.array([0.95, 0.0]) + shift
    return {"params": mean + jax.random.normal(jax.random.key(seed), (count, 2))}


@pytest.mark.slow
@pytest.mark.parametrize("shift", [0.0, -0.95])
def test_few_neurons_neither_agree_nor_are_believed(solved, shift):
    """The prior's neurons (shift -.95) and the right ones: at 12 no word, at 3,000 the truth."""
    few = mf.confront(solved, neurons(12, shift, 1), key=KEY, law=neurons(12, shift, 2))
    assert few.outcome != Outcome.agree and not few.consistent
    if not few.failures:
        assert {"cloud", "function"} <= set(few.undecided) and "too few to tell" in repr(few)
        assert "seen from" in repr(few)
    many = mf.confront(solved, neurons(3000, shift, 3), key=KEY, law=neurons(3000, shift, 4))
    assert many.outcome == (Outcome.agree if shift == 0 else Outcome.disagree), many


@pytest.mark.slow
@pytest.mark.parametrize("distance", [bx.energy_distance, bx.kernel_distance])
def test_a_detectable_distance_is_detected(distance):
    """Shifted Gaussians whose distance is the detectable one are seen in 95% of pairs."""
    count, level = 60, 0.02
    a, b, c = jax.random.split(KEY, 3)
    x, y = jax.random.normal(a, (200, count, 1)), jax.random.normal(b, (200, count, 1))
    shifts = jnp.linspace(0.0, 2.0, 9)
    large = jax.random.normal(c, (2000, 1))

    def p_value(x, y, key):
        return distance(x, y, key=key, permutations=99, level=level).p_value

    keys = jax.random.split(KEY, 200)
    typical = distance(x[0], y[0], key=KEY, permutations=99, level=level)
    between = [float(distance(large, large[::-1] + s, key=KEY, permutations=9, level=level).value)
               for s in shifts]  # fmt: skip
    shift = float(jnp.interp(typical.detectable, jnp.asarray(between), shifts))
    seen = jnp.mean(jax.jit(jax.vmap(p_value))(x, y + shift, keys) <= level)
    assert float(seen) > 0.85, (shift, float(seen))
    half = jnp.mean(jax.jit(jax.vmap(p_value))(x, y + shift / 3, keys) <= level)
    assert float(half) < 0.8  # and is not much larger than it must be


def test_too_few_permutations_see_nothing():
    x, y = jax.random.normal(KEY, (500, 1)), jax.random.normal(jax.random.key(1), (500, 1))
    found = bx.energy_distance(x, y, key=KEY, permutations=99)
    assert found.outcome == Outcome.too_few and jnp.isinf(found.detectable)
    assert bx.energy_distance(x, y, key=KEY).outcome == Outcome.agree
    assert bx.energy_distance(x, y + 1, key=KEY).outcome == Outcome.disagree


def test_few_neurons_do_not_forget():
    still = {"w": jnp.stack([jax.random.normal(k, (12,)) for k in jax.random.split(KEY, 3)])}
    found = mf.mixing(still)
    assert found.outcome == Outcome.too_few and not found.forgotten
    many = {"w": jnp.stack([jax.random.normal(k, (900,)) for k in jax.random.split(KEY, 3)])}
    assert mf.mixing(many).outcome == Outcome.agree


class Line(eqx.Module):
    """`w x`."""

    weight: jax.Array = eqx.field(default_factory=lambda: jnp.ones(()))

    def __call__(self, x):
        return self.weight * x


@pytest.fixture(scope="module")
def satisfactions():
    """Two factors from [0, 2] with a product in 1.1..2.2, and thresholds between them."""
    line = bx.Component(Line(), bx.Uniform(0.0, 2.0))
    first, last = bx.Interface.thresholds(1.0, 2.0), bx.Interface.thresholds(2.2, 2.2)
    pairs = [(low, low * ratio) for low in (1.0, 1.2, 1.4) for ratio in (1.0, 1.2, 1.4)]
    between = [bx.Interface.thresholds(*pair) for pair in pairs]
    chain = bx.Chain((line, line), (first, bx.Family.of(between), last), points=3)
    return bx.interfaces.expected_satisfaction(chain, key=KEY, draws=30_208)


def systems(seed, count, spoiled=0.0):
    """Exact draws; a share of them satisfies the specification and no interface."""
    key, other = jax.random.split(jax.random.key(seed))
    one, two = jax.random.uniform(key, (2, count), maxval=2.0)
    bad = jax.random.uniform(other, (count,)) < spoiled
    return Line(jnp.where(bad, 0.58, one)), Line(jnp.where(bad & (one * two > 1.1)
                & (one * two < 2.2), 1.95, jnp.where(bad, 0.0, two)))  # fmt: skip


def law(satisfactions, models):
    return bx.interfaces.satisfaction_law(
        models, satisfactions, key=KEY, allow_satisfied=True, least=1.0
    )


@pytest.mark.slow
def test_few_systems_do_not_obey_a_law(satisfactions):
    """At 150 (45 that solve) no word in favour, at 2,000 the truth either way."""
    few = law(satisfactions, systems(1, 150))
    assert few.outcome == Outcome.too_few and few.detectable > 0.5, few
    assert "too few to tell" in repr(few).lower() and "seen from" in repr(few)
    many = law(satisfactions, systems(2, 2000))
    assert many.outcome == Outcome.agree and many.detectable < 0.5, many
    assert law(satisfactions, systems(3, 2000, 0.5)).outcome == Outcome.disagree


@pytest.mark.slow
def test_a_detectable_deviation_from_the_law_is_seen(satisfactions):
    """Of eight ensembles whose shares are too small by it, at least six (.994 by chance)."""
    typical = law(satisfactions, systems(4, 2000))
    found = [law(satisfactions, systems(s, 2000, typical.detectable)) for s in range(10, 18)]
    assert sum(each.p_value < 0.01 for each in found) > 5, [e.p_value for e in found]
    below = [law(satisfactions, systems(s, 2000, typical.detectable / 4)) for s in range(30, 34)]
    assert sum(each.p_value < 0.01 for each in below) <= 3  # and is no larger than it must be


@pytest.mark.parametrize("dim", [1, 20])
def test_the_gradient_that_would_be_seen_is_seen(dim):
    """The noise of 32 blocks stands for all noise, so that the power is 0.89 to 0.96, not 0.95.

    0.85 is 2.5 standard errors of the 400 trials below the lowest, at fixed seeds. Of a gradient of
    0.4 times the size at most six in ten are seen: the claim is no bound that is far too large.
    """
    rng = np.random.default_rng(dim)
    signs = rng.choice([-1.0, 1.0], size=(500, 32))
    scale = np.exp(rng.normal(size=dim))
    hits = []
    for _ in range(20):
        gradients = scale * (rng.normal(size=(32, dim)) + 0.2)
        shift = _seen(gradients @ gradients.T, signs) * gradients.mean(axis=0)
        for factor in (1.0, 0.4):
            for _ in range(20):
                other = scale * rng.normal(size=(32, dim)) + factor * shift
                gram = other @ other.T
                above = _flipped(gram, signs) >= gram.sum() - np.trace(gram)
                hits.append((factor, (1 + above.sum()) / 501 <= SIGNIFICANCE))
    assert np.mean([hit for factor, hit in hits if factor == 1.0]) > 0.85
    assert np.mean([hit for factor, hit in hits if factor < 1.0]) < 0.6


@pytest.mark.slow
def test_a_gap_is_put_down_to_noise_only_where_a_fault_would_be_seen():
    """40 data, a model that is half trained: the test has no power, and the verdict says so."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 1))
    y = x + 6.0 * rng.normal(size=(40, 1))
    off = np.linalg.lstsq(x, y, rcond=None)[0] + 0.2
    model = bx.models.Function(lambda w, x: x @ w, jnp.asarray(off))
    energy = bx.SquaredError(model, bx.Empirical((x, y)))
    found = bx.local_learning_coefficient(
        energy, key=KEY, kernel=bx.RandomWalk(), max_gradients=40_000, localisation=0.1
    )
    evidence = found.evidence
    assert evidence.gap_chance > 0.01 and evidence.gap > 0.5 * abs(float(found.estimate.value))
    assert evidence.gap_seen > evidence.gap and found.verdict == bx.Verdict.few_data


def gamma_pass(count, rng, lag=1.0):
    """Exact draws of `π e^{-βE}` with `E ~ Gamma(2, rate 1 + β)`; energies of a lag are off."""
    betas = np.array([0.0, 1.0, 3.0, 9.0])
    energy = rng.gamma(2.0, 1 / (1 + betas[:, None, None]), size=(4, 4, count))
    energy[1:] *= lag
    step = np.diff(betas)[:, None, None]
    parts = {"energy": energy, "up": step * energy[:-1], "down": step * energy[1:]}
    return {name: jnp.asarray(part) for name, part in parts.items()}


@pytest.mark.parametrize(
    ("count", "lag", "status"),
    [
        (500, 1.0, bx.Status.successful),
        (500, 1.5, bx.Status.lagging),
        # alike, but two nats would not have been seen
        (4, 1.0, bx.Status.few_particles),
        (4, 1.1, bx.Status.few_particles),
    ],
)
def test_passes_of_few_particles_do_not_agree(count, lag, status):
    """False alarms: below 1e-3 for each of the eight comparisons, at 4 standard errors."""
    rng = np.random.default_rng(5)
    assert _agreement(gamma_pass(count, rng), gamma_pass(count, rng, lag)) == status
