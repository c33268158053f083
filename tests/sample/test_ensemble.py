"""Weights with named axes: slices, means, foreign draws."""

import dataclasses
import functools
import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import weights_of

KEY = jax.random.key(7)
NET = bx.models.TwoLayer(3, key=KEY)
ENERGY = bx.SquaredError(NET, bx.GaussianMeasure(1, order=12), bx.zero)


@functools.cache
def whole():
    """All six weights are sampled."""
    return bx.compile(ENERGY, bx.Independent({"*": bx.Normal(0.5, 2.0)}), marginalise=False)


@functools.cache
def trace():
    levels = whole().at(jnp.array([0.5, 2.0]))
    return bx.sample(levels, bx.RandomWalk(), key=KEY, chains=2, warmup=40, draws=40, throw=False)


def squares(model):
    return {"in": jnp.sum(model.embedding**2), "out": model.readout**2}


def same(a, b):
    return jax.tree.all(jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b))


def test_a_trace_and_its_ensemble_give_the_same_means():
    ensemble = trace().ensemble
    assert (ensemble.axes, ensemble.shape) == (("beta", "chain", "draw"), (2, 2, 40))
    assert same(ensemble.mean(squares), trace().mean(squares))


@given(st.tuples(st.integers(-2, 1) | st.slices(2), st.slices(2), st.slices(40)))
def test_a_part_of_a_map_is_the_map_of_the_part(places):
    """The law of slices: they keep every field, the betas too."""
    values = trace().ensemble.map(squares)
    part = trace().ensemble[places]
    assert part.shape == values["in"][places].shape
    assert np.array_equal(part.gibbs.beta, trace().gibbs.beta[places[:1]])
    kept = [
        axis for axis, i in zip(trace().ensemble.axes, places, strict=True) if isinstance(i, slice)
    ]
    assert part.axes == tuple(kept)
    assert same(part.w, {path: leaf[places] for path, leaf in trace().w.items()})


def test_means_of_independent_draws():
    """Under the prior `E w² = mean² + scale² = 4.25` for each of three weights."""
    prior = bx.Ensemble.prior(whole(), 4000, key=KEY)
    found = prior.mean(squares)
    assert abs(float(found["in"].z_score(12.75))) < 4
    assert np.all(np.abs(found["out"].z_score(4.25)) < 4)
    # var w² = 2 scale⁴ + 4 mean² scale² = 36
    assert found["out"].standard_error == pytest.approx(np.full(3, 6 / 4000**0.5), rel=0.2)
    part = prior.take(300, key=KEY)
    assert part.axes == ("sample",)
    assert abs(float(part.mean(squares)["in"].z_score(12.75))) < 4


def test_draws_taken_from_chains_have_no_error():
    taken = trace().ensemble[0].take(10, key=KEY)
    assert taken.axes == ("subset",)
    assert taken.map(squares)["in"].shape == (10,)
    with pytest.raises(bx.DeclarationError, match="axes"):
        taken.mean(squares)


def test_draws_made_elsewhere():
    prior = bx.Ensemble.prior(whole(), 8, key=KEY)
    foreign = bx.Ensemble.of(whole(), {path: np.asarray(leaf) for path, leaf in prior.w.items()})
    assert same(foreign.map(squares), prior.map(squares))
    stacked = prior.models()
    arrays, rest = eqx.partition(stacked, eqx.is_array)
    parts = [jax.tree.map(operator.itemgetter(i), arrays) for i in range(8)]
    models = [eqx.combine(part, rest) for part in parts]
    for given_models in (stacked, models):
        again = bx.Ensemble.of_models(whole(), given_models)
        assert again.axes == ("sample",)
        for path, leaf in prior.w.items():
            np.testing.assert_allclose(again.w[path], leaf, rtol=1e-12)


def test_weights_that_were_integrated_out_are_drawn():
    """`E |f|² = Tr(K (1 + K)⁻¹)` is what the readout of `f` adds; here: by the same key twice."""
    marginal = bx.compile(ENERGY, bx.Normal(), beta=3.0)
    prior = bx.Ensemble.prior(marginal, 16, key=KEY)
    first, second = prior.map(squares), prior.map(squares)
    other = prior.map(squares, key=jax.random.key(1))
    assert same(first, second) and same(first["in"], other["in"])
    assert not same(first["out"], other["out"])


