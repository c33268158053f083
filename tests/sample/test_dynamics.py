"""What every dynamics of the loop must pass; a dynamics of your own is one line more in `CASES`."""

import traceback
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import boltzax as bx
from boltzax import meanfield as mf
from boltzax.sample import Chains, Level, Levels
from boltzax.sample._replica_exchange import ReplicaExchange
from boltzax.sample._smc import TemperedSMC
from boltzax.testing import check_dynamics
from boltzax.testing._dynamics import _check_keys

KEY = jax.random.key(3)
X = jnp.linspace(-1.0, 1.0, 8)[:, None]


def gibbs(betas=1.0):
    energy = bx.SquaredError(bx.models.Function(_line, jnp.zeros(2)), bx.Empirical((X, X[:, 0])))
    return bx.compile(energy, bx.Normal(), marginalise=False).at(jnp.asarray(betas))


def _line(w, x):
    return jnp.tanh(w[0]) * x[0] + w[1]


def _product(x):
    return x[0] * x[1]


def problem():
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=2), bx.Normal())
    return mf.SelfConsistency(neuron, _product, bx.GaussianMeasure(2, order=3), 0.1)


class Ising(bx.AbstractDynamics):
    """A ring of spins at the inverse temperature `coupling`, one sweep of heat baths a step."""

    coupling: jax.Array

    class State(NamedTuple):
        spins: jax.Array

    def init(self, start, key, warmup):
        return self.State(start)

    def step(self, state, key, gain, time, warmup):
        def site(i, spins):
            field = self.coupling * (spins[i - 1] + spins[(i + 1) % len(spins)])
            up = jax.random.uniform(jax.random.fold_in(key, i)) < jax.nn.sigmoid(2 * field)
            return spins.at[i].set(jnp.where(up, 1.0, -1.0))

        return self.State(jax.lax.fori_loop(0, len(state.spins), site, state.spins))

    def record(self, state, draw):
        spins = state.spins
        return state, {"energy": -jnp.mean(spins * jnp.roll(spins, 1)), "spins": {"now": spins}}


def chains():
    return Chains(gibbs(), bx.RandomWalk(), True), {"params": jnp.ones((2, 2))}


def replicas():
    return ReplicaExchange(gibbs([0.0, 1.0, 4.0]), bx.RandomWalk(), True), {
        "params": jnp.ones((3, 2, 2))
    }


def populations():
    dynamics = TemperedSMC(gibbs(jnp.arange(4.0)), bx.RandomWalk(), 2, True)
    return dynamics, {"params": jnp.ones((2, 5, 2))}


def neurons():
    dynamics = mf.Neurons(problem(), mf.Langevin(), batch=4, every=3, history=True)
    return dynamics, dynamics.start(3, 2, key=KEY)


def descent():
    dynamics = mf.Neurons(problem(), mf.Descent(optax.adam(0.1)))
    return dynamics, dynamics.start(3, 2, key=KEY)


def foreground():
    here = problem()
    background = mf.Background.from_array(jnp.zeros(9), here)
    dynamics = mf.Neurons(here, mf.Langevin(), mf.Static(background, None, KEY))
    return dynamics, dynamics.start(2, 2, key=KEY)


def replayed():
    here = problem()
    history = mf.History(jnp.ones((40, 4)), KEY, 4)
    dynamics = mf.Neurons(here, mf.Langevin(), mf.Replayed(history, jnp.asarray(0)))
    return dynamics, dynamics.start(2, 2, key=KEY)


def spins():
    return Ising(jnp.asarray(0.4)), jnp.ones(6)


def first(model):
    return model.params[0]


def rising():
    dynamics = Levels(Level(gibbs(), first), jnp.asarray(4.0), particles=8, moves=2, keep=True)
    return dynamics, {"key": jax.random.split(KEY, 2)}


