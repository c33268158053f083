"""Draws that stream to a Zarr store: what is in it, and what happens when a run is cut."""

import dataclasses
import resource
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import Chains, loop

X = jax.random.normal(jax.random.key(0), (20, 2))
Y = X[:, 0]
RUN = {"key": jax.random.key(1), "warmup": 6, "chains": 3, "throw": False}


def predict(w, x):
    return jnp.sum(jnp.tanh(w) * x)


def gibbs(beta=1.0, prior=1.0) -> bx.Gibbs:
    model = bx.models.Function(predict, jnp.zeros(2))
    energy = bx.SquaredError(model, bx.Empirical((X, Y)))
    return bx.compile(energy, bx.Normal(0.0, prior), marginalise=False).at(jnp.asarray(beta))


def loss(model):
    return jax.vmap(lambda x, y: 0.5 * (model(x) - y) ** 2)(X, Y)


def same(a, b) -> bool:
    a, b = ([unkeyed(leaf) for leaf in jax.tree.leaves(each)] for each in (a, b))
    return len(a) == len(b) and all(np.array_equal(*each) for each in zip(a, b, strict=True))


def unkeyed(leaf):
    """The numbers of a key, or a leaf as it is."""
    key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if key else leaf


class Cut(Exception):
    """The run is cut."""


@dataclasses.dataclass(frozen=True)
class CutAt:
    """A measure of time: raises when a chunk is written."""

    draw: int

    def __call__(self, store, first, *_):
        if first >= self.draw:
            raise Cut


@pytest.mark.slow
@pytest.mark.parametrize("beta", [1.0, [0.5, 1.0, 2.0]], ids=["one beta", "three betas"])
def test_what_is_stored_is_the_trace(tmp_path, beta):
    measure = gibbs(beta)
    plain = bx.sample(measure, bx.RandomWalk(), draws=50, **RUN)
    sink = bx.ZarrSink(tmp_path / "s", derive={"loss": loss})
    streamed = bx.sample(measure, bx.RandomWalk(), draws=50, sink=sink, **RUN)
    assert streamed.w is None
    assert same(streamed.energy, plain.energy)
    assert same(bx.load_trace(tmp_path / "s", measure), plain)
    some = bx.load_trace(tmp_path / "s", measure, slice(10, 30))
    assert same(some.w, jax.tree.map(lambda leaf: leaf[..., 10:30, :], plain.w))
    data, tree = bx.open_zarr(tmp_path / "s"), bx.to_xarray(plain)
    for name, variable in tree["sample_stats"].data_vars.items():
        assert data[name].dims == variable.dims
        assert same(data[name].values, variable.values)
    assert same(data["beta"].values, tree["sample_stats"]["beta"].values)
    axes = tuple(range(np.ndim(beta)))
    moved = np.moveaxis(plain.evaluate(loss), (len(axes), len(axes) + 1), (0, 1))
    np.testing.assert_allclose(data["loss"].values, moved, rtol=1e-12)
    assert data["w.params"].dims[-1] == "w.params_dim_0"


@pytest.mark.slow
def test_weights_that_were_integrated_out_are_drawn_anew_each_time(tmp_path):
    """Chains that hardly move: what is seen to vary is the readout's conditional law."""
    model = bx.models.TwoLayer(1)
    model = eqx.tree_at(lambda m: m.embedding, model, jnp.ones((1, 1)))
    energy = bx.SquaredError(model, bx.Empirical((X[:, :1], Y)))
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Normal())
    measure = bx.compile(energy, prior)
    sink = bx.ZarrSink(tmp_path / "s", derive={"readout": lambda model: model.readout[0]})
    still = bx.RandomWalk(step_size=1e-9)
    start = measure.position(model)
    run = RUN | {"warmup": 0, "draws": 100, "start": start, "sink": sink}
    bx.sample(measure, still, **run)
    drawn = bx.open_zarr(tmp_path / "s")["readout"].values
    assert len(np.unique(drawn)) == drawn.size == 300
    features = jnp.tanh(X[:, 0])
    precision = 1 + features @ features
    standard = (drawn - features @ Y / precision) * jnp.sqrt(precision)
    assert abs(standard.mean()) < 4 / 300**0.5 and abs(standard.var() - 1) < 4 * (2 / 300) ** 0.5


