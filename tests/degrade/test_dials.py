"""Dials against models that are linear in their weights, where everything is known exactly."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.degrade import (
    AbstractDial,
    ActivationNoise,
    Pruning,
    Quantisation,
    Snapshots,
    Tempered,
    WeightNoise,
    along_dial,
    characteristic_temperature,
    clean_window,
    order_of_death,
    selectivity,
    survival,
    temperature_marks,
)
from boltzax.theory import linear_survival, linear_temperature

law = settings(derandomize=True, deadline=None, max_examples=25)
RNG = np.random.default_rng(3)
X = np.linalg.qr(RNG.normal(size=(12, 3)))[0] * np.array([6.0, 2.0, 0.7])
VALUES, VECTORS = np.linalg.eigh(X @ X.T)
VALUES = np.maximum(VALUES, 0)
Y = np.stack([VECTORS[:, -1], 0.8 * VECTORS[:, -2], VECTORS[:, -2] + VECTORS[:, -3]], axis=1)
Y = 3 * Y / np.linalg.norm(Y, axis=0)
TEMPERATURES = np.geomspace(0.1, 100, 13)
KEY = jax.random.key(0)
TRAINED = np.linalg.lstsq(X, Y, rcond=None)[0]


def line(w, x):
    return x @ w


def outputs(model):
    return jax.vmap(model)(jnp.asarray(X))


def overlaps(model):
    return jnp.sum(outputs(model) * Y, axis=0) / jnp.sum(Y**2, axis=0)


def weights(model):
    return model.params


@pytest.fixture(scope="module")
def gibbs():
    energy = bx.SquaredError(bx.models.Function(line, TRAINED), bx.Empirical((X, Y)))
    return bx.compile(energy, bx.Normal(), marginalise=False)


@pytest.fixture(scope="module")
def tempered(gibbs):
    dial = Tempered(bx.HMC(max_steps=32), chains=8, warmup=300, start="prior")
    key = jax.random.key(1)
    return along_dial(dial, TEMPERATURES, overlaps, gibbs=gibbs, key=key, count=1600)


def exact(head, temperatures=TEMPERATURES):
    return linear_survival(VALUES, (VECTORS.T @ Y[:, head]) ** 2, 1 / temperatures).survival


@pytest.fixture(scope="module")
def integrated():
    energy = bx.SquaredError(bx.models.Function(line, TRAINED), bx.Empirical((X, Y)))
    return bx.compile(energy, bx.Normal())


FALLING = bx.Curve(TEMPERATURES, bx.Estimate.exact(1 / (1 + TEMPERATURES / 2)), axis="temperature")


class Exactly(AbstractDial):
    """Independent draws of the Gaussian posterior at a temperature."""

    axes: ClassVar[tuple[str, ...]] = ("temperature",)
    clean: ClassVar[tuple[float, ...]] = (0.0,)
    random: ClassVar[bool] = True

    def upon(self, bases, settings, *, key, count):
        keys = jax.random.split(key, len(bases))
        rows = zip(bases, settings[:, 0], keys, strict=True)
        return tuple(bx.Ensemble.of(gibbs, posterior(t, k, count)) for gibbs, t, k in rows)


@eqx.filter_jit
def posterior(temperature, key, count):
    precision = jnp.eye(3) + X.T @ X / temperature
    mean = jnp.linalg.solve(precision, X.T @ Y / temperature)
    noise = jax.random.normal(key, (count, 3, 3))
    root = jnp.linalg.cholesky(jnp.linalg.inv(precision))
    return {"params": mean + jnp.einsum("ij,njk->nik", root, noise)}


def test_tempering_gives_the_exact_survival(tempered):
    for head in range(3):
        assert np.all(np.abs(tempered[:, head].z_score(exact(head))) < 4)
        truth = linear_temperature(VALUES, (VECTORS.T @ Y[:, head]) ** 2)
        found = characteristic_temperature(tempered[:, head])
        assert abs(float(found.z_score(truth))) < 4
        assert float(found.standard_error) < 0.2 * truth


def test_heating_equals_cooling(gibbs, tempered):
    dial = Tempered(bx.HMC(max_steps=32), chains=8, warmup=300, start="model")
    heated = along_dial(
        dial, TEMPERATURES, overlaps, gibbs=gibbs, key=jax.random.key(2), count=1600
    )
    apart = heated.minus(tempered)
    assert np.all(np.abs(apart.z_score(0.0)) < 4.5)


def test_tight_localisation_is_weight_noise(gibbs):
    """At γ far above the curvature of E/T the posterior is `N(w*, 1/γ)`."""
    strength = 1e4
    dial = Tempered(bx.HMC(), localisation=strength, chains=8, warmup=300)
    noise = WeightNoise(relative=False)
    there = dial.ensemble(gibbs, 50.0, key=jax.random.key(1), count=4000)
    here = noise.ensemble(gibbs, strength**-0.5, key=jax.random.key(2), count=4000)

    def squares(model):
        return (model.params - TRAINED) ** 2

    apart = there.mean(squares) - here.mean(squares)
    assert np.all(np.abs(apart.z_score(0.0)) < 4)
    assert np.allclose(here.mean(squares).value, 1 / strength, rtol=0.15)


@pytest.mark.slow
def test_error_bars_of_places_and_selectivities_are_right(gibbs):
    """z-scores of 60 independent runs have variance 1."""
    truth = [linear_temperature(VALUES, (VECTORS.T @ Y[:, head]) ** 2) for head in (1, 2)]
    grid = np.geomspace(0.3, 12, 15)
    scores = []
    for seed in range(60):
        key = jax.random.key(seed)
        curves = along_dial(Exactly(), grid, overlaps, gibbs=gibbs, key=key, count=150)
        found = [characteristic_temperature(curves[:, head]) for head in (1, 2)]
        matched = selectivity(curves[:, 1], curves[:, 2], at=0.6)
        place = linear_temperature(VALUES, (VECTORS.T @ Y[:, 1]) ** 2, 0.6)
        lost = linear_survival(VALUES, (VECTORS.T @ Y[:, 2]) ** 2, 1 / place).survival
        z = [float(f.z_score(t)) for f, t in zip(found, truth, strict=True)]
        scores.append([*z, float(matched.z_score(lost))])
    spread = np.sqrt(np.mean(np.square(scores), axis=0))
    assert np.all((spread > 0.72) & (spread < 1.28)), spread


def test_interpolation_is_in_the_error(gibbs):
    """Exact values on a coarse grid: the error is that of interpolation, and not 0."""
    values = linear_survival([2.0], [1.0], 1 / np.geomspace(0.1, 50, 7)).survival
    curve = bx.Curve(np.geomspace(0.1, 50, 7), bx.Estimate.exact(values), axis="temperature")
    found = characteristic_temperature(curve)
    assert 0 < abs(float(found.value) - 2.0) < 3 * float(found.standard_error) < 1.0


def test_exact_curves_cross_where_their_lines_do():
    """The ends of the interval of an exact crossing are equal up to rounding, in either order."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, y = np.sort(rng.uniform(0.1, 5, 6)), rng.uniform(0, 1, 6).astype(np.float32)
        zero, one = jnp.zeros(6, jnp.float32), jnp.ones(6, jnp.float32)
        curve = bx.Curve(x, bx.Estimate(jnp.asarray(y), zero, one, one), axis="step")
        for found in curve.crossings(0.7):
            assert np.isclose(np.interp(float(found.value), x, y), 0.7, atol=1e-5)
            assert float(found.lower) <= float(found.upper)