CASES = [
    chains,
    spins,
    pytest.param(rising, marks=pytest.mark.slow),
    pytest.param(neurons, marks=pytest.mark.slow),
    pytest.param(replicas, marks=pytest.mark.slow),
    pytest.param(populations, marks=pytest.mark.slow),
    pytest.param(descent, marks=pytest.mark.slow),
    pytest.param(foreground, marks=pytest.mark.slow),
    pytest.param(replayed, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("case", CASES)
def test_every_dynamics_conforms(case):
    dynamics, start = case()
    check_dynamics(dynamics, start, key=KEY, deterministic=case is descent)


def test_an_ising_ring_has_its_energy():
    """`-⟨s s'⟩ = -(t + t^(n-1))/(1 + t^n)`, `t = tanh K`, for a ring of `n` spins."""
    made = bx.run(*spins(), key=KEY, warmup=50, draws=4000, thin=2)
    t, n = np.tanh(0.4), 6
    exact = -(t + t ** (n - 1)) / (1 + t**n)
    energy = bx.Estimate.of_series(made.records["energy"][None])
    assert abs(energy.z_score(exact)) < 4
    assert made.records["spins"]["now"].shape == (4000, 6) and made.draws == 4000
    assert "Run of Ising, 4000 draws of energy, spins" in repr(made)


class Broken(bx.AbstractDynamics):
    """Breaks what `flaw` says."""

    flaw: str = "nothing"

    def init(self, start, key, warmup):
        return start

    def step(self, state, key, gain, time, warmup):
        if self.flaw == "nan":
            return jnp.where(time > 4, jnp.nan, state)
        return state + jax.random.normal(key, state.shape)

    def record(self, state, draw):
        return state, {"draw" if self.flaw == "name" else "place": state}


class Raising(bx.AbstractDynamics):
    """Raises an error in one of its methods."""

    method: str

    def init(self, start, key, warmup):
        return self._raised("init", start)

    def step(self, state, key, gain, time, warmup):
        return self._raised("step", state)

    def record(self, state, draw):
        return state, {"place": self._raised("record", state)}

    def _raised(self, method, state):
        if method == self.method:
            raise KeyError("mass")
        return state


@pytest.mark.parametrize("warmup", [0, 3])
@pytest.mark.parametrize("method", ["init", "step", "record"])
def test_the_method_that_raises_is_named(method, warmup):
    said = f"`dynamics.{method}`.*raises KeyError: 'mass'"
    with pytest.raises(bx.DeclarationError, match=said) as caught:
        bx.run(Raising(method), jnp.zeros(2), key=KEY, draws=4, warmup=warmup)
    assert isinstance(caught.value.__cause__, KeyError)
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)
    assert frames[-1].name == "_raised"
    assert f"{method}(" in caught.value.expected and "Raising" in caught.value.expected


class RaisingWalk(bx.RandomWalk):
    """A kernel that raises an error in one of its methods."""

    method: str = ""

    def init(self, gibbs, w, key, warmup):
        if self.method == "init":
            raise KeyError("mass")
        return super().init(gibbs, w, key, warmup)

    def step(self, gibbs, state, key, gain, warmup):
        if self.method == "step":
            raise KeyError("mass")
        return super().step(gibbs, state, key, gain, warmup)


@pytest.mark.parametrize("method", ["init", "step"])
def test_the_method_of_a_kernel_that_raises_is_named(method):
    said = f"(?s)`kernel.{method}`.*raises KeyError: 'mass'.*RaisingWalk"
    with pytest.raises(bx.DeclarationError, match=said):
        bx.sample(gibbs(), RaisingWalk(method=method), key=KEY, draws=4, warmup=2)


def test_a_nan_fails_the_run():
    with pytest.raises(bx.RunError, match="(?s)Run of Broken.*throw=False"):
        bx.run(Broken("nan"), jnp.zeros(2), key=KEY, draws=10)
    made = bx.run(Broken("nan"), jnp.zeros(2), key=KEY, draws=10, throw=False)
    assert made.status == bx.Status.non_finite and np.isnan(made.state).all()
    assert bx.run(Broken("nan"), jnp.zeros(2), key=KEY, draws=4).status == bx.Status.successful


def test_a_run_stops_when_asked():
    """And the chunks are divisors, so that the state is that of the last record."""
    options = {"key": KEY, "thin": 2, "draws": 50}
    whole = bx.run(Broken(), jnp.zeros(2), **options)
    assert np.array_equal(whole.state, whole.records["place"][-1])
    part = bx.run(Broken(), jnp.zeros(2), stop=lambda chunks: len(chunks) == 3, **options)
    assert part.draws == 15 and np.array_equal(part.state, whole.records["place"][14])
    with pytest.raises(bx.DeclarationError, match="draws"):
        bx.run(Broken(), jnp.zeros(2), key=KEY, draws=0)
    with pytest.raises(bx.DeclarationError, match="dynamics"):
        bx.run(bx.RandomWalk(), jnp.zeros(2), key=KEY, draws=1)


@pytest.mark.parametrize("case", [chains, neurons, spins, rising])
def test_any_dynamics_is_laid_on_devices(case):
    """On a mesh of one: the same run, its state where the start was put."""
    dynamics, start = case()
    place = bx.Placement(jax.make_mesh((1,), ("chain",)))
    options = {"key": KEY, "draws": 6, "thin": 3, "rows": 2, "warmup": 3}
    placed, plain = (bx.run(dynamics, start, placement=p, **options) for p in (place, None))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, placed.records, plain.records)))
    arrays = [leaf for leaf in jax.tree.leaves(placed.state) if leaf.ndim]
    assert any(isinstance(leaf.sharding, jax.sharding.NamedSharding) for leaf in arrays)


