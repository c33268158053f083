"""Memory at work is bounded in bytes, whatever the number of data and draws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.core import PIECE_MEMORY, map_within, stored_bytes, working_bytes

WIDE = bx.models.Function(lambda w, x: jnp.cumsum(jnp.tanh(w * x[0])).max(), jnp.ones(4096))
KEY = jax.random.key(0)


def temporary(fn, *arguments) -> int:
    """Bytes of temporary arrays that the compiler plans."""
    analysis = jax.jit(lambda *each: fn(*each)).lower(*arguments).compile().memory_analysis()
    return analysis.temp_size_in_bytes


def wide_energy(count: int, kind=bx.Empirical) -> bx.Gibbs:
    x = np.linspace(-1, 1, count)[:, None]
    loss = lambda model, z: (model(z[0]) - z[1]) ** 2  # noqa: E731
    return bx.compile(bx.PerDatum(WIDE, kind((x, x[:, 0])), loss), bx.Normal())


@pytest.mark.parametrize("of", ["energy", "gradient", "four chains"])
def test_an_integral_over_many_data_is_bounded(of):
    gibbs = wide_energy(40_000)  # the units' values of all data together take 1.3 GB
    w = gibbs.position()
    fn, lanes = {
        "energy": (gibbs.energy, 1),
        "gradient": (jax.grad(gibbs.log_prob), 1),
        "four chains": (jax.vmap(gibbs.energy), 4),
    }[of]
    if lanes > 1:
        w = jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes, *x.shape)), w)
    assert temporary(fn, w) < 2.5 * lanes * PIECE_MEMORY


def test_pieces_do_not_change_an_integral():
    x = jax.random.normal(KEY, (1003, 2))
    measure = bx.Empirical(x, weights=jnp.linspace(0.5, 1, 1003))
    fn = lambda z: jnp.stack([jnp.sin(z[0]), z[0] * z[1]])  # noqa: E731
    from boltzax.declare._basis import integrate_nodes

    whole = integrate_nodes(fn, *measure.nodes())
    for memory in (1, 500, 5_000):
        piece = integrate_nodes(fn, *measure.nodes(), memory=memory)
        np.testing.assert_allclose(piece, whole, rtol=1e-12)


LEARNS_ZERO = bx.SquaredError(bx.models.TwoLayer(3), bx.IntervalMeasure(order=64), bx.zero)
TRACE = bx.sample(
    bx.compile(LEARNS_ZERO, bx.Normal(), marginalise=False),
    bx.RandomWalk(), key=KEY, chains=2, warmup=10, draws=20, throw=False,
)  # fmt: skip


def numbers(result) -> list:
    """Values and errors; the effective number of draws of pure rounding is left out."""
    is_estimate = lambda x: isinstance(x, bx.Estimate)  # noqa: E731
    parts = jax.tree.leaves(result, is_leaf=is_estimate)
    return [n for p in parts for n in ((p.value, p.standard_error) if is_estimate(p) else (p,))]


@pytest.mark.slow
@pytest.mark.parametrize("memory", [10_000, 2**30])
def test_every_map_over_draws_gives_the_same_within_any_memory(memory):
    energy = bx.SquaredError(
        bx.models.TwoLayer(3), bx.Empirical((np.linspace(-1, 1, 7)[:, None], np.ones(7)))
    )
    verbs = {
        "evaluate": lambda **k: TRACE.evaluate(lambda m: m.embedding, **k),
        "mean": lambda **k: TRACE.mean(lambda m: m.embedding, **k),
        "susceptibility": lambda **k: bx.susceptibility(TRACE, energy, energy, **k),
        "influence": lambda **k: bx.influence(TRACE, energy, **k),
        "plain": lambda **k: bx.learning_coefficient(TRACE, plain=True, **k),
        "spectrum": lambda **k: bx.spectrum(TRACE, bx.IntervalMeasure(order=64), 4, **k),
    }
    for name, verb in verbs.items():
        here, there = numbers(verb(memory=memory)), numbers(verb())
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_map_over_draws_is_bounded():
    def per_draw(w):
        return jnp.sum(jnp.tanh(w * jnp.ones((1000, 8))))

    xs = jax.ShapeDtypeStruct((5000, 8), float)
    for memory in (2**20, 2**24):
        assert temporary(lambda xs, m=memory: map_within(per_draw, xs, m), xs) < 2 * memory


def test_susceptibility_of_a_wide_model_takes_few_draws_at_once():
    gibbs = wide_energy(2000)  # 65 MB a draw and energy
    energy = next(part.term for part in gibbs.potential.parts)
    from boltzax.observe._response import Values

    def per_draw(w):
        return Values(energy)(gibbs.model(w))

    draws = jax.tree.map(lambda x: jax.ShapeDtypeStruct((500, *x.shape), x.dtype), gibbs.position())
    assert temporary(lambda d: map_within(per_draw, d), draws) < 1.5 * 2**30


def test_bytes_of_a_program():
    x = jax.ShapeDtypeStruct((1000,), jnp.float64)
    assert working_bytes(lambda x: jnp.sum(x * x), x)[0] in range(8000, 8100)
    assert stored_bytes(lambda x: jnp.sum(jnp.sin(x) * x), x) in range(16000, 16100)

    def looped(x):
        return jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, length=10)[0]

    assert stored_bytes(looped, x) >= 80_000
    assert working_bytes(looped, x)[0] < 30_000


@pytest.mark.parametrize("memory", [0, -1, 2.5, "1GB", True, None])
def test_a_wrong_memory_is_refused(memory):
    with pytest.raises(bx.DeclarationError, match="memory"):
        TRACE.evaluate(lambda m: m.embedding, memory=memory)
    with pytest.raises(bx.DeclarationError, match="memory"):
        bx.influence(TRACE, LEARNS_ZERO, memory=memory)


def test_functions_of_many_neurons_are_bounded():
    """4,096 running sums in each neuron: all data and neurons together take 2 GB."""
    from boltzax.meanfield._data_kernel import _functions
    from boltzax.meanfield._function_gap import gap_of

    model = bx.models.Function(lambda w, x: jnp.cumsum(jnp.tanh(w * x[0])).max(), jnp.ones(4096))
    neuron = bx.meanfield.Neuron(model, bx.Normal())
    data = bx.Empirical((np.linspace(-1, 1, 64)[:, None], np.ones(64)))
    problem = bx.meanfield.SelfConsistency(neuron, None, data, 1.0)
    neurons = {"params": jax.ShapeDtypeStruct((1024, 4096), float)}
    for fn in (
        lambda n: _functions(problem, n, n, problem.inputs(), None),
        lambda n: gap_of(problem, n, None, jnp.ones(64), KEY, 9).distance,
    ):
        assert temporary(fn, neurons) < 1.5 * 2**30


def test_hits_of_the_prior_are_counted_within_memory():
    """A wire of 65,536 lanes a draw: what a draw computes counts, not how many weights it has."""
    from boltzax.sample import levels_of_draws

    class Wide(eqx.Module):
        weight: jax.Array

        def template(self):
            return self.weight

        def at_draw(self, key):
            return jnp.sum(jnp.tanh(self.weight * jax.random.normal(key, (65536,))))

    hits = temporary(lambda w: levels_of_draws(Wide(w), KEY, 4096, 2**30), jnp.ones(()))
    assert hits < 2**28


def wide_contract(lanes: int = 65_536) -> bx.Contract:
    """A gain behind a wide layer: the weights are few, what a particle computes is not."""
    shifts = jnp.linspace(-1, 1, lanes)
    model = bx.models.Function(
        lambda w, x: jnp.cumsum(jnp.tanh(w * x + shifts))[-1] / lanes, jnp.zeros(())
    )
    wire = bx.Component(model, bx.Normal(0.0, 1.0))
    low, high = (
        bx.Interface.intervals({0: [(0.9, 1.0)]}),
        bx.Interface.intervals({0: [(0.3, None)]}),
    )
    return bx.Contract(wire, low, high, points=2)


def test_particles_of_splitting_are_moved_within_memory():
    """512 particles in 4 replicates, of 65,536 lanes each, would take a gigabyte and more."""
    from boltzax.sample import Level, Levels

    contract = wide_contract()
    gibbs = bx.compile(bx.Violation(contract), contract.prior, marginalise=False)
    level, start = Level(gibbs, contract.margin), {"key": jax.random.split(KEY, 4)}

    def bytes_of(memory):
        def steps(target):
            dynamics = Levels(level, target, 512, 2, memory=memory)
            state = dynamics.init(start, KEY, 0)
            return dynamics.step(state, KEY, jnp.zeros(()), jnp.ones((), int), 0)

        return temporary(steps, jnp.zeros(()))

    assert bytes_of(2**34) > 2**30
    assert bytes_of(2**27) < 1.5 * 2**27


@pytest.mark.parametrize("by", ["direct", "levels"])
def test_an_entropy_is_the_same_within_any_memory(by):
    common = {"key": KEY, "by": by, "samples": 500, "particles": 64, "moves": 4}
    common |= {"throw": False}
    contract = wide_contract(64)
    whole, less = (
        bx.interfaces.entropy(contract, replicates=4, memory=memory, **common)
        for memory in (2**30, 20_000)
    )
    np.testing.assert_allclose(less.value, whole.value, rtol=1e-12)
    np.testing.assert_allclose(less.standard_error, whole.standard_error, rtol=1e-9)


@pytest.mark.parametrize("target", ["labels", "a function"])
def test_data_are_reduced_to_moments_in_pieces(target, monkeypatch):
    """The table of all data together would be 100 times the bound; a remainder is not left out."""
    from boltzax.compile import _residual

    x = np.random.default_rng(0).normal(size=(10_007, 5))
    weights = np.random.default_rng(1).uniform(0.5, 1.5, size=len(x))
    model = bx.models.Function(lambda w, x: w @ jnp.outer(x, x), jnp.ones(5))
    if target == "labels":
        measure = bx.Empirical((x, np.sin(x)), weights=weights)
        energy = bx.SquaredError(model, measure)
    else:
        energy = bx.SquaredError(model, bx.Empirical(x, weights=weights), jnp.sin)

    def value():
        gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
        assert "rows of moments" in repr(gibbs)
        return gibbs.energy_of(model)

    whole, reduce, seen = value(), np.linalg.qr, []

    def watched(table, mode):
        seen.append(table.nbytes)
        return reduce(table, mode=mode)

    monkeypatch.setattr(_residual, "PIECE_MEMORY", 100_000)
    monkeypatch.setattr(np.linalg, "qr", watched)
    np.testing.assert_allclose(value(), whole, rtol=1e-11)
    assert max(seen) < 100_000 and len(seen) > 10