def test_runs_of_different_keys_draw_other_weights_that_were_integrated_out():
    line = bx.SquaredError(bx.models.DeepLinear((1, 1)), bx.GaussianMeasure(1), bx.zero)
    exact, half = (bx.compile(each, bx.Normal(), beta=3.0) for each in (line, ENERGY))
    few = {"chains": 2, "warmup": 4, "draws": 8, "throw": False}
    runs = {
        "all": lambda key: bx.sample(exact, key=key, draws=8).ensemble,
        "levels": lambda key: bx.anneal(exact, (0.5, 1.0), key=key, draws=8, keep=True).ensemble[
            :1
        ],
        "some": lambda key: bx.sample(half, bx.RandomWalk(), key=key, **few).ensemble,
        "prior": lambda key: bx.Ensemble.prior(half, 8, key=key),
    }
    for name, run in runs.items():
        one, again, other = (run(jax.random.key(seed)) for seed in (1, 1, 2))
        other = dataclasses.replace(other, w=one.w)
        drawn = [each.map(weights_of) for each in (one, again, other)]
        last = [jax.tree.leaves(each)[-1] for each in drawn]
        assert np.array_equal(last[0], last[1]) and not np.any(last[0] == last[2]), name


WRONG = {
    "axes": lambda e: bx.Ensemble.of(whole(), e.w, ("chain", "chain", "draw")),
    "w": lambda e: bx.Ensemble.of(whole(), {"embedding": np.ones((4, 3, 1))}),
    "models": lambda e: bx.Ensemble.of_models(whole(), NET),
    "models[1]": lambda e: bx.Ensemble.of_models(whole(), [NET, bx.models.TwoLayer(2)]),
    "gibbs": lambda e: bx.Ensemble(e.gibbs, e.w, ("a", "b", "c"), (3, 2, 40)),
    "index": lambda e: e[jnp.arange(2)],
    "ensemble": lambda e: e.take(3, key=KEY),
    "values": lambda e: e.mean_of(np.ones((2, 2, 4))),
}


@pytest.mark.parametrize("argument", list(WRONG))
def test_wrong_ensembles(argument):
    with pytest.raises(bx.DeclarationError) as error:
        WRONG[argument](trace().ensemble)
    assert error.value.argument == argument


@pytest.mark.parametrize("axis", ["sample", "neuron", "subset", "chain", "draw"])
def test_draws_of_different_laws_have_no_common_mean(axis):
    """An axis of draws cannot be that of the betas, whatever its size."""
    levels, prior = whole().at(jnp.array([0.5, 1.0, 2.0])), bx.Ensemble.prior(whole(), 3, key=KEY)
    with pytest.raises(bx.DeclarationError, match="different laws") as error:
        bx.Ensemble.of(levels, prior.w, (axis,))
    assert error.value.argument == "axes"
    assert bx.Ensemble.of(levels, prior.w, ("beta",)).shape == (3,)


def test_weights_outside_the_support():
    uniform = bx.compile(ENERGY, bx.Uniform(-1.0, 1.0), marginalise=False)
    with pytest.raises(bx.DeclarationError, match="support"):
        bx.Ensemble.of_models(
            uniform, [eqx.tree_at(lambda net: net.readout, NET, jnp.full(3, 9.0))]
        )


def test_indices_out_of_bounds():
    with pytest.raises(IndexError):
        trace().ensemble[2]


def test_a_slice_of_a_trace_keeps_every_field():
    """A run at some betas is the run at these betas, in energies, sums, gradients and moves."""
    betas = jnp.array([0.5, 1.0, 2.0])
    options = {"warmup": 20, "draws": 16, "reduce": {"w": bx.Mean(squares, 4)}, "throw": False}
    run = bx.sample(whole().at(betas), bx.MALA(), key=KEY, **options)
    part = run[1:]
    for name, field in vars(run).items():
        if name in ("gibbs", "status", "bridges", "key"):
            continue
        pairs = zip(jax.tree.leaves(field), jax.tree.leaves(vars(part)[name]), strict=True)
        assert all(np.array_equal(a[1:], b, equal_nan=True) for a, b in pairs), name
    assert part.reduced and part.gradients is not None and part.key is run.key is not None
    assert np.array_equal(part.gibbs.beta, betas[1:])
    means = jax.tree.map(lambda leaf: leaf[1:], run.mean(lambda m: m.readout))
    assert np.array_equal(part.mean(lambda m: m.readout).value, means.value)


def test_models_are_not_taken_where_their_weights_were_integrated_out():
    gibbs = bx.compile(ENERGY, bx.Independent({"*": bx.Normal(0.5, 2.0)}), marginalise=True)
    with pytest.raises(
        bx.DeclarationError, match=r"(?s)`gibbs`.*integrated out.*marginalise=False"
    ):
        bx.Ensemble.of_models(gibbs, [NET, NET])


def test_places_are_whole_numbers_of_any_kind():
    ensemble = bx.Ensemble.of_models(whole(), [NET, NET, NET])
    for place in (1, np.int64(1), jnp.asarray(1)):
        assert ensemble[place].shape == ()
    assert ensemble[np.int64(1) : jnp.asarray(3)].shape == ensemble[-2:].shape == (2,)
    for place in (True, 1.0, "a", None, slice(1.5), slice("a", None), slice(None, None, 0)):
        with pytest.raises(bx.DeclarationError, match="`index`"):
            ensemble[place]
