"""`to_xarray`: the layout, the numbers, and that ArviZ reads it."""

import warnings

import jax
import numpy as np
import pytest

import boltzax as bx

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as az


@pytest.fixture(scope="module")
def tree(curve):
    return bx.to_xarray(curve)


@pytest.mark.slow
def test_chain_and_draw_come_first_and_beta_after(tree, curve):
    posterior, statistics = tree["posterior"], tree["sample_stats"]
    chains, draws, betas = curve.energy.shape[1], curve.energy.shape[2], curve.energy.shape[0]
    assert posterior["embedding"].dims[:3] == ("chain", "draw", "beta")
    assert posterior["embedding"].shape == (chains, draws, betas, 3, 1)
    assert posterior["readout"].shape == (chains, draws, betas, 3)
    for name in ("energy", "energy_variance", "acceptance_rate", "diverging"):
        assert statistics[name].dims == ("chain", "draw", "beta")
    np.testing.assert_array_equal(statistics["beta"], curve.betas)


def test_every_number_lies_where_it_belongs(tree, curve):
    energy = tree["sample_stats"]["energy"]
    assert energy.values[2, 5, 1] == curve.energy[1, 2, 5]
    embedding = tree["posterior"]["embedding"].values[2, 5, 1]
    one = jax.tree.map(lambda leaf: leaf[1, 2, 5], curve.w)
    np.testing.assert_allclose(embedding, curve.gibbs.constrain(one)["embedding"], rtol=1e-12)


def test_weights_are_in_the_models_coordinates(tree):
    assert np.all(np.abs(tree["posterior"]["embedding"]) < 1)


def test_an_integrated_readout_is_drawn_from_its_law(curve):
    first = bx.to_xarray(curve, jax.random.key(1))["posterior"]["readout"].values
    again = bx.to_xarray(curve, jax.random.key(1))["posterior"]["readout"].values
    other = bx.to_xarray(curve, jax.random.key(2))["posterior"]["readout"].values
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)
    # the more data, the narrower: the target is zero
    spread = first.std(axis=(0, 1, 3))
    assert np.all(np.diff(spread) < 0) and 0.2 < spread[0] < 1.1


def test_frozen_and_tied_weights_are_left_out(make, single):
    net = bx.models.TwoLayer(width=3, bias=True, key=jax.random.key(0))
    energy = bx.SquaredError(net, bx.GaussianMeasure(), target=bx.zero)
    gibbs = bx.compile(energy, prior=bx.Independent({"*": bx.Normal()}), chart=bx.Freeze("bias"))
    shape = single.energy.shape
    w = {"embedding": np.zeros((*shape, 3, 1))}
    assert set(w) == set(gibbs.sample_prior(jax.random.key(0)))
    fields = (single.energy, single.energy_variance, single.acceptance, single.divergent)
    run = bx.Trace(gibbs, *fields, w, single.status)
    assert set(bx.to_xarray(run)["posterior"].data_vars) == {"embedding", "readout"}


def test_a_single_temperature_has_no_beta_axis(single):
    tree = bx.to_xarray(single)
    assert tree["sample_stats"]["energy"].dims == ("chain", "draw")
    assert float(tree["sample_stats"]["beta"]) == 8.0
    assert "ladder" not in tree


def test_energies_alone(make):
    tree = bx.to_xarray(make(keep=False))
    assert set(tree.children) == {"sample_stats", "ladder"}


def test_the_ladder_is_there(tree, curve):
    ladder = tree["ladder"]
    np.testing.assert_array_equal(ladder["level"], curve.bridges.betas)
    assert ladder["energy"].dims == ("chain", "draw", "level")
    np.testing.assert_array_equal(
        ladder["energy"].isel(level=slice(1, None)), tree["sample_stats"]["energy"]
    )
    assert ladder["swap_rate"].shape == (len(curve.bridges.betas) - 1,)


def test_attributes_say_what_it_is(tree, curve):
    assert tree.attrs["status"] == bx.Status[bx.Status.successful]
    assert tree.attrs["gibbs"] == repr(curve.gibbs)
    assert tree.attrs["inference_library"] == "boltzax"