@law
@given(st.floats(0, 1), st.booleans(), st.integers(0, 99))
def test_pruning_keeps_the_largest(share, each, seed):
    w = jax.random.normal(jax.random.key(seed), (5, 4))
    dial = Pruning(each=each)
    pruned = np.asarray(dial.changed({"a": w, "b": 3 * w}, jnp.asarray(share), KEY)["a"])
    kept = pruned != 0
    assert np.all(pruned[kept] == np.asarray(w)[kept])
    size = np.abs(np.asarray(w))
    assert not kept.any() or kept.all() or size[kept].min() >= size[~kept].max()
    if each:
        assert np.sum(~kept) == round(share * 20)
    both = dial.changed({"a": w, "b": 3 * w}, jnp.asarray(share), KEY)
    assert sum(int(jnp.sum(leaf == 0)) for leaf in both.values()) == (
        2 * round(share * 20) if each else round(share * 40)
    )


@law
@given(st.integers(1, 12), st.integers(0, 99))
def test_quantisation_has_so_many_values_and_moves_by_half_a_step(bits, seed):
    w = jax.random.normal(jax.random.key(seed), (40,))
    rounded = np.asarray(Quantisation().changed({"w": w}, jnp.asarray(float(bits)), KEY)["w"])
    most = float(jnp.max(jnp.abs(w)))
    step = 2 * most / (2**bits - 1)
    assert np.all(np.abs(rounded - w) <= 0.5 * step * (1 + 1e-9))
    places = (rounded + most) / step
    assert np.allclose(places, np.round(places), atol=1e-6)
    assert len(np.unique(np.round(places))) <= 2**bits
    again = Quantisation().changed({"w": jnp.asarray(rounded)}, jnp.asarray(float(bits)), KEY)
    assert np.allclose(again["w"], rounded, atol=1e-9)


@law
@given(st.floats(0.01, 2), st.booleans())
def test_weight_noise_has_its_size_and_the_same_directions_at_all_settings(setting, relative):
    w = {"a": jnp.asarray(RNG.normal(size=4000)), "b": 1e-3 * jnp.ones(2)}
    dial = WeightNoise(relative=relative)
    one, two = (dial.changed(w, jnp.asarray(s * setting), jax.random.key(0)) for s in (1, 2))
    size = float(jnp.sqrt(jnp.mean(w["a"] ** 2))) if relative else 1.0
    assert np.allclose(two["a"] - w["a"], 2 * (one["a"] - w["a"]), atol=1e-12)
    assert abs(float(jnp.std(one["a"] - w["a"])) / (setting * size) - 1) < 0.06
    if relative:
        assert np.all(np.abs(one["b"] - w["b"]) < 6e-3 * setting)


def test_clean_settings_give_the_model_itself(gibbs):
    for dial in (WeightNoise(), Pruning(), Snapshots([gibbs.declared], [3.0])):
        models = dial.ensemble(gibbs, dial.clean, key=jax.random.key(0), count=3)
        assert np.allclose(models.map(weights), TRAINED)
    models = Quantisation().ensemble(gibbs, 24.0, key=jax.random.key(0))
    assert np.allclose(models.map(weights), TRAINED, rtol=1e-5, atol=1e-5)


class Named(eqx.Module):
    """A line whose inputs and outputs are named places."""

    w: jax.Array

    def __call__(self, x):
        return bx.tap(bx.tap(x, "inside") @ self.w, "out")


@pytest.fixture(scope="module")
def named():
    energy = bx.SquaredError(Named(jnp.asarray(TRAINED)), bx.Empirical((X, Y)))
    return bx.compile(energy, bx.Normal(), marginalise=False)


def test_activation_noise_has_its_law(named):
    """`out + s ξ`, independent between data, models and heads, and the same when asked again."""
    ensemble = ActivationNoise("out", relative=False).ensemble(
        named, 0.3, key=jax.random.key(0), count=600
    )
    noise = np.asarray(ensemble.map(outputs)) - X @ TRAINED
    assert np.array_equal(noise, np.asarray(ensemble.map(outputs)) - X @ TRAINED)
    assert np.array_equal(noise[5:7], np.asarray(ensemble[5:7].map(outputs)) - X @ TRAINED)
    flat = noise.reshape(600, -1)
    assert abs(flat.std() / 0.3 - 1) < 0.03 and abs(flat.mean()) < 0.01
    correlation = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    assert np.max(np.abs(correlation)) < 5 / np.sqrt(600)
    assert np.max(np.abs(np.corrcoef(flat)[np.triu_indices(600, 1)])) < 6 / np.sqrt(36)