def test_records_that_a_store_cannot_name_are_refused(tmp_path):
    with pytest.raises(bx.DeclarationError, match="'draw'"):
        bx.run(Broken("name"), jnp.zeros(2), key=KEY, draws=4, sink=bx.ZarrSink(tmp_path))
    derived = bx.ZarrSink(tmp_path / "d", derive={"norm": jnp.sum})
    with pytest.raises(bx.DeclarationError, match="derive"):
        bx.run(Broken(), jnp.zeros(2), key=KEY, draws=4, sink=derived)


class Fickle(bx.AbstractDynamics):
    """A record that no seed fixes."""

    def init(self, start, key, warmup):
        return start

    def step(self, state, key, gain, time, warmup):
        return state + 1

    def record(self, state, draw):
        shape = jax.ShapeDtypeStruct(state.shape, state.dtype)
        noise = lambda: RNG.normal(size=shape.shape).astype(shape.dtype)  # noqa: E731
        return state, {"place": state + jax.pure_callback(noise, shape)}


RNG = np.random.default_rng(0)


def test_a_dynamics_that_breaks_the_rules_is_caught():
    with pytest.raises(AssertionError, match="second run is not the same"):
        check_dynamics(Fickle(), jnp.zeros(2), key=KEY)


class Flawed(bx.AbstractDynamics):
    """A walk with a running sum and a count of steps since the last record, or with a flaw."""

    flaw: str = "none"

    def init(self, start, key, warmup):
        if self.flaw == "init raises":
            raise KeyError("mass")
        return {"x": start, "sum": jnp.zeros(start.shape), "count": jnp.zeros((), int)}

    def step(self, state, key, gain, time, warmup):
        x = state["x"] + jax.random.normal(key, state["x"].shape)
        if self.flaw == "step changes a shape":
            x = jnp.ones(7)
        if self.flaw == "step changes a dtype":
            x = x.astype(jnp.float16)
        if self.flaw == "sum pulls":
            x = x - 0.1 * state["sum"]
        if self.flaw == "step loses a name":
            return {"x": x}
        return state | {"x": x, "count": state["count"] + 1}

    def record(self, state, draw):
        x = state["x"]
        after = state | {"sum": state["sum"] + x, "count": jnp.zeros((), int)}
        if self.flaw == "record moves":
            after = after | {"x": x + 1}
        if self.flaw == "record moves late":
            after = after | {"x": x + jnp.where(draw >= 2, 1.0, 0.0)}
        if self.flaw == "record changes a shape":
            after = after | {"x": x[:1]}
        if self.flaw == "record is no pair":
            return after
        return after, {"x": x * (jnp.nan if self.flaw == "nan" else 1), "count": state["count"]}


