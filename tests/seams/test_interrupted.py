"""Ctrl-C keeps the draws made so far; steps are numbered so that nothing depends on the chunks."""

import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.sample import AbstractGradientFree, Chains, MinibatchMALA, Move, loop

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(40, 2))
NET = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.array([1.0, -1.0]))
ENERGY = bx.SquaredError(NET, bx.Empirical((X, X @ np.array([1.0, -1.0]))))
GIBBS = bx.compile(ENERGY, bx.Normal(), beta=0.5, marginalise=False)
WALK = bx.RandomWalk()
START = {"params": jnp.ones((3, 2))}
REDUCE = {"norm": bx.Mean(lambda m: jnp.sum(m.params**2), length=5, batches=4)}


@pytest.fixture(autouse=True)
def listening_to_ctrl_c():
    """As in a terminal: a process that is started in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pressed(after: int, how: str):
    """A function of the records that presses Ctrl-C when it was called so often."""
    count = 0

    def act(*args):
        nonlocal count
        count += 1
        if count == after:
            if how == "raised":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)

    return act


@pytest.fixture(params=["a signal", "raised"])
def cut(request, monkeypatch):
    """Ctrl-C in the seventh chunk that is read (one a draw)."""
    from boltzax.sample import _loop

    original = _loop.to_host

    def press(after):
        act = pressed(after, request.param)

        def watched(tree):
            act()
            return original(tree)

        monkeypatch.setattr(_loop, "to_host", watched)

    return press


def run(**more):
    options = {"key": KEY, "warmup": 6, "draws": 40, "throw": False, "reduce": REDUCE} | more
    return bx.sample(GIBBS, WALK, **options)


@pytest.mark.slow
def test_sample_returns_what_was_drawn_and_goes_on(cut, monkeypatch, tmp_path):
    whole = run()
    cut(7)
    part = run(checkpoints=bx.Checkpoints(tmp_path))
    monkeypatch.undo()
    count = part.energy.shape[1]
    assert part.status == bx.Status.interrupted and 12 <= count < 40
    assert np.array_equal(part.energy, whole.energy[:, :count])
    assert np.isfinite(bx.heat_capacity(part).value)
    rest = run(checkpoints=bx.Checkpoints(tmp_path))
    assert np.array_equal(rest.energy, whole.energy)
    assert float(rest.reduced["norm"].value) == float(whole.reduced["norm"].value)


def test_it_raises_with_the_trace_where_failed_runs_raise(cut):
    cut(7)
    with pytest.raises(bx.Interrupted) as caught:
        run(throw=True)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.result.status == bx.Status.interrupted
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_draws_it_is_an_interrupt_like_any_other(monkeypatch):
    from boltzax.sample import _loop

    monkeypatch.setattr(_loop, "to_host", pressed(1, "raised"))
    with pytest.raises(KeyboardInterrupt, match="before its first draws") as caught:
        run()
    assert not isinstance(caught.value, bx.Interrupted)


@pytest.mark.slow
def test_ladders_keep_their_draws(cut):
    cut(7)
    options = {"key": KEY, "warmup": 6, "draws": 40, "least_swap": 0.0, "throw": False}
    trace = bx.anneal(GIBBS, [0.5], WALK, **options)
    assert trace.status == bx.Status.interrupted and 12 <= trace.energy.shape[-1] < 40
    assert np.isfinite(bx.free_energy(trace).value).all()


@pytest.mark.slow
def test_the_learning_coefficient_says_that_it_was_cut(cut):
    cut(7)
    result = bx.local_learning_coefficient(
        ENERGY, key=KEY, kernel=WALK, temperature=2.0, max_gradients=4000
    )
    assert result.verdict == bx.Verdict.interrupted and not result.usable
    assert 100 <= result.trace.energy.shape[1] + result.evidence.burn_in <= 200


def test_a_handler_of_the_caller_stays():
    mine = signal.signal(signal.SIGINT, lambda *args: None)
    try:
        assert run().energy.shape == (4, 40)
    finally:
        signal.signal(signal.SIGINT, mine)


def test_in_another_thread_nothing_is_installed():
    found = []
    thread = threading.Thread(target=lambda: found.append(run().energy.shape))
    thread.start()
    thread.join()
    assert found == [(4, 40)]


def drawn(**more):
    options = {"warmup": 7, "thin": 3, "progress": False, "draws": 12, "rows": 4} | more
    records = loop(Chains(GIBBS, WALK, True), START, KEY, **options).records
    return {name: np.asarray(leaf) for name, leaf in records.items() if name != "w"}


@pytest.mark.slow
@settings(max_examples=6)
@given(st.integers(1, 12), st.integers(4, 30))
def test_shorter_runs_are_a_prefix_of_longer_ones(rows, draws):
    """Whatever the chunks: to the last bit."""
    found, whole = drawn(rows=rows, draws=draws), drawn(draws=30, rows=5)
    for name, leaf in found.items():
        assert leaf.tobytes() == whole[name][:draws].tobytes(), name


@pytest.mark.slow
def test_samples_of_all_lengths_and_memories_agree(tmp_path):
    whole = run(draws=60, reduce=None)
    half = run(draws=30, reduce=None)
    sink = bx.ZarrSink(tmp_path / "s", memory=1000)
    streamed = run(draws=45, reduce=None, sink=sink, checkpoints=bx.Checkpoints(tmp_path / "c"))
    assert np.array_equal(half.energy, whole.energy[:, :30])
    assert np.array_equal(streamed.energy, whole.energy[:, :45])


class Counting(AbstractGradientFree):
    """A kernel that says how many steps it has made, and how many with gain."""

    def init(self, gibbs, w, key, warmup):
        return w, jnp.zeros(2)

    def step(self, gibbs, state, key, gain, warmup):
        w, count = state
        count = count + jnp.stack([jnp.ones(()), (gain > 0).astype(float)])
        return ({"params": w["params"] * 0 + count}, count), Move(jnp.ones(()), jnp.array(False))

    def position(self, state):
        return state[0]

    def moved(self, gibbs, state, w, key):
        return w, state[1]


@pytest.mark.parametrize("warmup, thin, rows", [(0, 1, 3), (7, 3, 4), (100, 7, 1), (2, 5, 5)])
def test_warmup_means_what_it_says(warmup, thin, rows):
    options = {"warmup": warmup, "thin": thin, "rows": rows, "draws": 5, "progress": False}
    records = loop(Chains(GIBBS, Counting(), True), START, KEY, **options).records
    steps = np.asarray(records["w"]["params"])[:, 0]
    assert np.array_equal(steps[:, 0], warmup + thin * np.arange(1, 6))
    assert np.all(steps[:, 1] == np.sum(np.arange(warmup) < 0.9 * warmup))


@pytest.mark.slow
def test_results_stand_for_their_draws():
    result = bx.local_learning_coefficient(
        ENERGY, key=KEY, kernel=WALK, temperature=2.0, max_gradients=2000
    )
    own = bx.learning_coefficient(result)
    assert np.isclose(own.value, result.estimate.value, rtol=1e-6)  # E(w*) is subtracted
    zero = bx.learning_coefficient(result.trace, 0.0)
    assert np.isclose(zero.value, own.value + 2.0 * result.reference)
    assert np.isclose(bx.effective_dimension(result).value, 2 * own.value)
    assert float(bx.heat_capacity(result).value) == float(bx.heat_capacity(result.trace).value)
    for verb in (bx.influence, lambda r, e: bx.susceptibility(r, e, e)):
        assert np.array_equal(verb(result, ENERGY).value, verb(result.trace, ENERGY).value)
    assert set(bx.to_xarray(result).children) == {"posterior", "sample_stats"}
    bx.plot.trace(result)
    for verb in (bx.learning_coefficient, bx.heat_capacity, bx.to_xarray, bx.plot.trace):
        with pytest.raises(bx.DeclarationError, match="result that has one"):
            verb({"energy": 1})


class Scaled(AbstractGradientFree):
    """A kernel with a Metropolis test and a field called `scale`."""

    inner: bx.RandomWalk = bx.RandomWalk()
    scale: float = 1.0
    order: int = 7

    def init(self, gibbs, w, key, warmup):
        return self.inner.init(gibbs, w, key, warmup)

    def step(self, gibbs, state, key, gain, warmup):
        return self.inner.step(gibbs, state, key, gain, warmup)

    def position(self, state):
        return self.inner.position(state)

    def moved(self, gibbs, state, w, key):
        return self.inner.moved(gibbs, state, w, key)


@pytest.mark.slow
def test_kernels_are_known_by_their_class_and_not_by_their_fields():
    options = {"key": KEY, "temperature": 2.0, "max_gradients": 2000}
    exact = bx.local_learning_coefficient(ENERGY, kernel=Scaled(), **options)
    assert exact.evidence.steps == () and np.isfinite(exact.evidence.acceptance)
    assert float(exact.estimate.value) == float(
        bx.local_learning_coefficient(ENERGY, kernel=WALK, **options).estimate.value
    )
    penalty = bx.local_learning_coefficient(
        ENERGY, kernel=MinibatchMALA(), key=KEY, temperature=2.0, max_gradients=60_000
    )
    assert len(penalty.evidence.steps) >= 2
    assert abs(float(penalty.estimate.z_score(1.0))) < 4  # regular: d/2, less the localisation
