"""Any names and any values survive a store; folders that are not ours are refused before a run."""

import string

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax.report._names import stored_name
from boltzax.report._xarray import _dataset
from boltzax.sample import Chains, Plan

KEY = jax.random.key(0)
ODD = ["mlp/~/linear_0", "..", ".", "", "beta", "chain", "draw", "x_dim_0", "x", "zarr.json", "%2f"]
ODD += ["a\\b", "__init__", "w. ", "ä", "β" * 150, "a" * 300, "a" * 299 + "b", "\ud800", "a\nb"]
WALK = bx.RandomWalk()


def predict(w, x):
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(w)) * x[0]


def odd_model():
    some = ("mlp/~/linear_0", "..", "", "beta", "a" * 300, "\ud800")
    return bx.models.Function(predict, {name: {"w": jnp.ones(2)} for name in some})


def odd() -> bx.Gibbs:
    data = bx.Empirical((np.ones((3, 1)), np.ones(3)))
    return bx.compile(bx.SquaredError(odd_model(), data), bx.Normal(), marginalise=False)


GIBBS = odd()
PLAIN = bx.compile(
    bx.SquaredError(
        bx.models.Function(predict, jnp.ones(2)), bx.Empirical((np.ones((3, 1)), np.ones(3)))
    ),
    bx.Normal(),
    marginalise=False,
)

names = st.text(max_size=12) | st.sampled_from(ODD) | st.text(string.printable, max_size=4)
values = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e308, 5e-324])
kinds = st.sampled_from(["float64", "float32", "bfloat16", "int32", "bool", "complex64", "float16"])


@given(st.lists(names, min_size=2, max_size=20, unique=True))
def test_different_names_stay_different_and_are_one_part_of_a_path(found):
    stored = [stored_name(name) for name in found]
    assert len(set(stored)) == len(stored)
    for name in stored:
        assert name not in ("", ".", "..", "zarr.json", "beta", "chain", "draw")
        assert not set(name) & set("/\\\0") and len(name.encode()) <= 200
        assert stored_name(name) == name or "%" in name
    dimensions = {f"{name}_dim_{i}" for name in stored for i in range(3)}
    assert not dimensions & set(stored)


@given(
    st.dictionaries(names, st.tuples(st.lists(values, min_size=1, max_size=3), kinds), min_size=1),
    st.sampled_from([(), (0,), (2,)]),
)
def test_any_names_and_values_survive_a_store(tmp_path_factory, leaves, shape):
    """Two chunks; the run is then resumed, which asks how many draws there are."""
    path = tmp_path_factory.mktemp("store") / "s"
    w = {}
    for name, (some, kind) in leaves.items():
        with np.errstate(all="ignore"):
            cast = jnp.asarray(np.resize(some, (3, 2, *shape))).astype(kind)
        w[name] = np.asarray(cast)
    nan = np.full((3, 2), np.nan)
    records = {"energy": nan, "divergent": np.zeros((3, 2), bool), "w": w}
    plan = Plan(Chains(PLAIN, WALK, True), {}, KEY, 0, 1, 3, 6)
    write = bx.ZarrSink(path).begin(plan, 0)
    for first in (0, 3):
        assert "w" not in write(first, records)
    bx.ZarrSink(path).begin(plan, 6)
    data = bx.open_zarr(path)
    assert data.sizes["draw"] == 6
    by_name = {data[key].attrs["name"]: data[key].values for key in data.data_vars}
    assert set(by_name) == {"energy", "diverging", *(f"w.{name}" for name in w)}
    for name, leaf in w.items():
        wide = leaf.astype(np.float32) if leaf.dtype.kind == "V" else leaf
        twice = np.moveaxis(np.concatenate([wide, wide]), 0, 1)
        assert twice.tobytes() == by_name[f"w.{name}"].tobytes()


@pytest.mark.slow
def test_a_model_with_such_names_from_end_to_end(tmp_path):
    run = {"key": KEY, "chains": 2, "warmup": 0, "draws": 20, "throw": False}
    assert bx.sample(GIBBS, WALK, sink=bx.ZarrSink(tmp_path / "s"), **run).w is None
    trace = bx.load_trace(tmp_path / "s", GIBBS)
    assert trace.w is not None and set(trace.w) == set(GIBBS.coordinates.priors)
    assert trace.status == bx.sample(GIBBS, WALK, **run).status
    tree = bx.to_xarray(trace)
    assert {each.attrs["name"] for each in tree["posterior"].values()} == set(trace.w)


def test_weights_with_the_names_of_dimensions_in_a_tree():
    """`chain`, `beta` and `x_dim_0` beside `x`, of a run at two betas."""
    shape = (2, 3, 4)
    trace = bx.Trace(
        PLAIN.at(jnp.array([0.5, 1.0])), *[jnp.zeros(shape)] * 3, jnp.zeros(shape, bool), None,
        bx.Status.successful,
    )  # fmt: skip
    leaves = {name: jax.random.normal(KEY, (*shape, 2)) for name in ODD}
    data = xarray.DataTree.from_dict({"posterior": _dataset(trace, leaves)})["posterior"]
    assert {each.attrs["name"] for each in data.values()} == set(ODD)
    assert data.sizes["beta"] == 2
    for each in data.values():
        assert np.array_equal(np.moveaxis(each.values, 2, 0), leaves[each.attrs["name"]])


def test_names_that_records_have_cannot_be_derived():
    for name in ("energy", "w.x", "written", "beta"):
        with pytest.raises(bx.DeclarationError, match="derive"):
            bx.ZarrSink("s", derive={name: lambda model: 0.0})


def run(**more):
    return bx.sample(PLAIN, WALK, key=KEY, warmup=4, draws=20, throw=False, **more)


@pytest.mark.parametrize("where", ["a file", "under a file", "no folder of the system"])
@pytest.mark.parametrize("what", ["sink", "checkpoints"])
def test_folders_that_cannot_be_written(tmp_path, where, what):
    (tmp_path / "file").write_text("mine")
    place = {
        "a file": tmp_path / "file",
        "under a file": tmp_path / "file" / "x",
        "no folder of the system": "/proc/none/x",
    }[where]
    kind = {"sink": bx.ZarrSink, "checkpoints": bx.Checkpoints}[what]
    with pytest.raises(bx.DeclarationError, match=f"(?s){what}.*folder that can be made"):
        run(**{what: kind(place)})
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["records/0-5.npz", "states/12abc", "states/notes.txt"])
def test_foreign_files_where_checkpoints_are_kept(tmp_path, name):
    for folder in ("records", "states"):
        (tmp_path / folder).mkdir()
    (tmp_path / name).write_text("mine")
    (tmp_path / "records" / ".hidden").write_text("of the system")
    with pytest.raises(bx.DeclarationError, match=f"something else: {name}"):
        run(checkpoints=bx.Checkpoints(tmp_path))
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", '{"zarr_format": 3, "node_type": "array"}', "[]"])
def test_foreign_files_where_a_store_is_asked_for(tmp_path, text):
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(bx.DeclarationError, match="no draws of boltzax"):
        run(sink=bx.ZarrSink(tmp_path))
    with pytest.raises(bx.DeclarationError, match="no draws of boltzax"):
        bx.load_trace(tmp_path, PLAIN)
