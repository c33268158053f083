"""A chain that does not move is no evidence: the start is looked at, and the status says so."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import AbstractGradientFree, Move, noise_like
from boltzax.sample._kernel import choose
from boltzax.sample._run_status import raise_for_trace

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(60, 2))
RNG = np.random.default_rng(1)
Y = X @ np.array([1.0, -1.0]) + RNG.normal(size=60)
BEST = np.linalg.lstsq(X, Y, rcond=None)[0]


class Trap(eqx.Module):
    """Values are right everywhere; the gradient with respect to `v` is not a number."""

    w: jax.Array
    v: jax.Array

    def __call__(self, x):
        nought = jnp.where(jnp.any(self.v > 1e3), jnp.linalg.norm(self.v - self.v), 0.0)
        return jnp.dot(self.w, x) + jnp.dot(self.v, x**2) + nought


class Root(eqx.Module):
    """The double-where trap with a root."""

    w: jax.Array

    def __call__(self, x):
        square = jnp.dot(self.w, self.w)
        return jnp.dot(self.w, x) + jnp.where(square > 1e9, jnp.sqrt(square - 1e6), 0.0)


def energy(model, measure=None):
    return bx.SquaredError(model, measure or bx.Empirical((X, Y)))


MODELS = {
    "v": Trap(jnp.ones(2), jnp.zeros(2)),
    "w": Root(jnp.asarray(BEST)),
}
KERNELS = [bx.MALA(), bx.HMC(), bx.NUTS(), bx.SGLD(), bx.Underdamped(), bx.SGNHT()]
KERNELS += [bx.MinibatchMALA()]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_a_gradient_that_is_not_finite_at_the_start_names_the_weight(kernel):
    gibbs = bx.compile(energy(MODELS["v"]), bx.Normal(), marginalise=False)
    run = {"key": KEY, "warmup": 10, "draws": 10}
    with pytest.raises(bx.DeclarationError, match=r"model\.v.*gradient"):
        bx.sample(gibbs, kernel, start=gibbs.position(MODELS["v"]), **run)
    with pytest.raises(bx.DeclarationError, match=r"model\.v.*gradient"):
        bx.sample(gibbs, kernel, **run)


@pytest.mark.parametrize("name", ["v", "w"])
def test_the_learning_coefficient_of_such_a_model_is_refused(name):
    for kernel in (None, bx.MALA(), bx.SGLD()):
        with pytest.raises(bx.DeclarationError, match=rf"model\.{name}.*gradient"):
            bx.local_learning_coefficient(
                energy(MODELS[name]), key=KEY, kernel=kernel, max_gradients=2000
            )


@pytest.mark.slow
def test_a_minimum_that_cannot_be_checked_is_undecided():
    """Without gradients the chains move, but nothing can be descended from w*."""
    result = bx.local_learning_coefficient(
        energy(MODELS["w"]), key=KEY, kernel=bx.RandomWalk(), max_gradients=4000
    )
    assert result.verdict == bx.Verdict.undecided
    assert np.isnan(result.evidence.gap) and np.isnan(result.evidence.gap_chance)


@pytest.mark.parametrize("edge", [0.0, 1.0, np.inf])
def test_a_start_at_the_edge_of_the_support_is_refused(edge):
    model = bx.models.Function(lambda w, x: w * x[0], jnp.asarray(0.5))
    prior = bx.Uniform(0.0, 1.0) if edge <= 1 else bx.HalfNormal()
    gibbs = bx.compile(energy(model), prior)
    at_edge = eqx.tree_at(lambda m: m.params, model, jnp.asarray(edge))
    with pytest.raises(bx.DeclarationError, match="params"):
        gibbs.position(at_edge)
    coordinates = {"params": jnp.asarray(np.inf)}
    with pytest.raises(bx.DeclarationError, match="params.*not finite"):
        bx.sample(gibbs, bx.RandomWalk(), key=KEY, start=coordinates, warmup=10, draws=10)


class Part(AbstractGradientFree):
    """A random walk of which some leaves, in some chains, never move after the warm-up."""

    held: dict[str, jax.Array]

    def init(self, gibbs, w, key, warmup):
        return w, gibbs.log_prob(w), jax.random.uniform(key)

    def step(self, gibbs, state, key, gain, warmup):
        w, log_prob, place = state
        noise = noise_like(w, key)
        free = {p: (gain > 0) | (place >= share) for p, share in self.held.items()}
        new = {path: x + jnp.where(free[path], 0.3, 0.0) * noise[path] for path, x in w.items()}
        there = gibbs.log_prob(new)
        accept = jnp.log(jax.random.uniform(key)) < there - log_prob
        chosen = choose(accept, (new, there), (w, log_prob))
        return (*chosen, place), Move(accept.astype(float), jnp.array(False))

    def position(self, state):
        return state[0]

    def moved(self, gibbs, state, w, key):
        return w, gibbs.log_prob(w), state[2]


def predict(w, x):
    return jnp.dot(w["a"], x) + jnp.dot(w["b"], x)


A, B = "params['a']", "params['b']"
NET = bx.models.Function(predict, {"a": jnp.zeros(2), "b": jnp.zeros(2)})
PAIR = bx.compile(energy(NET), bx.Normal(), beta=0.1, marginalise=False)
REDUCE = {"norm": bx.Mean(lambda m: jnp.sum(m.params["a"] ** 2), length=4, batches=10)}
RUN = {"key": KEY, "warmup": 20, "draws": 40, "throw": False, "reduce": REDUCE}


def part(a: float, b: float) -> Part:
    """Shares of the chains in which each leaf is held."""
    return Part({A: jnp.asarray(a), B: jnp.asarray(b)})


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 0.5)])
def test_a_leaf_or_a_chain_that_never_moves_is_said_so(shares):
    trace = bx.sample(PAIR, part(*shares), **RUN)
    held = ~np.any(np.asarray(trace.moved), axis=1)  # [chain, leaf]
    for leaf, share in enumerate(shares):
        assert held[:, leaf].any() == (share > 0) and held[:, leaf].all() == (share == 1)
    assert trace.status == bx.Status.stuck
    name = re.escape(A if shares[0] else B)
    with pytest.raises(bx.RunError, match=rf"never moved \(chains\): {name} in [1-4] of 4"):
        raise_for_trace(trace, throw=True)


@pytest.mark.slow
def test_every_observable_of_such_a_run_is_without_an_error_bar():
    trace = bx.sample(PAIR, part(0.0, 0.5), **RUN)
    estimates = [
        bx.learning_coefficient(trace),
        bx.heat_capacity(trace),
        bx.susceptibility(trace, lambda m: m.params["a"], energy(NET)),
        bx.influence(trace, energy(NET), lambda m: m.params["a"][0]),
        bx.coefficient_curve(trace, [0.1, 0.11]),
        trace.reduced["norm"],
    ]
    for estimate in estimates:
        for leaf in (estimate.standard_error, estimate.ess, estimate.r_hat):
            assert np.all(np.isnan(leaf)), estimate
    moving = bx.sample(PAIR, part(0.0, 0.0), **RUN)
    assert moving.status != bx.Status.stuck
    assert np.all(np.isfinite(bx.heat_capacity(moving).standard_error))
    assert np.all(np.isfinite(moving.reduced["norm"].standard_error))


def test_only_the_betas_that_are_stuck_lose_their_errors():
    shape = (2, 4, 30)
    gibbs, energies = PAIR.at(jnp.array([0.1, 0.2])), jax.random.normal(KEY, shape)
    moved = jnp.ones((*shape, 2), bool).at[1, 2, :, 0].set(False)
    nought = jnp.zeros(shape)
    trace = bx.Trace(
        gibbs, energies, nought, nought, nought > 0, None, bx.Status.stuck, moved=moved
    )
    assert np.array_equal(np.isnan(bx.learning_coefficient(trace).r_hat), [False, True])
    assert trace[:1].stuck.tolist() == [False] and trace[1:].stuck.tolist() == [True]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["replica_exchange", "smc"])
def test_ladders_too(by):
    """Swaps and resampling bring no new places."""
    run = {"by": by, "key": KEY, "draws": 40, "warmup": 20, "least_swap": 0.0, "throw": False}
    trace = bx.anneal(PAIR, [0.1, 0.5], part(0.0, 1.0), **run)
    assert trace.status == bx.Status.stuck
    assert np.any(trace.moved[..., 0]) and not np.any(trace.moved[..., 1])
    assert np.all(np.isnan(bx.free_energy(trace).standard_error))


@pytest.mark.parametrize("kernel", [bx.SGLD(step_size=1e-300), bx.RandomWalk(step_size=1e300)])
def test_steps_that_are_lost_to_rounding_or_never_accepted(kernel):
    trace = bx.sample(PAIR, kernel, **RUN | {"warmup": 0, "reduce": None})
    assert trace.status == bx.Status.stuck


def test_a_constant_is_no_evidence_unless_it_is_exact():
    """Neither is an r_hat of three draws. At beta = 0 the free energy is known."""
    constant = bx.mean_estimate(jnp.full((4, 50), 2.0))
    assert float(constant.value) == 2.0
    assert np.isnan([constant.standard_error, constant.ess, constant.r_hat]).all()
    exact = bx.mean_estimate(jnp.full((4, 50), 2.0), exact=True)
    assert (float(exact.standard_error), float(exact.r_hat)) == (0.0, 1.0)
    assert np.isnan(bx.mean_estimate(jax.random.normal(KEY, (4, 3))).r_hat)


@pytest.mark.slow
def test_energies_that_are_no_numbers_are_counted_as_divergent():
    """Half of the prior is outside the domain of a root: the posterior would be cut in silence."""
    net = bx.models.Function(lambda w, x: jnp.sqrt(w) * x[0], jnp.ones(()))
    gibbs = bx.compile(energy(net), bx.Normal(), beta=0.01, integral="declared")
    for kernel in (bx.RandomWalk(), bx.MALA()):
        run = RUN | {"reduce": None, "draws": 200}
        assert bx.sample(gibbs, kernel, **run).status == bx.Status.divergent


@pytest.mark.slow
def test_a_prior_draw_without_a_finite_energy_is_drawn_again():
    """A wall is no such thing: a proposal of density zero is rejected, and that is all."""
    wall = bx.models.Function(lambda w, x: jnp.where(w > 0, w, jnp.inf) + 0 * x[0], jnp.ones(()))
    term = bx.PerDatum(wall, bx.Empirical(X[:2]), lambda model, x: model(x))
    gibbs = bx.compile(term, bx.Normal())
    trace = bx.sample(gibbs, bx.RandomWalk(), **RUN | {"reduce": None})
    assert np.all(np.isfinite(trace.energy)) and trace.status != bx.Status.divergent
    never = bx.models.Function(lambda w, x: jnp.nan * w + 0 * x[0], jnp.ones(()))
    term = bx.PerDatum(never, bx.Empirical(X[:2]), lambda model, x: model(x))
    with pytest.raises(bx.DeclarationError, match="energy is not finite"):
        bx.sample(bx.compile(term, bx.Normal()), bx.RandomWalk(), **RUN | {"reduce": None})