FLAWS = {
    "none": None,
    "init raises": "`dynamics.init`.*KeyError: 'mass'",
    "step changes a shape": r"`dynamics.step`.*\[7\] as state\['x'\], which was",
    "step changes a dtype": r"`dynamics.step`.*f16\[2\] as state\['x'\], which was",
    "step loses a name": "`dynamics.step`.*return a state like",
    "record changes a shape": r"`dynamics.record`.*\[1\] as state\['x'\], which was",
    "record is no pair": "`dynamics.record`.*a pair",
    "record moves late": r"`record` moves \['x'\]",
    "record moves": r"`record` moves \['x'\]",
    "sum pulls": r"after a `record` move \['x'\]",
    "nan": "NaN",
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_of_a_state_or_a_record_is_found(flaw):
    if flaw == "none":
        check_dynamics(Flawed(), jnp.zeros(2), key=KEY)
        return
    with pytest.raises(AssertionError, match="(?s)" + FLAWS[flaw]):
        check_dynamics(Flawed(flaw), jnp.zeros(2), key=KEY)


class Deaf(bx.AbstractDynamics):
    """Steps that ignore their key, though the start uses its own."""

    def init(self, start, key, warmup):
        return start + jax.random.normal(key, start.shape)

    def step(self, state, key, gain, time, warmup):
        return jnp.sin(state) + time

    def record(self, state, draw):
        return state, {"place": state}


def test_steps_that_ignore_their_key_are_caught():
    check_dynamics(Deaf(), jnp.zeros(2), key=KEY, deterministic=True)
    with pytest.raises(AssertionError, match="steps ignore them"):
        check_dynamics(Deaf(), jnp.zeros(2), key=KEY)
    with pytest.raises(AssertionError, match="not deterministic"):
        check_dynamics(Broken(), jnp.zeros(2), key=KEY, deterministic=True)


class Cooled(bx.AbstractDynamics):
    """Steps that draw nothing after the warm-up."""

    def init(self, start, key, warmup):
        return start

    def step(self, state, key, gain, time, warmup):
        return state + jnp.where(time < warmup, jax.random.normal(key, state.shape), 0.1)

    def record(self, state, draw):
        return state, {"place": state}


class Coins(Cooled):
    """Fair coins: a heat bath at infinite temperature."""

    def step(self, state, key, gain, time, warmup):
        return jax.random.bernoulli(key, 0.5, state.shape).astype(state.dtype)


def test_steps_that_ignore_their_key_after_the_warmup_are_caught():
    with pytest.raises(AssertionError, match="after the warm-up"):
        check_dynamics(Cooled(), jnp.zeros(2), key=KEY)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("draws", [1, 6])
def test_the_paths_of_coins_differ_at_each_key(seed, draws):
    """All of four paths of one coin are the same with a probability of `2^-24` at most."""
    for key in jax.random.split(jax.random.key(seed), 10):
        _check_keys(Coins(), jnp.zeros(1), key, 3, draws, False)


class Streaming(Cooled):
    """Streams a record that it does not make."""

    streamed = ("place", "other")


class Sparing(Streaming):
    """Says that only some runs make it."""

    optional = ("other",)


def test_a_streamed_name_that_is_no_record_is_refused(tmp_path):
    options = {"key": KEY, "draws": 4}
    said = r"(?s)`dynamics.streamed`: got \['other'\].*\['place'\]"
    with pytest.raises(bx.DeclarationError, match=said):
        bx.run(Streaming(), jnp.zeros(2), sink=bx.ZarrSink(tmp_path / "a"), **options)
    with pytest.raises(AssertionError, match=said):
        check_dynamics(Streaming(), jnp.zeros(2), key=KEY)
    made = bx.run(Sparing(), jnp.zeros(2), sink=bx.ZarrSink(tmp_path / "b"), **options)
    assert not made.records


class Returning(bx.AbstractDynamics):
    """Returns what `wrong` says."""

    wrong: str

    def init(self, start, key, warmup):
        return {"place": start, "name": "walk"} if self.wrong == "init text" else start

    def step(self, state, key, gain, time, warmup):
        wrong = {
            "step shape": jnp.concatenate([state, state]),
            "step dtype": state.astype(jnp.float16),
            "step none": None,
        }
        return wrong.get(self.wrong, state + jax.random.normal(key, state.shape))

    def record(self, state, draw):
        wrong = {
            "record state": (state[:1], {"place": state}),
            "record dictionary": {"place": state},
            "record array": (state, state),
            "record text": (state, {"place": "here"}),
            "record number": (state, {3: state}),
        }
        return wrong.get(self.wrong, (state, {"place": state}))


WRONG = {
    "init text": r"`dynamics.init`: got one that returns 'walk' at \['name'\]",
    "step shape": r"`dynamics.step`: got one that returns f\d\d\[4\] as state, which was",
    "step dtype": r"`dynamics.step`: got one that returns f16\[2\] as state, which was",
    "step none": "`dynamics.step`: got one that returns None",
    "record state": r"`dynamics.record`: got one that returns f\d\d\[1\] as state",
    "record dictionary": "`dynamics.record`: got one that returns {'place'.*a pair",
    "record array": r"`dynamics.record`: got one that returns \(.*a pair",
    "record text": r"`dynamics.record`: got one that returns 'here' at \['place'\]",
    "record number": "`dynamics.record`: got one that returns records with the name 3",
    "integers": r"`dynamics.step`.*which was i\d\d\[2\].*floats, not integers",
}


@pytest.mark.parametrize("warmup", [0, 3])
@pytest.mark.parametrize("wrong", WRONG)
def test_the_method_that_returns_something_wrong_is_named(wrong, warmup):
    start = jnp.zeros(2, int) if wrong == "integers" else jnp.zeros(2)
    with pytest.raises(bx.DeclarationError, match="(?s)" + WRONG[wrong]):
        bx.run(Returning(wrong), start, key=KEY, draws=4, warmup=warmup)


def test_a_stop_that_returns_an_array_is_named():
    options = {"key": KEY, "draws": 4, "rows": 2}
    with pytest.raises(bx.DeclarationError, match=r"`stop`: got one that returns .*\(2,\)"):
        bx.run(Coins(), jnp.zeros(2), stop=lambda chunks: chunks[-1]["place"][0] > 0, **options)
    one = bx.run(Coins(), jnp.zeros(2), stop=lambda chunks: jnp.asarray([True]), **options)
    assert one.draws == 2


class Walk(bx.AbstractDynamics):
    """A Gaussian walk of one number, which starts at a mean."""

    class State(NamedTuple):
        place: jax.Array

    def init(self, start, key, warmup):
        return self.State(jnp.asarray(start["mean"]) + jax.random.normal(key))

    def step(self, state, key, gain, time, warmup):
        return self.State(state.place + jax.random.normal(key))

    def record(self, state, draw):
        return state, {"place": state.place}


@pytest.mark.parametrize("mean", [1.0, jnp.asarray(1.0), np.ones(())])
def test_a_start_of_any_kind_of_number(mean):
    check_dynamics(Walk(), {"mean": mean}, key=KEY)
