"""Local coefficients at given settings: closed forms, a sampler by hand, parts, trainings."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.core import weights_of, with_weights
from boltzax.observe._adaptive_runs import careful_estimate
from boltzax.observe._fixed_settings import _judged
from boltzax.sample import stored_models
from boltzax.temperature import Temperature

key = jax.random.key(0)
STEP, GAMMA = 0.05, 0.2
rng = np.random.default_rng(0)
X = rng.normal(size=(12, 3)) * np.array([1.0, 0.5, 0.2])
Y = rng.normal(size=12)
BEST = np.linalg.lstsq(X, Y, rcond=None)[0]
LONG = bx.FixedSettings(1.0, GAMMA, bx.SGLD(STEP), chains=4, warmup=200, draws=400, thin=10)
FEW = bx.FixedSettings(1.0, GAMMA, bx.SGLD(STEP), warmup=10, draws=8, thin=2)


class Line(eqx.Module):
    w: jax.Array

    def __call__(self, x):
        return jnp.dot(self.w, x)


def line(w=BEST):
    return bx.SquaredError(Line(jnp.asarray(w, float)), bx.Empirical((X, Y)))


def exact(inside, step=STEP, gamma=GAMMA, beta=1.0):
    """`½ tr(βH C)` for free weights `inside`: C is the law of SGLD at this step.

    `w' = w - ½ ε A w + √ε N` has the covariance `(A - ε A²/4)^-1`, `A = βH + γ`.
    """
    hessian = beta * X[:, inside].T @ X[:, inside]
    a = hessian + gamma * np.eye(len(inside))
    return 0.5 * np.trace(hessian @ np.linalg.inv(a - step * a @ a / 4))


def test_a_gaussian_has_the_coefficient_of_the_discrete_sampler():
    found = bx.local_coefficient_at(line(), LONG, key=key)
    assert abs(float(found.estimate.z_score(exact([0, 1, 2])))) < 4
    assert found.usable and found.short == "usable" and found.weights == 3
    loss = 0.5 * np.sum((X @ BEST - Y) ** 2) / 12
    assert found.loss == pytest.approx(loss, rel=1e-5)
    rise = float(found.estimate) / 12
    assert float(found.loss_of_draws) == pytest.approx(loss + rise, rel=1e-5)
    assert "usable" not in repr(found) and "localising Gaussian alone" in repr(found)


def test_the_default_number_of_draws_can_be_enough():
    found = bx.local_coefficient_at(line(), bx.FixedSettings(1.0, 1.0, bx.SGLD(0.1)), key=key)
    assert found.usable, found


def test_parts_have_the_coefficients_of_their_own_weights():
    model = line().model
    masks = {"first": [True, False, False], "rest": [False, True, True]}
    parts = {name: bx.Mask({"w": np.array(mask)}) for name, mask in masks.items()}
    found = bx.part_coefficients(line(), parts, LONG, key=key)
    assert found.names == ("first", "rest") and [part.weights for part in found.parts] == [1, 2]
    for part, inside in zip((*found.parts, found.whole), ([0], [1, 2], [0, 1, 2]), strict=True):
        assert abs(float(part.estimate.z_score(exact(inside)))) < 4
    alone = bx.local_coefficient_at(line(), LONG, key=key, chart=parts["rest"])
    assert abs(float((alone.estimate - found["rest"].estimate).z_score(0.0))) < 4
    assert abs(float(found.sum.z_score(exact([0]) + exact([1, 2])))) < 4
    values, errors = found.coefficients.value, found.coefficients.standard_error
    np.testing.assert_allclose(found.sum.value, np.sum(values), rtol=1e-9)
    np.testing.assert_allclose(found.sum.standard_error, np.hypot(*errors), rtol=1e-9)
    one_by_one = bx.part_coefficients(line(), parts, LONG, key=key, null=model, memory=1)
    np.testing.assert_allclose(
        one_by_one.coefficients.value, found.coefficients.value, rtol=1e-3, atol=1e-3
    )
    # the null has chains of its own
    assert float(one_by_one.null[0].estimate) != float(found.parts[0].estimate)
    assert abs(float(one_by_one.null[1].estimate.z_score(exact([1, 2])))) < 4


@pytest.mark.parametrize("far", [0.0, 1e8])
def test_a_shuffled_part_has_the_coefficient_of_chains_that_start_there(far):
    """`½ tr(βH C) + E(m) - E(w)`, m the mean of the posterior localised at the shuffled w.

    Residuals that no weights move change nothing, though energies of 1e16 have no digits left.
    """
    parts = {
        name: bx.Mask({"w": np.array(mask)})
        for name, mask in {"first": [True, False, False], "rest": [False, True, True]}.items()
    }
    declared = np.array([0.5, 1.5, -1.0])
    apart = far * np.linalg.svd(X)[0][:, -1]
    energy = bx.SquaredError(line(declared).model, bx.Empirical((X, Y + apart)))
    found = bx.part_coefficients(energy, parts, LONG, key=jax.random.key(2), null="shuffled")

    def expected(start, inside):
        hessian = X[:, inside].T @ X[:, inside]
        pull = X[:, inside].T @ (Y - X @ start)
        end = start.copy()
        end[inside] += np.linalg.solve(hessian + GAMMA * np.eye(len(inside)), pull)
        loss = [0.5 * np.sum((X @ w - Y) ** 2) for w in (end, start)]
        return exact(inside) + loss[0] - loss[1]

    # one weight has one order; with this key the two of the other part change places
    for result, start, inside in zip(
        found.null, (declared, declared[[0, 2, 1]]), ([0], [1, 2]), strict=True
    ):
        assert abs(float(result.estimate.z_score(expected(start, inside)))) < 4
    assert abs(float(found.null[1].estimate.z_score(expected(declared, [1, 2])))) > 10
    assert abs(float(found.parts[1].estimate.z_score(expected(declared, [1, 2])))) < 4
    with pytest.raises(bx.DeclarationError, match="shuffled"):
        bx.part_coefficients(line(), parts, LONG, key=key, null="random")


def test_parts_are_measured_with_control_variates_on_minibatches():
    """At this step the noise of minibatches would add .07 to the coefficient of the whole."""
    data = bx.Subsampled(bx.Empirical((X, Y)), 4)
    energy = bx.SquaredError(line().model, data)
    parts = {"rest": bx.Mask({"w": np.array([False, True, True])})}
    kernel = bx.SVRG(bx.SGLD(STEP / 5), 0.4)
    settings = bx.FixedSettings(1.0, GAMMA, kernel, chains=4, warmup=400, draws=400, thin=20)
    found = bx.part_coefficients(energy, parts, settings, key=key)
    for part, inside in ((found["rest"], [1, 2]), (found.whole, [0, 1, 2])):
        assert abs(float(part.estimate.z_score(exact(inside, step=STEP / 5)))) < 4


def test_terms_over_data_of_different_number_are_one_energy():
    few, many = ((X[:4], Y[:4]), (X[4:], Y[4:]))
    energy = sum_of_terms(few, many)
    found = bx.local_coefficient_at(energy, LONG, key=key)
    assert abs(float(found.estimate.z_score(exact([0, 1, 2])))) < 4
    assert found.loss == pytest.approx(0.5 * np.sum((X @ BEST - Y) ** 2) / 12, rel=1e-5)
    per_mean = bx.FixedSettings(Temperature(12.0), GAMMA, bx.SGLD(STEP))
    with pytest.raises(bx.DeclarationError, match="different mass"):
        bx.local_coefficient_at(energy, per_mean, key=key)


def sum_of_terms(first, second):
    model = line().model
    return bx.SquaredError(model, bx.Empirical(first)) + bx.SquaredError(
        model, bx.Empirical(second)
    )


def test_a_null_of_another_structure_is_refused_before_anything_runs():
    parts = {"first": bx.Mask({"w": np.array([True, False, False])})}
    with pytest.raises(bx.DeclarationError, match="null"):
        bx.part_coefficients(line(), parts, LONG, key=key, null=Line(jnp.ones(4)))


def of_data(model):
    return 0.5 * (X @ model.w - Y) ** 2


def exact_responses(inside):
    """`-Cov(E, ℓ_i - ℓ̄)` of draws of the discrete sampler, whose law is Gaussian about w*."""
    x = X[:, inside]
    a = x.T @ x + GAMMA * np.eye(len(inside))
    spread = np.linalg.inv(a - STEP * a @ a / 4)
    found = -0.5 * np.einsum("id,de,ef,fg,ig->i", x, spread, x.T @ x, spread, x)
    return found - found.mean()


def test_parts_respond_to_data_as_their_gaussian_posteriors_do():
    masks = {"first": [True, False, False], "rest": [False, True, True]}
    parts = {name: bx.Mask({"w": np.array(mask)}) for name, mask in masks.items()}
    arguments = {"key": key, "null": line().model}
    found = bx.part_coefficients(line(), parts, LONG, tokens=of_data, **arguments)
    assert found.responses.parts == found.null_responses.parts == ("first", "rest")
    wanted = np.stack([exact_responses([0]), exact_responses([1, 2])])
    for responses in (found.responses, found.null_responses):
        z = np.asarray(responses.estimate.z_score(wanted))
        # the 12 numbers of a row are functions of one or two weights: two sums of products in all
        assert np.all(np.abs(z) < 4.5) and np.sqrt(np.mean(z**2)) < 2
    assert np.max(np.abs(wanted / found.responses.estimate.standard_error)) > 5
    without = bx.part_coefficients(line(), parts, LONG, **arguments)
    assert without.responses is None
    np.testing.assert_array_equal(without.coefficients.value, found.coefficients.value)


def test_a_grid_has_the_coefficient_of_each_setting():
    at = {"step_sizes": (0.02, 0.1), "localisations": (1.0, 8.0), "betas": (0.5, 2.0)}
    found = bx.coefficient_grid(line(), LONG, key=key, **at)
    assert found.estimate.shape == (2, 2, 2)
    wanted = [
        [[exact([0, 1, 2], s, g, b) for b in at["betas"]] for g in at["localisations"]]
        for s in at["step_sizes"]
    ]
    assert np.all(np.abs(found.estimate.z_score(np.array(wanted))) < 4.5)
    assert np.ptp(np.array(wanted)) > 10 * float(jnp.max(found.estimate.standard_error))


def text(seed=0):
    tokens = bx.Tokens.characters("abcd ")
    symbols = np.random.default_rng(seed).choice(
        list("abcd "), p=[0.6, 0.1, 0.1, 0.1, 0.1], size=400
    )
    return bx.Windows(tokens.encode("".join(symbols)), 6)[:]


def net(seed):
    return bx.models.Transformer(5, 8, 1, 2, 6, key=jax.random.key(seed))


SHORT = bx.FixedSettings(Temperature(30.0), 100.0, bx.SGLD(1e-3), draws=20, thin=10)


def of_text(model, batch=16):
    data = bx.Subsampled(bx.Empirical(text()), batch)
    return bx.CrossEntropy(model, data, count="tokens")


def by_hand(
    model, keys, batch=16, gamma=100.0, per_mean=30.0, step=1e-3, warmup=50, draws=20, thin=10
):
    """λ̂ of each key, by SGLD as one writes it: plain JAX."""
    x, y = map(jnp.asarray, text())
    centre = weights_of(model)

    def loss(w, x, y):
        log_p = jax.nn.log_softmax(jax.vmap(with_weights(model, w))(x))
        return -jnp.mean(jnp.take_along_axis(log_p, y[..., None], -1))

    def move(w, key):
        key_batch, *rest = jax.random.split(key, 1 + len(w))
        chosen = jax.random.choice(key_batch, len(x), (batch,), replace=False)
        slope = jax.grad(loss)(w, x[chosen], y[chosen])
        return {
            path: w[path]
            - 0.5 * step * (per_mean * slope[path] + gamma * (w[path] - centre[path]))
            + jnp.sqrt(step) * jax.random.normal(k, w[path].shape)
            for path, k in zip(w, rest, strict=True)
        }, None

    def row(w, key):
        w, _ = jax.lax.scan(move, w, jax.random.split(key, thin))
        return w, loss(w, x, y)

    def chain(key):
        return jax.lax.scan(row, centre, jax.random.split(key, warmup // thin + draws))[1]

    losses = np.asarray(jax.jit(jax.vmap(chain))(keys), float)[:, warmup // thin :]
    return per_mean * (losses.mean(axis=1) - float(loss(centre, x, y)))


@pytest.mark.slow
def test_a_transformer_has_the_coefficient_of_sgld_by_hand():
    model = net(0)
    found = bx.local_coefficient_at(of_text(model), SHORT, key=key)
    reference = bx.Estimate.of_samples(by_hand(model, jax.random.split(key, 16)))
    assert abs(float((found.estimate - reference).z_score(0.0))) < 4
    assert "not_a_minimum" in found.wrong and not found.usable
    assert "not a minimum" in found.reason and "max_gradients" not in found.reason


@pytest.mark.slow
def test_energies_from_minibatches_have_the_same_mean():
    """With so few steps a draw, energies over all data would cost more than the steps."""
    model = net(0)
    settings = eqx.tree_at(lambda s: s.temperature, SHORT, Temperature(30.0))
    often = bx.FixedSettings(
        settings.temperature, 100.0, bx.SGLD(1e-3), draws=200, thin=1, warmup=100
    )
    found = bx.local_coefficient_at(of_text(model, 8), often, key=key)
    reference = bx.Estimate.of_samples(by_hand(model, jax.random.split(key, 16), batch=8))
    assert abs(float((found.estimate - reference).z_score(0.0))) < 4


def test_checkpoints_of_a_training_come_as_models_or_from_a_folder(tmp_path):
    models = [line(BEST + shift).model for shift in (1.0, 0.1, 0.0)]
    found = bx.along_training(line(), models, FEW, key=key, steps=[0, 10, 200])
    assert found.coefficient.axis == "step" and list(found.coefficient.x) == [0, 10, 200]
    losses = [0.5 * np.sum((X @ model.w - Y) ** 2) / 12 for model in models]
    np.testing.assert_allclose(found.loss.value, losses, rtol=1e-5)
    rise = 12 * (found.loss_of_draws.value - found.loss.value)
    np.testing.assert_allclose(rise, found.coefficient.value, rtol=1e-3, atol=1e-3)
    assert "of draws" in repr(found)
    for step, model in zip((0, 10, 200), models, strict=True):
        np.savez(tmp_path / f"model_{step}.npz", **weights_of(model))
    (tmp_path / "notes.txt").write_text("nothing")
    free = found.free_energy(100.0)
    np.testing.assert_allclose(
        free.value, 100 * found.loss.value + np.log(100) * found.coefficient.value, rtol=1e-6
    )
    errors = np.log(100) * found.coefficient.standard_error
    np.testing.assert_allclose(free.standard_error, errors, rtol=1e-6)
    assert free.axis == "step"
    again = bx.along_training(line(), tmp_path, FEW, key=key)
    np.testing.assert_array_equal(again.coefficient.x, found.coefficient.x)
    np.testing.assert_array_equal(again.coefficient.value, found.coefficient.value)


def test_checkpoints_of_equinox_and_orbax_are_read(tmp_path):
    orbax = pytest.importorskip("orbax.checkpoint")
    model = net(3)
    eqx.tree_serialise_leaves(tmp_path / "step_5.eqx", model)
    with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as writer:
        writer.save(tmp_path / "12", args=orbax.args.StandardSave(weights_of(model)))
    found = stored_models(tmp_path, net(4))
    assert [step for step, _ in found] == [5, 12]
    for _, read in found:
        assert bool(eqx.tree_equal(read(), model))
    with pytest.raises(bx.DeclarationError, match="differ in"):
        stored_models(tmp_path, bx.models.Transformer(5, 8, 1, 4, 6))[1][1]()
    with pytest.raises(bx.DeclarationError, match="without checkpoints"):
        stored_models(tmp_path / "none", model)


def test_checkpoints_that_are_done_are_not_run_again(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    saved = bx.Checkpoints(tmp_path)
    models = [line().model, line(BEST + 1).model]
    few = bx.along_training(line(), models[:1], FEW, key=key, checkpoints=saved)
    before = sorted(tmp_path.glob("step_0/records/*"))
    all_of_them = bx.along_training(line(), models, FEW, key=key, checkpoints=saved)
    assert sorted(tmp_path.glob("step_0/records/*")) == before
    assert list(tmp_path.glob("step_1/records/*"))
    assert float(all_of_them.coefficient[0]) == float(few.coefficient[0])
    with pytest.raises(bx.DeclarationError, match="another declaration"):
        bx.along_training(line(), models[1:], FEW, key=key, checkpoints=saved)


def named(folder, *names):
    for path in folder.iterdir():
        path.unlink()
    for name in names:
        np.savez(folder / name, w=np.zeros(3))
    return stored_models(folder, line().model)


def test_the_step_is_read_from_the_name(tmp_path):
    for name, step in {
        "model_00200.npz": 200,
        "step100_loss0.100.npz": 100,
        "loss0.100_Steps-7.npz": 7,
        "epoch=3-step=1000.npz": 1000,
        "gpt2_epoch_4.npz": 4,
        "iteration12_of_90.npz": 12,
        "m_3_loss0.5.npz": 3,
    }.items():
        assert [step for step, _ in named(tmp_path, name)] == [step]
    ordered = named(tmp_path, "step2_loss0.9.npz", "step10_loss0.8.npz", "step100_loss0.1.npz")
    assert [step for step, _ in ordered] == [2, 10, 100]
    for unclear in ("gpt2_100.npz", "loss0.5.npz", "step1_step2.npz", "step1.5.npz"):
        with pytest.raises(bx.DeclarationError, match=unclear) as caught:
            named(tmp_path, unclear)
        assert caught.value.argument == "models"


def test_two_checkpoints_of_one_step_are_refused(tmp_path):
    named(tmp_path, "m_2.npz", "m_10.npz")
    eqx.tree_serialise_leaves(tmp_path / "m_2.eqx", line().model)
    with pytest.raises(bx.DeclarationError, match=r"m_2.eqx and m_2.npz.*step 2"):
        bx.along_training(line(), tmp_path, LONG, key=key)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float64, np.int64])
def test_weights_of_other_dtypes_are_read(tmp_path, dtype):
    np.savez(tmp_path / "m_1.npz", w=np.array([1, -2, 3]).astype(dtype))
    ((_, read),) = stored_models(tmp_path, line().model)
    np.testing.assert_array_equal(read().w, [1, -2, 3])
    assert read().w.dtype == line().model.w.dtype


def test_files_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "m_1.npz"

    def refused(match):
        ((_, read),) = stored_models(tmp_path, line().model)
        with pytest.raises(bx.DeclarationError, match=match) as caught:
            read()
        assert caught.value.argument == "models" and "m_1.npz" in str(caught.value)

    path.write_bytes(b"no archive")
    refused("not a zip file")
    np.save(tmp_path / "bare.npy", np.zeros(3))
    (tmp_path / "bare.npy").rename(path)
    refused("not a zip file")
    for wrong in (np.array([{"a": 1}]), np.array(["a"]), np.zeros(3, "V1")):
        np.savez(path, w=wrong)
        refused("the array 'w'")
    np.savez(path, w=np.zeros(3))
    path.write_bytes(path.read_bytes()[:60])
    refused("cannot be read")


def test_a_checkpoint_between_others_leaves_their_runs_as_they_are(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    few = bx.FixedSettings(1.0, GAMMA, bx.SGLD(STEP), warmup=10, draws=8, thin=2)
    models = [line(BEST + shift).model for shift in (0.0, 0.1, 0.2, 0.3)]
    arguments = {"key": key, "checkpoints": bx.Checkpoints(tmp_path)}

    def run(places, steps):
        some = [models[i] for i in places]
        return bx.along_training(line(), some, few, steps=steps, **arguments).coefficient.value

    first = run([0, 3], [0, 10])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    more = run([0, 1, 2, 3], [0.0, 0.5, 2, 10])
    np.testing.assert_array_equal(more[np.array([0, 3])], first)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert before.items() < after.items()
    assert {path.name for path in tmp_path.iterdir()} == {"step_0", "step_0.5", "step_2", "step_10"}
    assert len({float(value) for value in more}) == 4


@pytest.mark.parametrize("steps", [[5, 5], [5, 1], [1, np.nan], [1, np.inf]])
def test_steps_that_do_not_rise_are_refused(steps):
    with pytest.raises(bx.DeclarationError, match="larger than the one before") as caught:
        bx.along_training(line(), [line().model] * 2, LONG, key=key, steps=steps)
    assert caught.value.argument == "steps"


def test_wrong_arguments_are_refused():
    with pytest.raises(bx.DeclarationError, match="steps"):
        bx.along_training(line(), [line().model], LONG, key=key, steps=[1, 2])
    with pytest.raises(bx.DeclarationError, match="no parts"):
        bx.part_coefficients(line(), {}, LONG, key=key)
    exact_sampler = bx.FixedSettings(1.0, 1.0, bx.HMC())
    with pytest.raises(bx.DeclarationError, match="kernel"):
        bx.coefficient_grid(line(), exact_sampler, key=key, step_sizes=[0.1], localisations=[1.0])
    with pytest.raises(bx.DeclarationError, match="axis without values"):
        bx.coefficient_grid(line(), LONG, key=key, step_sizes=[], localisations=[1.0])


def test_the_noise_of_energies_is_counted_in_nats():
    """Of noise of variance 9 in energies, at β = 1/2, that of `β E` is 9/4."""
    own = np.random.default_rng(1)
    slow = np.repeat(own.normal(size=(4, 25)), 40, axis=1)
    energy = 2 * slow + 3 * own.normal(size=slow.shape)
    gibbs = bx.compile(line(), bx.Normal(), beta=0.5, marginalise=False)
    records = {
        "energy": energy.T, "energy_noise": np.full((1000, 4), 9.0), "log_prior": 0 * energy.T,
        "moved": np.ones((1000, 4), bool), "divergent": np.zeros((1000, 4), bool),
    }  # fmt: skip
    found = _judged(gibbs, 0.0, records, 1.0, 3, bx.Status.successful).estimate
    expected, other = (careful_estimate(0.5 * energy, None, noise) for noise in (9 / 4, 9 / 2))
    assert float(found.ess) == pytest.approx(float(expected.ess), rel=1e-6)
    assert float(other.ess) != pytest.approx(float(expected.ess), rel=1e-3)


@pytest.mark.parametrize("value", [50.0, -50.0, 0.4])
@pytest.mark.parametrize("share", [0.19, 0.21])
def test_an_error_beyond_a_fifth_of_the_value_is_imprecise(value, share):
    """Independent numbers of which the mean and its error are those asked for."""
    numbers = np.random.default_rng(2).normal(size=(4, 1000))
    numbers = (numbers - numbers.mean()) / float(
        careful_estimate(numbers, None, 0.0).standard_error
    )
    energy = value + share * abs(value) * numbers
    gibbs = bx.compile(line(), bx.Normal(), beta=1.0, marginalise=False)
    records = {
        "energy": energy.T, "log_prior": 0 * energy.T,
        "moved": np.ones((1000, 4), bool), "divergent": np.zeros((1000, 4), bool),
    }  # fmt: skip
    found = _judged(gibbs, 0.0, records, 1e9, 3, bx.Status.successful)
    assert float(found.estimate.value) == pytest.approx(value)
    assert float(found.estimate.standard_error) == pytest.approx(share * abs(value), rel=1e-6)
    assert ("imprecise" in found.wrong) == (share > 0.2)