def signs(w, x):
    return bx.tap(jnp.sign(x @ w), "sign")


def test_noise_is_independent_between_data_that_give_equal_values():
    """The mean over 200 data of noise of size 1 has variance 1/200, also where values are signs."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(200, 3)))
    model = bx.models.Function(signs, jnp.asarray(TRAINED[:, 0]))
    gibbs = bx.compile(bx.SquaredError(model, bx.Empirical((x, x[:, 0]))), bx.Normal())
    ensemble = ActivationNoise("sign", relative=False).ensemble(
        gibbs, 1.0, key=jax.random.key(0), count=400
    )
    means = np.asarray(ensemble.map(lambda m: jnp.mean(jax.vmap(m)(x))))
    assert abs(means.std() * np.sqrt(200) - 1) < 5 / np.sqrt(2 * 400)
    first, again = ensemble.map(lambda m: (m(x[0]), jax.vmap(m)(x)[0]))
    assert np.array_equal(first, again)


def test_a_noisy_model_has_no_attributes(named):
    with pytest.raises(bx.DeclarationError, match="has none of the attributes"):
        along_dial(ActivationNoise("out"), [0.1], weights, gibbs=named, key=KEY, count=4)


def test_activation_noise_of_equal_weights_is_averaged(named):
    """`E (out + s ξ)² = out² + s²`, over all models of the ensemble."""
    dial = ActivationNoise("out", relative=False)

    def squares(model):
        return jnp.mean((outputs(model) - X @ TRAINED) ** 2)

    curve = along_dial(dial, [0.3, 0.5], squares, gibbs=named, key=jax.random.key(0), count=400)
    assert np.all(np.asarray(curve.standard_error) > 0)
    assert np.all(np.abs(curve.z_score([0.09, 0.25])) < 4)


def test_activation_noise_joins_noise_on_weights(named):
    key = jax.random.key(0)
    quiet = ActivationNoise("inside") @ WeightNoise()
    alone = WeightNoise().ensemble(named, 0.2, key=jax.random.fold_in(key, 31), count=5)
    both = quiet.ensemble(named, [0.0, 0.2], key=key, count=5)
    assert np.allclose(both.map(outputs), alone.map(outputs), atol=1e-9)
    turned = WeightNoise() @ ActivationNoise("inside")
    loud = turned.ensemble(named, [0.0, 0.5], key=key, count=5)
    silent = ActivationNoise("inside").ensemble(
        named, 0.5, key=jax.random.fold_in(key, 31), count=5
    )
    assert np.allclose(loud.map(outputs), silent.map(outputs), atol=1e-9)
    assert not np.allclose(loud.map(outputs), outputs(named.declared), atol=1e-2)
    with pytest.raises(bx.DeclarationError, match="beside their weights"):
        loud.models()


def test_two_dials_act_one_upon_the_other(gibbs):
    key = jax.random.key(5)
    half = {"params": 0.5 * TRAINED}
    earlier = bx.models.Function(line, half["params"])
    inner = Snapshots([earlier, gibbs.declared], [1.0, 2.0])
    both = (WeightNoise() @ inner).ensemble(gibbs, [0.3, 1.0], key=key, count=7)
    alone = WeightNoise().changed(half, jnp.asarray(0.3), jax.random.split(key, 7)[2])
    assert np.allclose(both.map(weights)[2], alone["params"])
    # a sampler around the model of the inner dial: held so tightly that its centre shows
    held = Tempered(bx.HMC(), localisation=1e8, chains=4, warmup=100) @ inner
    draws = held.ensemble(gibbs, [1.0, 1.0], key=key, count=40)
    assert draws.axes == ("chain", "draw")
    assert np.allclose(draws.map(weights), half["params"], atol=1e-3)
    # each draw of the inner dial is changed
    pruned = (Pruning() @ WeightNoise()).ensemble(gibbs, [1.0, 0.2], key=key, count=5)
    assert pruned.shape == (5,)
    assert not np.any(pruned.map(weights))


def test_a_curve_is_over_the_setting_that_varies(gibbs):
    dial = Pruning() @ WeightNoise()
    rows = [[0.1, 0.1], [0.1, 0.4]]
    curve = along_dial(dial, rows, overlaps, gibbs=gibbs, key=jax.random.key(0), count=4)
    assert curve.axis == "weight noise" and np.allclose(curve.x, [0.1, 0.4])


def test_survival_is_a_share(tempered):
    curve = tempered[:, 0]
    shares = survival(curve, clean=2.0, dead=0.5)
    assert np.allclose(shares.value, (curve.value - 0.5) / 1.5)
    assert np.allclose(shares.standard_error, curve.standard_error / 1.5)
    exact_ends = survival(curve, clean=bx.Estimate.exact(2.0), dead=0.5)
    assert np.allclose(exact_ends.standard_error, shares.standard_error)
    loose = bx.Estimate.of_samples(np.array([1.0, 3.0]))
    assert np.all(survival(curve, clean=loose).standard_error > shares.standard_error)


def test_marks_are_temperatures_of_the_summed_energy(gibbs):
    marks = temperature_marks(gibbs, gap=0.25)
    assert marks["bayes"] == 1.0
    assert np.isclose(marks["watanabe"], np.log(12))
    assert np.isclose(marks["loss gap"], 12 * 0.25)
    probability = bx.SquaredError(gibbs.declared, bx.Empirical((X, Y)).normalized())
    measure = bx.compile(probability, bx.Normal(), marginalise=False)
    assert np.isclose(temperature_marks(measure, n=12)["watanabe"], np.log(12) / 12)


def test_the_order_of_death_is_that_of_eigenvalues(tempered):
    curves = {"first": tempered[:, 0], "second": tempered[:, 1], "both": tempered[:, 2]}
    found = order_of_death(curves, key=jax.random.key(0))
    assert found.names == ("first", "second", "both")
    assert found.sure > 0.99 and not found.undecided
    assert np.allclose(found.outlives + found.outlives.T, 1)


def test_a_structure_that_does_not_die_comes_first(tempered):
    alive = tempered[:, 0].scaled(0.1).shifted(0.9)
    curves = {"second": tempered[:, 1], "alive": alive, "first": tempered[:, 0]}
    nets = {name: [curve.scaled(f) for f in (0.99, 1.0, 1.01)] for name, curve in curves.items()}
    for several in (curves, nets):
        found = order_of_death(several, key=jax.random.key(0))
        assert found.names == ("alive", "first", "second")
        assert found.sure > 0.98 and not np.isfinite(found.places.value[0])
    # copies of one net show no spread between nets
    copies = {name: [curve] * 3 for name, curve in curves.items()}
    assert len(order_of_death(copies, key=jax.random.key(0)).undecided) == 2


def dying_at(place, noise=0.0):
    """A survival that is one half at a place; exact without noise."""
    values = 1 / (1 + TEMPERATURES / place)
    if not np.ndim(noise):
        return bx.Curve(TEMPERATURES, bx.Estimate.exact(values), axis="temperature")
    influence = bx.Influence.of(values[:, None, None] + noise, source="run")
    return bx.Curve(TEMPERATURES, influence, axis="temperature")


@pytest.mark.parametrize("replicates", [1, 3])
def test_an_order_that_the_settings_do_not_resolve_is_undecided(replicates):
    """A sudden death at 1.7 and a slow one at 1.5, both between the settings 0.55 and 1.8.

    The line through the points of the sudden one crosses at 1.43: its order is not that of the
    places, which are sure once there are more settings.
    """

    def died(grid, place, power):
        values = bx.Estimate.exact(1 / (1 + (grid / place) ** power))
        return bx.Curve(grid, values, axis="temperature")

    def order(points):
        grid = np.geomspace(0.05, 20, points)
        factors = 1 + 0.01 * np.arange(replicates)
        curves = {
            name: [died(grid, place * f, power) for f in factors]
            for name, place, power in (("sudden", 1.7, 8), ("slow", 1.5, 1))
        }
        return order_of_death(curves, key=jax.random.key(0))

    coarse, fine = order(6), order(60)
    assert coarse.undecided and 0.2 < coarse.sure < 0.8
    sudden = coarse.places[coarse.names.index("sudden")]
    assert abs(sudden.z_score(1.7)) < 2
    assert fine.names == ("sudden", "slow") and not fine.undecided


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_replicates_are_seldom_sure_of_an_order_that_is_not(count):
    """Names of one law: at level 5% few of 100 are sure, where the plain bootstrap says 50%."""
    rng = np.random.default_rng(count)
    wrong = 0
    for seed in range(100):
        places = 2 * np.exp(0.3 * rng.normal(size=(2, count)))
        curves = {n: [dying_at(p) for p in row] for n, row in zip("ab", places, strict=True)}
        found = order_of_death(curves, key=jax.random.key(seed), resamples=400)
        wrong += not found.undecided
        assert found.units == count
    assert wrong <= 12  # of 100 at 5%: exceeded once in 400 runs


def test_a_chain_that_moves_slowly_decides_nothing():
    """One chain of three effective draws; with eight such chains the same order is sure."""
    rng = np.random.default_rng(0)

    def slow(chains):
        steps = rng.normal(size=(1, chains, 200)) * np.sqrt(1 - 0.97**2)
        for i in range(1, 200):
            steps[..., i] += 0.97 * steps[..., i - 1]
        return 0.05 * steps + 0.01 * rng.normal(size=(len(TEMPERATURES), chains, 200))

    for chains in (1, 8):
        curves = {"a": dying_at(8.0, slow(chains)), "b": dying_at(0.5, slow(chains))}
        found = order_of_death(curves, key=jax.random.key(0))
        assert (found.units == 1) == (chains == 1)
        assert bool(found.undecided) == (chains == 1)
        assert ("few blocks" in repr(found)) == (chains == 1)


@pytest.mark.slow
def test_equal_structures_are_undecided(gibbs):
    """Two runs of one structure: the bootstrap probability is spread over (0, 1)."""
    grid = np.geomspace(0.3, 12, 9)
    chances = []
    for seed in range(24):
        keys = jax.random.split(jax.random.key(seed), 3)
        runs = [
            along_dial(Exactly(), grid, overlaps, gibbs=gibbs, key=k, count=40)[:, 1]
            for k in keys[:2]
        ]
        order = order_of_death({"a": runs[0], "b": runs[1]}, key=keys[2], resamples=400)
        chances.append(order.outlives[0, 1])
    # named from the first to the last, so that they lie above one half; uniform there
    assert np.sum(np.array(chances) > 0.975) <= 5
    assert 0.62 < np.mean(chances) < 0.88


def test_replicates_are_resampled():
    factors = np.array([[1.0, 1.2, 0.8, 1.1], [1.1, 1.0, 0.9, 1.0]])
    curves, others = ([dying_at(2 * f) for f in row] for row in factors)
    found = order_of_death({"a": curves, "b": others}, key=jax.random.key(0))
    assert found.replicates == 4 and found.undecided == (("a", "b"),)
    assert np.isclose(
        found.places.standard_error[0] / found.places.value[0],
        factors[0].std(ddof=1) / 2 / factors[0].mean(),
        rtol=0.02,
    )


def erase_last(model):
    """The output of head 0 and the weights of direction 1 that feed head 1 removed."""
    kept = model.params * jnp.array([0.0, 1.0, 1.0])
    return bx.models.Function(line, kept - jnp.zeros((3, 3)).at[:, 2].set(0.5 * kept[:, 2]))


def first_overlap(out):
    return jnp.sum(out[:, 0] * Y[:, 0]) / jnp.sum(Y[:, 0] ** 2)


def other_losses(out):
    return 0.5 * jnp.sum((out - Y)[:, 1:] ** 2, axis=0)


def test_a_clean_window(gibbs):
    """Head 0 is erased and head 2 halved: harmless once head 2 is dead and head 0 alive."""
    fine = np.geomspace(0.1, 100, 19)
    found = clean_window(
        erase_last, first_overlap, other_losses, Exactly(), fine,
        outputs=outputs, gibbs=gibbs, key=jax.random.key(0), count=4000, tolerance=0.5,
    )  # fmt: skip
    assert np.isclose(found.clean_effect, -1) and np.isclose(found.clean_damage[0], 0)
    head = exact(0, fine)
    assert np.all(np.abs(found.effect.z_score(-head)) < 4)
    # the mean output: a shift of f by -f/2 where f = s y in each mode
    powers = (VECTORS.T @ Y[:, 2]) ** 2
    s = VALUES / (VALUES + fine[:, None])
    harm = 0.5 * np.sum(powers * ((0.5 * s - 1) ** 2 - (s - 1) ** 2), axis=1)
    assert np.all(np.abs(found.damage_of_mean.z_score(np.stack([0 * harm, harm], 1))[:, 1]) < 4)
    # the mean over models also loses three quarters of the variance T w/(w + T)
    lost = 0.375 * np.sum(fine[:, None] * s, axis=1)
    assert np.all(np.abs(found.damage.z_score(np.stack([0 * harm, harm - lost], 1))[:, 1]) < 4)
    assert np.all(np.abs(found.denoising.z_score(np.stack([0 * harm, lost], 1))[:, 1]) < 4)
    for i, said in enumerate(found.verdicts):
        if head[i] < 0.45:
            assert said == "effect gone"
        elif head[i] > 0.55 and harm[i] - lost[i] > 0.7:
            assert said == "harmful"
        elif head[i] > 0.55 and harm[i] > 0.7 and harm[i] - lost[i] < 0.3:
            assert said == "denoised"
        elif head[i] > 0.55 and harm[i] < 0.3:
            assert said == "clean"
    assert {"harmful", "denoised", "clean", "effect gone"} <= set(found.verdicts)
    (window,) = found.windows
    assert window[0] < window[1]

    def harm_at(place):
        s = VALUES / (VALUES + place)
        return 0.5 * np.sum(powers * ((0.5 * s - 1) ** 2 - (s - 1) ** 2))

    opens, closes = found.ends  # the last damage to vanish is that of the mean output
    truth = scipy.optimize.brentq(lambda place: harm_at(place) - 0.5, 0.1, 36.0)
    assert abs(float(opens.z_score(truth))) < 4 and abs(float(closes.z_score(36.0))) < 4
    assert float(opens.standard_error) < 0.2 * truth and float(closes.standard_error) < 2


@pytest.mark.slow
def test_the_damage_of_a_mean_of_few_models_is_not_biased(gibbs):
    """The noise of a mean of 4 outputs alone would shift it by a quarter of the variance lost."""
    place = np.array([12.0])
    found = [
        clean_window(
            erase_last, first_overlap, other_losses, Exactly(), place,
            outputs=outputs, gibbs=gibbs, key=jax.random.key(seed), count=4,
        ).damage_of_mean.value[0, 1]
        for seed in range(40)
    ]  # fmt: skip
    mean = bx.Estimate.of_replicates(np.array(found))
    s = VALUES / (VALUES + 12)
    powers = (VECTORS.T @ Y[:, 2]) ** 2
    harm = 0.5 * np.sum(powers * ((0.5 * s - 1) ** 2 - (s - 1) ** 2))
    bias = 0.375 * np.sum(12 * s) / 4
    assert abs(float(mean.z_score(harm))) < 3
    assert bias > 4 * float(mean.standard_error)


def test_a_head_that_no_chain_touches_counts_as_unharmed(gibbs):
    """Its damage is constant, so that a chain tells no error of it."""
    found = clean_window(
        erase_last, first_overlap, other_losses, Tempered(bx.HMC(max_steps=32), warmup=300),
        [0.1, 12.0], outputs=outputs, gibbs=gibbs, key=jax.random.key(0), count=1600,
        tolerance=1.0,
    )  # fmt: skip
    assert np.all(found.damage.value[:, 0] == 0)
    assert found.verdicts == ("harmful", "clean")


def test_an_effect_whose_interval_holds_the_threshold_is_undecided(gibbs):
    """At the eigenvalue of head 0 half of its effect is left."""
    found = clean_window(
        erase_last, first_overlap, other_losses, Exactly(), [36.0],
        outputs=outputs, gibbs=gibbs, key=jax.random.key(0), count=50, tolerance=100.0,
    )  # fmt: skip
    share = found.effect.values[0] / found.clean_effect
    assert float(share.lower) < 0.5 < float(share.upper)
    assert found.verdicts == ("undecided",)


def test_a_window_without_power_is_undecided(gibbs):
    found = clean_window(
        erase_last, first_overlap, other_losses, Exactly(), TEMPERATURES[5:8],
        outputs=outputs, gibbs=gibbs, key=jax.random.key(0), count=4, tolerance=0.05,
    )  # fmt: skip
    assert "clean" not in found.verdicts and "undecided" in found.verdicts


def test_weights_that_are_integrated_out_are_drawn_by_the_key(integrated):
    """Of a linear model all of them are, and no coordinate is left that could differ."""
    dial, grid = Tempered(chains=4), np.array([0.5, 8.0])

    def curve_of(seed):
        key = jax.random.key(seed)
        return along_dial(dial, grid, overlaps, gibbs=integrated, key=key, count=400)[:, 2]

    found, again = curve_of(0), curve_of(1)
    for curve in (found, again):
        assert np.all(np.asarray(curve.standard_error) > 0)
        assert np.all(np.abs(curve.z_score(exact(2, grid))) < 4)
    assert not np.any(np.asarray(found.value) == np.asarray(again.value))
    # the same random numbers at both settings: a step has a smaller error than independent ends
    step = found.influence[1] - found.influence[0]
    ends = np.sqrt(np.sum(np.asarray(found.standard_error) ** 2))
    assert float(step.estimate().standard_error) < ends

    def window(seed):
        return clean_window(
            erase_last, first_overlap, other_losses, dial, grid,
            outputs=outputs, gibbs=integrated, key=jax.random.key(seed), count=40,
        )  # fmt: skip

    assert not np.any(window(0).effect.value == window(1).effect.value)


@pytest.mark.parametrize(("count", "frozen"), [(1, False), (2, False), (2, True)])
def test_one_model_has_no_error_and_no_verdict(gibbs, count, frozen):
    """Only the clean setting of a dial is exact; nor have models of which none differs."""
    dial, key = Still() if frozen else WeightNoise(), jax.random.key(0)
    curve = along_dial(dial, [0.0, 0.4], overlaps, gibbs=gibbs, key=key, count=count)
    assert np.all(np.asarray(curve.standard_error[0]) == 0)
    known = np.isfinite(np.asarray(curve.standard_error[1]))
    assert np.all(known == (count > 1 and not frozen))
    found = clean_window(
        erase_last, first_overlap, other_losses, dial, [0.0, 0.4],
        outputs=outputs, gibbs=gibbs, key=key, count=count,
    )  # fmt: skip
    assert found.verdicts == ("harmful", "undecided")


class Still(AbstractDial):
    """Chains that never move, but for the clean setting."""

    axes: ClassVar[tuple[str, ...]] = ("still",)
    clean: ClassVar[tuple[float, ...]] = (0.0,)
    random: ClassVar[bool] = True

    def upon(self, bases, settings, *, key, count):
        starts = jnp.arange(2.0)[:, None, None, None]
        leaves = [TRAINED * (1 + s * starts) for s in settings[:, 0]]
        each = [{"params": jnp.broadcast_to(leaf, (2, 8, 3, 3))} for leaf in leaves]
        pairs = zip(bases, each, strict=True)
        return tuple(bx.Ensemble.of(gibbs, w, ("chain", "draw")) for gibbs, w in pairs)


def test_a_constant_over_models_that_differ_has_no_error(gibbs):
    def seven(model):
        return {"constant": 0 * model.params[0, 0] + 7, "sum": model.params.sum()}

    key = jax.random.key(0)
    curves = along_dial(WeightNoise(), [0.0, 0.4], seven, gibbs=gibbs, key=key, count=20)
    assert np.array_equal(np.isnan(curves["constant"].standard_error), [False, True])
    assert np.all(np.isfinite(curves["sum"].standard_error))


def test_activation_noise_of_none_is_exact(named):
    key = jax.random.key(0)
    curve = along_dial(ActivationNoise("out"), [0.0, 0.3], overlaps, gibbs=named, key=key, count=9)
    assert np.all(np.asarray(curve.standard_error)[0] == 0)
    assert np.all(np.asarray(curve.standard_error)[1] > 0)
    both = ActivationNoise("out") @ WeightNoise()
    rows = [[0.0, 0.0], [0.0, 0.3], [0.3, 0.0]]
    errors = along_dial(both, rows, overlaps, gibbs=named, key=key, count=9).standard_error
    assert np.array_equal(np.all(np.asarray(errors) > 0, axis=1), [False, True, True])


def pair(w, x):
    return x @ w["a"] + x @ w["b"]


@pytest.mark.parametrize("dial", [WeightNoise(), Pruning(), Quantisation()])
def test_frozen_weights_stay(dial):
    """Leaves and entries that a chart freezes; a tied leaf follows."""
    model = bx.models.Function(pair, {"a": TRAINED, "b": TRAINED})
    energy = bx.SquaredError(model, bx.Empirical((X, Y)))
    setting = 3.0 if isinstance(dial, Quantisation) else 0.8
    mask = np.ones((3, 3), bool)
    mask[0] = False
    charts = (
        bx.Freeze("params['b']"),
        bx.Mask({"params['b']": mask}),
        bx.Tie({"params['b']": "params['a']"}),
    )
    for chart in charts:
        gibbs = bx.compile(energy, bx.Normal(), chart=chart, marginalise=False)
        found = dial.ensemble(gibbs, setting, key=jax.random.key(0), count=2)
        a, b = found.map(lambda model: (model.params["a"], model.params["b"]))
        assert not np.allclose(a, TRAINED)
        assert np.allclose(b[:, 0], a[:, 0] if isinstance(chart, bx.Tie) else TRAINED[0])
        assert np.allclose(b, TRAINED) == isinstance(chart, bx.Freeze)
    frozen = bx.compile(energy, bx.Normal(), chart=charts[0], marginalise=False)
    for paths in ("params['b']", "params['c']", "layer"):
        with pytest.raises(bx.DeclarationError, match="names no free weights") as caught:
            type(dial)(paths=paths).ensembles(frozen, [setting], key=jax.random.key(0))
        assert caught.value.argument == "paths"


@pytest.mark.parametrize(
    ("argument", "fn"),
    [
        ("effect", lambda out: out[:, 0]),
        ("effect", lambda out: "a"),
        ("damage", lambda out: out),
        ("damage", lambda out: out["a"]),
        ("outputs", lambda model: {"a": outputs(model)}),
        ("outputs", lambda model: model.weights),
        ("intervention", lambda model: 3),
    ],
)
def test_functions_of_a_window_give_what_they_must(gibbs, argument, fn):
    fns = {"effect": first_overlap, "damage": other_losses, "outputs": outputs}
    fns = {"intervention": erase_last} | fns | {argument: fn}
    with pytest.raises(bx.DeclarationError) as caught:
        clean_window(
            dial=WeightNoise(), settings=[0.1], gibbs=gibbs, key=jax.random.key(0), count=4, **fns
        )
    assert caught.value.argument == argument


@pytest.mark.slow
def test_intervals_of_windows_of_few_models_cover(gibbs):
    """Of level 95%: by normal quantiles they would cover 85% of the time."""
    place, hits = np.array([12.0]), []
    s = VALUES / (VALUES + 12)
    powers = (VECTORS.T @ Y[:, 2]) ** 2
    harm = 0.5 * np.sum(powers * ((0.5 * s - 1) ** 2 - (s - 1) ** 2))
    for seed in range(100):
        found = clean_window(
            erase_last, first_overlap, other_losses, Exactly(), place,
            outputs=outputs, gibbs=gibbs, key=jax.random.key(seed), count=8,
        )  # fmt: skip
        truths = (
            (found.effect.values, -exact(0, place)[0]),
            (found.damage_of_mean[:, 1].values, harm),
        )
        hits.append([float(e.lower[0]) <= t <= float(e.upper[0]) for e, t in truths])
    assert np.all(np.mean(hits, axis=0) > 0.9)


@pytest.mark.parametrize(
    ("dial", "low", "high"),
    [
        (WeightNoise(), 0.0, 1e30),
        (Pruning(), 0.0, 1.0),
        (Quantisation(), 1.0, 24.0),
        (ActivationNoise("out"), 0.0, 1e30),
    ],
)
def test_settings_reach_from_the_least_to_the_greatest(named, dial, low, high):
    """Both included; what is said names the axis and the setting that is wrong."""
    few = {"key": KEY, "count": 2}
    assert len(dial.ensembles(named, [low, high], **few)) == 2
    wrong = [low - 0.01] if high == 1e30 else [low - 0.01, high + 0.01]
    for setting in wrong:
        with pytest.raises(bx.DeclarationError, match=f"{dial.axes[0]} {setting:g}"):
            dial.ensembles(named, [low, setting, high], **few)


def test_models_at_a_setting_are_as_many_as_asked(gibbs):
    """Of a dial that is not random one; of a sampler at least four draws of each chain."""
    assert Pruning().ensemble(gibbs, 0.5, key=KEY, count=7).shape == (1,)
    assert WeightNoise().ensemble(gibbs, 0.5, key=KEY, count=7).shape == (7,)
    for by, count, draws in (("sample", 10, 4), ("sample", 18, 5), ("anneal", 18, 5)):
        dial = Tempered(bx.SGLD(1e-3), chains=4, warmup=2, by=by, throw=False)
        (found,) = dial.ensembles(gibbs, [2.0], key=KEY, count=count)
        assert found.shape == (4, draws) and found.axes == ("chain", "draw")


def test_chains_start_at_the_model_or_at_draws_of_the_prior(gibbs):
    """Chains that hardly move are where they began; a ladder begins at the prior."""
    still = {"kernel": bx.SGLD(1e-14), "chains": 8, "warmup": 0, "throw": False}
    for start, by in (("model", "sample"), ("prior", "sample"), ("model", "anneal")):
        dial = Tempered(start=start, by=by, **still)
        found = dial.ensemble(gibbs, 1.0, key=KEY, count=32).map(weights)
        there = (start, by) == ("model", "sample")
        assert np.allclose(found, TRAINED, atol=1e-4) == there
        assert (np.std(found[:, 0], axis=0).mean() > 0.5) != there


@pytest.mark.slow
def test_a_ladder_gives_each_setting_its_temperature(gibbs):
    """In any order of the settings; of several bases, each by itself."""
    kernel = bx.HMC(max_steps=32)
    dial = Tempered(kernel, chains=8, warmup=200, by="anneal")
    grid = np.array([8.0, 0.5, 2.0])
    curve = along_dial(dial, grid, overlaps, gibbs=gibbs, key=KEY, count=800)
    for head in (1, 2):
        assert np.all(np.abs(curve[:, head].z_score(exact(head, grid))) < 4)
        assert np.all(np.asarray(curve[:, head].standard_error) < 0.05)


@pytest.mark.slow
def test_a_sampler_is_held_at_the_model_of_an_inner_dial(gibbs):
    """`p ∝ π(w) exp(-γ/2 |w - w*|²)` at a high temperature: the mean is γ w*/(1 + γ)."""
    half = bx.models.Function(line, 0.5 * TRAINED)
    inner = Snapshots([half, gibbs.declared], [1.0, 2.0])
    for by in ("sample", "anneal"):
        dial = Tempered(localisation=3.0, chains=8, warmup=200, by=by) @ inner
        rows = [[1e7, 1.0], [1e7, 2.0]]
        for found, share in zip(
            dial.ensembles(gibbs, rows, key=KEY, count=800), (0.5, 1.0), strict=True
        ):
            assert found.axes == ("chain", "draw")
            assert np.all(np.abs(found.mean(weights).z_score(0.75 * share * TRAINED)) < 4.5)
            centred = found.mean(lambda m, share=share: (m.params - 0.75 * share * TRAINED) ** 2)
            assert np.all(np.abs(centred.z_score(0.25)) < 4.5)


def test_rows_and_axes_of_combined_dials():
    dial = Pruning() @ Quantisation()
    assert dial.axes == ("share pruned", "bits") and dial.clean == (0.0, np.inf)
    assert not dial.random
    assert (Pruning() @ WeightNoise()).random and (WeightNoise() @ Pruning()).random
    for rows, name, places in (
        ([[0.1, 3.0], [0.2, 4.0]], "share pruned", [0.1, 0.2]),
        ([[0.1, 3.0], [0.1, 4.0]], "bits", [3.0, 4.0]),
        ([[0.1, 3.0], [0.1, 3.0]], "share pruned", [0.1, 0.1]),
    ):
        x, axis = dial.along(rows)
        assert axis == name
        np.testing.assert_array_equal(x, places)
        np.testing.assert_array_equal(dial.rows(rows), rows)
    np.testing.assert_array_equal(Pruning().rows([0.1, 0.2]), [[0.1], [0.2]])
    for wrong in ([], [np.nan], [np.inf], np.zeros((1, 1, 1)), [[0.1, 3.0, 1.0]]):
        with pytest.raises(bx.DeclarationError, match="settings"):
            dial.rows(wrong)


@pytest.mark.parametrize("bits", [1.0, 1.6, 2.0, 2.8, 5.0])
def test_quantised_weights_are_the_nearest_of_evenly_spaced_values(bits):
    """Three values at 1.6 bits, seven at 2.8; a leaf of zeros stays."""
    w = {"a": RNG.normal(size=50), "zeros": np.zeros(4)}
    found = Quantisation().changed(
        {path: jnp.asarray(leaf) for path, leaf in w.items()}, jnp.asarray(bits), KEY
    )
    values = np.linspace(-1, 1, round(2**bits)) * np.max(np.abs(w["a"]))
    nearest = values[np.argmin(np.abs(w["a"][:, None] - values), axis=1)]
    np.testing.assert_allclose(found["a"], nearest, atol=1e-12)
    np.testing.assert_array_equal(found["zeros"], 0)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.24, 0.26, 0.5, 1.0])
def test_the_least_weights_are_pruned(each, share):
    w = {"a": RNG.normal(size=(3, 4)), "b": 5 * RNG.normal(size=8)}
    found = Pruning(each=each).changed(
        {path: jnp.asarray(leaf) for path, leaf in w.items()}, jnp.asarray(share), KEY
    )
    groups = [[path] for path in w] if each else [list(w)]
    for group in groups:
        flat = np.concatenate([w[path].ravel() for path in group])
        flat[np.argsort(np.abs(flat))[: round(share * flat.size)]] = 0
        got = np.concatenate([np.ravel(found[path]) for path in group])
        np.testing.assert_array_equal(got, flat)


def test_weight_noise_is_so_many_times_the_size_of_each_leaf():
    w = {"a": jnp.asarray(RNG.normal(size=(3, 4))), "b": jnp.asarray(7 + RNG.normal(size=5))}
    moved, shifted = (
        WeightNoise(relative=relative).changed(w, jnp.asarray(0.3), KEY)
        for relative in (True, False)
    )
    for path, leaf in w.items():
        size = np.sqrt(np.mean(np.square(leaf)))
        np.testing.assert_allclose(moved[path] - leaf, size * (shifted[path] - leaf), rtol=1e-9)


def test_snapshots_are_the_models_of_their_steps(gibbs):
    models = [bx.models.Function(line, share * TRAINED) for share in (0.2, 0.5, 1.0)]
    dial = Snapshots(models, [0, 10, 25])
    assert dial.clean == (25.0,) and not dial.random
    for found, share in zip(
        dial.ensembles(gibbs, [10, 25, 0], key=KEY), (0.5, 1.0, 0.2), strict=True
    ):
        assert found.shape == (1,)
        np.testing.assert_allclose(found.map(weights)[0], share * TRAINED)
    with pytest.raises(bx.DeclarationError, match="step 5"):
        dial.ensembles(gibbs, [10, 5], key=KEY)
    for wrong, steps in ((models, [0, 10, 10]), (models, [0, 10]), (models[:2], [10, 0]), ([], [])):
        with pytest.raises(bx.DeclarationError, match="one finite step for each model"):
            Snapshots(wrong, steps)


def test_a_sampler_refuses_one_model_with_noise(named):
    dial = Tempered() @ ActivationNoise("out")
    with pytest.raises(bx.DeclarationError, match="one model at each setting"):
        dial.ensembles(named, [[1.0, 0.1]], key=KEY, count=1)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda g: WeightNoise().ensembles(g, [-1.0], key=jax.random.key(0)), "settings"),
        (lambda g: Pruning().ensembles(g, [1.5], key=jax.random.key(0)), "settings"),
        (lambda g: Quantisation().ensembles(g, [0.0], key=jax.random.key(0)), "settings"),
        (lambda g: Tempered().ensembles(g, [0.0], key=jax.random.key(0)), "settings"),
        (lambda g: Snapshots([g.declared], [1.0, 2.0]), "steps"),
        (lambda g: Snapshots([g.declared] * 2, [1.0, np.nan]), "steps"),
        (lambda g: order_of_death({"a": FALLING[:1], "b": FALLING[:1]}, key=KEY), "curves"),
        (lambda g: order_of_death({"a": FALLING, "b": FALLING[:4]}, key=KEY), "curves"),
        (
            lambda g: order_of_death(
                {"a": FALLING, "b": FALLING.over(TEMPERATURES, "bits")}, key=KEY
            ),
            "curves",
        ),
        (lambda g: survival(FALLING, clean=bx.Estimate.exact(np.ones(9))), "clean"),
        (lambda g: survival(FALLING, dead=bx.Estimate.exact(np.zeros(1))), "dead"),
        (
            lambda g: Snapshots([g.declared], [1.0]).ensembles(g, [2.0], key=jax.random.key(0)),
            "settings",
        ),
        (
            lambda g: (WeightNoise() @ Pruning()).ensembles(g, [0.1], key=jax.random.key(0)),
            "settings",
        ),
        (
            lambda g: (Tempered() @ WeightNoise()).ensembles(
                g, [[1.0, 0.1]], key=jax.random.key(0), count=3
            ),
            "inner",
        ),
        (lambda g: ActivationNoise(), "places"),
        (
            lambda g: (ActivationNoise("a") @ ActivationNoise("b")).ensembles(
                g, [[0.1, 0.1]], key=jax.random.key(0), count=2
            ),
            "inner",
        ),
        (
            lambda g: (Snapshots([g.declared], [1.0]) @ Pruning()).ensembles(
                g, [[1.0, 0.1]], key=jax.random.key(0)
            ),
            "inner",
        ),
    ],
)
def test_wrong_declarations(gibbs, call, argument):
    with pytest.raises(bx.DeclarationError) as caught:
        call(gibbs)
    assert caught.value.argument == argument


def scaled_line(w, x):
    return 100 * x @ w


def test_snapshots_of_another_function_are_refused(gibbs):
    other = bx.models.Function(scaled_line, jnp.asarray(TRAINED))
    with pytest.raises(bx.DeclarationError, match="another"):
        along_dial(Snapshots([other], [0]), [0.0], outputs, gibbs=gibbs, key=KEY)


@pytest.mark.parametrize("left", [True, False])
def test_three_dials_have_three_noises(left, gibbs):
    """The variance of two of three unit noises is 2 (± .045 over 4,000 models)."""
    noise = WeightNoise(relative=False)
    dial = (noise @ noise) @ noise if left else noise @ (noise @ noise)
    weights = dial.ensemble(gibbs, np.array([0.0, 1.0, 1.0]), key=KEY, count=4000).w
    drawn = np.asarray(next(iter(weights.values())))[:, 0, 0]
    assert abs(np.var(drawn) - 2) < 4 * 0.045