def test_arviz_reads_it(tree, curve):
    """ArviZ 1 reads trees, older versions their own `InferenceData`."""
    if int(az.__version__.split(".")[0]) < 1:
        data = az.InferenceData.from_datatree(tree)
        stats = {"data": data.sample_stats, "kind": "stats"}
    else:
        data, stats = tree, {"data": tree, "group": "sample_stats", "kind": "stats"}
    table = az.summary(data, var_names=["embedding"])
    assert len(table) == 4 * 3 and {"ess_bulk", "r_hat"} <= set(table.columns)
    mean = az.summary(**stats, var_names=["energy"], round_to=12)["mean"]
    ours = bx.learning_coefficient(curve).value
    np.testing.assert_allclose(mean.to_numpy(float) * np.asarray(curve.betas), ours, rtol=1e-6)


def test_an_ensemble_and_its_pointwise_log_likelihood():
    """`arviz.loo` reads the losses of the data; their sum is `-β E`."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(9, 1))
    data = bx.Empirical((x, np.sin(x[:, 0])), weights=rng.uniform(0.5, 2.0, 9))
    net = bx.models.TwoLayer(2, key=jax.random.key(0))
    energy = 2.0 * bx.SquaredError(net, data)
    gibbs = bx.compile(energy, bx.Normal(), beta=3.0, marginalise=False)
    ensemble = bx.Ensemble.prior(gibbs, 40, key=jax.random.key(1))
    tree = bx.to_xarray(ensemble, log_likelihood=energy)
    assert tree["posterior"]["readout"].dims[:2] == ("chain", "draw")
    assert dict(tree["posterior"].sizes)["draw"] == 40
    each = tree["log_likelihood"]["datum"]
    assert each.shape == (1, 40, 9)
    total = ensemble.map(gibbs.energy_of)
    np.testing.assert_allclose(each.sum("datum_dim_0").values[0], -3.0 * total, rtol=1e-12)
    with pytest.raises(bx.DeclarationError, match="log_likelihood"):
        bx.to_xarray(ensemble, log_likelihood=energy + bx.SquaredError(net, data))


@pytest.mark.parametrize(
    "axes, dims, beta",
    [
        (("beta", "sample"), ("draw", "beta"), ("beta",)),
        (("sample", "neuron"), ("draw", "neuron"), ()),
        (("neuron", "sample"), ("draw", "sample"), ()),
        (("draw", "sample"), ("draw", "sample"), ()),
    ],
)
def test_an_ensemble_of_any_axes(axes, dims, beta):
    net = bx.models.TwoLayer(2, key=jax.random.key(0))
    energy = bx.SquaredError(net, bx.Empirical((np.ones((3, 1)), np.ones(3))))
    gibbs = bx.compile(energy, bx.Normal(), beta=3.0, marginalise=False)
    flat = bx.Ensemble.prior(gibbs, 6, key=jax.random.key(1)).w
    w = {path: leaf.reshape(3, 2, *leaf.shape[1:]) for path, leaf in flat.items()}
    posterior = bx.to_xarray(bx.Ensemble.of(gibbs, w, axes))["posterior"]
    readout = posterior["readout"]
    assert readout.dims[:3] == ("chain", *dims)
    moved = readout.transpose("chain", *(d if d in dims else "draw" for d in axes), ...)
    np.testing.assert_array_equal(moved.values[0], w["readout"])
    assert posterior["beta"].dims == beta and np.all(posterior["beta"] == 3.0)


def test_betas_lie_on_the_axis_that_they_have():
    net = bx.models.TwoLayer(2, key=jax.random.key(0))
    energy = bx.SquaredError(net, bx.Empirical((np.ones((3, 1)), np.ones(3))))
    one = bx.compile(energy, bx.Normal(), marginalise=False)
    gibbs, flat = one.at(np.array([1.0, 2.0])), bx.Ensemble.prior(one, 6, key=jax.random.key(1)).w
    w = {path: leaf.reshape(2, 3, *leaf.shape[1:]) for path, leaf in flat.items()}
    found = bx.to_xarray(bx.Ensemble.of(gibbs, w, ("heat", "sample")))["posterior"]
    assert found["beta"].dims == ("heat",)
    with pytest.raises(bx.DeclarationError, match="axes"):
        bx.to_xarray(bx.Ensemble.of(gibbs, w, ("readout", "sample")))


def test_loo_of_an_ensemble():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 1))
    net = bx.models.TwoLayer(1, key=jax.random.key(0))
    energy = bx.SquaredError(net, bx.Empirical((x, rng.normal(size=30))))
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    tree = bx.to_xarray(bx.Ensemble.prior(gibbs, 200, key=jax.random.key(1)), log_likelihood=energy)
    old = int(az.__version__.split(".")[0]) < 1
    found = az.loo(az.InferenceData.from_datatree(tree) if old else tree)
    assert np.isfinite(float(found.elpd_loo if old else found.elpd))