def test_nothing_is_read_before_it_is_used(tmp_path):
    bx.sample(gibbs(), bx.RandomWalk(), draws=20, sink=bx.ZarrSink(tmp_path / "s"), **RUN)
    data = bx.open_zarr(tmp_path / "s")
    assert not any(variable._in_memory for variable in data.data_vars.values())
    data["energy"].load()
    assert [n for n, v in data.data_vars.items() if v.variable._in_memory] == ["energy"]


def test_names_choose_what_is_stored(tmp_path):
    sink = bx.ZarrSink(tmp_path / "s", names=("energy", "loss"), derive={"loss": loss})
    trace = bx.sample(gibbs(), bx.RandomWalk(), draws=20, sink=sink, **RUN)
    assert trace.w is None
    data = bx.open_zarr(tmp_path / "s")
    assert set(data) == {"energy", "loss"}
    assert same(data["energy"].values, trace.energy)
    with pytest.raises(bx.DeclarationError, match="without.*acceptance_rate"):
        bx.load_trace(tmp_path / "s", gibbs())
    sink = bx.ZarrSink(tmp_path / "t", names=("enrgy",))
    with pytest.raises(bx.DeclarationError, match="enrgy"):
        bx.sample(gibbs(), bx.RandomWalk(), draws=20, sink=sink, **RUN)


def test_a_store_of_another_declaration_is_refused(tmp_path):
    sink = bx.ZarrSink(tmp_path / "s")
    bx.sample(gibbs(), bx.RandomWalk(), draws=20, sink=sink, **RUN)
    before = bx.open_zarr(tmp_path / "s").load()
    with pytest.raises(bx.DeclarationError, match=r"gibbs\.beta: 1\.0 -> 2\.0"):
        bx.sample(gibbs(2.0), bx.RandomWalk(), draws=20, sink=sink, **RUN)
    sink = bx.ZarrSink(tmp_path / "s", names=("w",))
    with pytest.raises(bx.DeclarationError, match=r"names"):
        bx.sample(gibbs(), bx.RandomWalk(), draws=20, sink=sink, **RUN)
    with pytest.raises(bx.DeclarationError, match=r"priors.*scale: 1\.0 -> 3\.0"):
        bx.load_trace(tmp_path / "s", gibbs(prior=3.0))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("not a store")
    for act in (
        lambda: bx.open_zarr(tmp_path / "mine"),
        lambda: bx.sample(
            gibbs(), bx.RandomWalk(), draws=20, sink=bx.ZarrSink(tmp_path / "mine"), **RUN
        ),
    ):
        with pytest.raises(bx.DeclarationError, match="holds no draws"):
            act()
    assert (tmp_path / "mine" / "notes.txt").read_text() == "not a store"
    assert before.equals(bx.open_zarr(tmp_path / "s").load())


def extended(folder: Path, draws: int, rows: int | None = None):
    """A run in chunks of 3 rows that streams and is saved."""
    dynamics = Chains(gibbs(), bx.RandomWalk(), True)
    start = {"params": jnp.ones((3, 2))}
    return loop(
        dynamics, start, jax.random.key(2), warmup=5, draws=draws, thin=1, progress=False,
        rows=rows, sink=bx.ZarrSink(folder / "s"), checkpoints=bx.Checkpoints(folder / "c"),
    ).records  # fmt: skip


@pytest.mark.slow
def test_a_run_is_extended_in_its_store(tmp_path):
    """Ten draws in chunks of three end inside a chunk; what is past them is not lost."""
    extended(tmp_path / "a", 10, rows=3)
    assert bx.open_zarr(tmp_path / "a" / "s").sizes["draw"] == 10
    extended(tmp_path / "a", 25)  # of itself this would take chunks of two
    extended(tmp_path / "b", 25, rows=3)
    longer, whole = (bx.open_zarr(tmp_path / name / "s").load() for name in "ab")
    assert longer.sizes["draw"] == 25
    assert longer.drop_attrs().equals(whole.drop_attrs())


def test_draws_that_the_store_lost_are_missed(tmp_path):
    """The checkpoint vouches for draws that somebody removed from the store."""
    extended(tmp_path, 10, rows=3)
    chunk = next(p for p in (tmp_path / "s" / "w.params" / "c").rglob("*") if p.is_file())
    chunk.unlink()
    with pytest.raises(bx.RunError, match="only the first"):
        extended(tmp_path, 25)


def test_a_damaged_chunk_is_not_read(tmp_path):
    extended(tmp_path, 10, rows=3)
    chunk = next(p for p in (tmp_path / "s" / "w.params" / "c").rglob("*") if p.is_file())
    damaged = bytearray(chunk.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        bx.open_zarr(tmp_path / "s")["w.params"].load()


@pytest.mark.slow
@pytest.mark.parametrize("draw", [0, 1, 9])
def test_a_cut_run_shows_its_draws_so_far_and_goes_on(tmp_path, monkeypatch, draw):
    whole = bx.sample(gibbs(), bx.RandomWalk(), draws=20, **RUN)
    run = {"sink": bx.ZarrSink(tmp_path / "s"), "checkpoints": bx.Checkpoints(tmp_path / "c")}
    with monkeypatch.context() as patch:
        from boltzax.report import _zarr

        write = _zarr._Store.write
        cut = CutAt(draw)
        patch.setattr(_zarr._Store, "write", lambda *args: (cut(*args), write(*args)))
        with pytest.raises(Cut):
            bx.sample(gibbs(), bx.RandomWalk(), draws=20, **run, **RUN)
    if draw:
        sofar = bx.open_zarr(tmp_path / "s")
        assert sofar.sizes["draw"] == draw
        assert same(sofar["energy"].values, whole.energy[:, :draw])
    bx.sample(gibbs(), bx.RandomWalk(), draws=20, **run, **RUN)
    assert same(bx.load_trace(tmp_path / "s", gibbs()), whole)


def test_a_store_that_cannot_be_written_is_a_failed_run(tmp_path):
    """A limit on the size of files stands for a full disk; the run is the same once it is gone."""
    run = {"sink": bx.ZarrSink(tmp_path / "s"), "draws": 20}
    whole = bx.sample(gibbs(), bx.RandomWalk(), **run, **RUN)
    stored, old = bx.load_trace(tmp_path / "s", gibbs()), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, old[1]))
        with pytest.raises(bx.RunError, match="could not be written.*File too large"):
            bx.sample(gibbs(), bx.RandomWalk(), **run, **RUN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert same(bx.sample(gibbs(), bx.RandomWalk(), **run, **RUN), whole)
    assert same(bx.load_trace(tmp_path / "s", gibbs()), stored)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_the_memory_of_a_streamed_run_does_not_grow(tmp_path, monkeypatch):
    """80 MB of draws pass, 2 MB at a time."""
    from boltzax.report import _zarr

    model = bx.models.Function(lambda w, x: jnp.sum(w**4) * x, jnp.zeros(5000))
    energy = bx.SquaredError(model, bx.Empirical((jnp.ones(1), jnp.ones(1))))
    resident, write = [], _zarr._Store.write

    def watched(*args):
        write(*args)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident.append(pages * resource.getpagesize())

    monkeypatch.setattr(_zarr._Store, "write", watched)
    sink = bx.ZarrSink(tmp_path / "s", memory=2_000_000)
    run = RUN | {"chains": 1, "warmup": 0, "draws": 2000}
    trace = bx.sample(bx.compile(energy, bx.Normal()), bx.RandomWalk(), sink=sink, **run)
    assert trace.w is None
    assert len(resident) == 41  # 49 draws of 40 kB, and what goes with them, a chunk
    assert resident[-1] - resident[5] < 30e6
