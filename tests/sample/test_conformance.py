"""Every kernel conforms, and the check refuses kernels with planted mistakes."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import boltzax as bx
from boltzax.sample import AbstractKernel, Move
from boltzax.testing import check_kernel
from boltzax.testing._kernel_target import BETAS, POINTS, densities, moments

KEY = jax.random.key(7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel, options",
    [
        (bx.RandomWalk(), {}),
        (bx.MALA(), {}),
        (bx.NUTS(), {"draws": 500, "warmup": 200}),
    ],
    ids=["random walk", "mala", "nuts"],
)
def test_kernel_conforms(kernel, options):
    check_kernel(kernel, key=KEY, **options)


class State(NamedTuple):
    w: dict
    log_step: jax.Array


def noise(w, key, mistake=None):
    """Normals of the shape of `w`, or, by mistake, with one key for all paths or for a shape."""
    keys = jax.random.split(key, len(w))
    if mistake == "one key for all paths":
        keys = [key] * len(w)
    if mistake == "one key for a shape":
        keys = [jax.random.fold_in(key, x.ndim) for x in w.values()]
    return {p: jax.random.normal(k, x.shape) for k, (p, x) in zip(keys, w.items(), strict=True)}


class Langevin(AbstractKernel):
    """Metropolis-adjusted Langevin, right unless a mistake is named."""

    mistake: str | None = eqx.field(static=True)

    def init(self, gibbs, w, key, warmup):
        if self.mistake == "starts elsewhere":
            w = jax.tree.map(lambda x: x + 1, w)
        return State(w, jnp.log(jnp.asarray(0.3)))

    def step(self, gibbs, state, key, gain, warmup):
        if self.mistake == "temperature ignored":
            gibbs = gibbs.at(1.0)
        if self.mistake == "prior forgotten":
            gibbs = eqx.tree_at(lambda g: g.coordinates.priors, gibbs, wide(gibbs))
        factor = {"hardly moves": 0.02, "noise too loud": 0.5}.get(self.mistake, 1.0)
        size = factor * jnp.exp(state.log_step)
        slope = jax.grad(gibbs.log_prob)
        noise_key, accept_key = jax.random.split(key)
        e, _ = ravel_pytree(noise(state.w, noise_key, self.mistake))
        w, tree = ravel_pytree(state.w)
        loud = 1.15 if self.mistake == "noise too loud" else 1.0

        def mean(w):
            return w + 0.5 * size**2 * ravel_pytree(slope(tree(w)))[0]

        new = mean(w) + loud * size * e
        ratio = gibbs.log_prob(tree(new)) - gibbs.log_prob(tree(w))
        back = jnp.sum((w - mean(new)) ** 2) - jnp.sum((new - mean(w)) ** 2)
        ratio = ratio - 0.5 * back / size**2 * (0.0 if self.mistake == "no reverse move" else 1.0)
        probability = jnp.exp(jnp.minimum(ratio, 0.0))
        accept = jax.random.uniform(accept_key) < probability
        if self.mistake in ("no Metropolis test", "noise too loud"):
            accept = jnp.array(True)
        w = tree(jnp.where(accept, new, w))
        gain = 0.3 if self.mistake == "tunes for ever" else gain
        gain = 0.0 if self.mistake in ("noise too loud", "hardly moves") else gain
        log_step = state.log_step + gain * (probability - 0.6)
        if self.mistake == "another dtype":
            log_step = log_step.astype(jnp.float32)
        if self.mistake == "another shape":
            log_step = jnp.full(2, log_step)
        if self.mistake == "reports a vector":
            probability = probability * jnp.ones(2)
        return State(w, log_step), Move(probability, jnp.array(False))

    def position(self, state):
        return state.w

    def moved(self, gibbs, state, w, key):
        return state if self.mistake == "does not go where told" else state._replace(w=w)


class Cached(NamedTuple):
    w: dict
    log_prob: jax.Array
    log_step: jax.Array
    beta: jax.Array


class Walk(AbstractKernel):
    """Metropolis' walk with a density that is kept, right unless a mistake is named."""

    mistake: str | None = eqx.field(static=True)

    def init(self, gibbs, w, key, warmup):
        return Cached(w, gibbs.log_prob(w), jnp.log(jnp.asarray(0.5)), gibbs.beta)

    def step(self, gibbs, state, key, gain, warmup):
        beta = gibbs.beta
        if self.mistake == "beta of the start":
            gibbs = at(gibbs, state.beta)
            beta = state.beta
        key_noise, key_accept = jax.random.split(key)
        e = noise(state.w, key_noise, self.mistake)
        new = jax.tree.map(lambda w, e: w + jnp.exp(state.log_step) * e, state.w, e)
        log_prob = gibbs.log_prob(new)
        probability = jnp.exp(jnp.minimum(log_prob - state.log_prob, 0.0))
        accept = jax.random.uniform(key_accept) < probability
        pair = (new, log_prob), (state.w, state.log_prob)
        chosen = jax.tree.map(lambda a, b: jnp.where(accept, a, b), *pair)
        log_step = state.log_step + gain * (probability - 0.4)
        return Cached(*chosen, log_step, beta), Move(probability, jnp.array(False))

    def position(self, state):
        return state.w

    def moved(self, gibbs, state, w, key):
        if self.mistake == "stale":
            return state._replace(w=w)
        if self.mistake == "forgets":
            state = self.init(gibbs, w, key, 1)
        if self.mistake in ("beta of the start", "beta of the step before"):
            gibbs = at(gibbs, state.beta)
        return state._replace(w=w, log_prob=gibbs.log_prob(w))


def at(gibbs, beta):
    return eqx.tree_at(lambda g: g.beta, gibbs, beta)


def test_a_move_that_keeps_a_density_or_forgets_its_tuning_is_found():
    check_kernel(Walk(None), key=KEY)
    with pytest.raises(AssertionError, match="kept something of the place"):
        check_kernel(Walk("stale"), key=KEY)
    with pytest.raises(AssertionError, match="changed the tuning"):
        check_kernel(Walk("forgets"), key=KEY)


class Independent(AbstractKernel):
    """Independent draws with the means and variances of the check's target, but of another law."""

    law: str = eqx.field(static=True)

    def init(self, gibbs, w, key, warmup):
        return w

    def step(self, gibbs, state, key, gain, warmup):
        flat, tree = ravel_pytree(state)
        level = jnp.where(gibbs.beta == BETAS[0], 0, 1)
        mean, deviation = (jnp.asarray(each)[:, level] for each in moments()[:2])
        uniform = jax.random.uniform(key, flat.shape)
        if self.law == "correlated":
            uniform = jnp.full(flat.shape, uniform[0])
        if self.law == "uniform":
            new = mean + deviation * 12**0.5 * (uniform - 0.5)
        elif self.law == "gaussian":
            new = mean + deviation * jax.random.normal(key, flat.shape)
        else:
            below = jnp.cumsum(jnp.asarray(densities())[:, level], axis=-1)
            new = jax.vmap(lambda u, p: jnp.interp(u, p, POINTS))(uniform, below)
        return tree(new), Move(jnp.ones(()), jnp.array(False))

    def position(self, state):
        return state

    def moved(self, gibbs, state, w, key):
        return w


def test_a_wrong_law_with_the_right_means_and_variances_is_found():
    check_kernel(Independent("right"), key=KEY)
    for law in ("uniform", "gaussian"):
        with pytest.raises(AssertionError, match="fourth moment"):
            check_kernel(Independent(law), key=KEY)
    with pytest.raises(AssertionError, match="product"):
        check_kernel(Independent("correlated"), key=KEY)


@pytest.mark.parametrize(
    ("kernel", "mistake"),
    [
        (Walk, "one key for a shape"),
        (Langevin, "one key for all paths"),
        pytest.param(Walk, "one key for all paths", marks=pytest.mark.slow),
        pytest.param(Langevin, "one key for a shape", marks=pytest.mark.slow),
    ],
)
def test_one_key_for_several_paths_is_found(kernel, mistake):
    with pytest.raises(AssertionError, match="product|effective draws|variance"):
        check_kernel(kernel(mistake), key=KEY)


def test_a_temperature_that_is_kept_is_found():
    with pytest.raises(AssertionError, match="mean|effective draws"):
        check_kernel(Walk("beta of the start"), key=KEY)
    with pytest.raises(AssertionError, match="kept something of the place"):
        check_kernel(Walk("beta of the step before"), key=KEY)


class Unadjusted(AbstractKernel):
    """Steps without a Metropolis test that are exact for Gaussian measures only.

    With `newton` a draw of the Gaussian that has the slope and the curvature of the place; else
    `w + h ∇log p + √(h/2) (ξ + ξ')`, each noise used in two steps (Leimkuhler & Matthews 2013).
    """

    newton: bool = eqx.field(static=True)
    size: float = eqx.field(static=True, default=0.1)

    def init(self, gibbs, w, key, warmup):
        return w, ravel_pytree(noise(w, key))[0]

    def step(self, gibbs, state, key, gain, warmup):
        w, tree = ravel_pytree(state[0])
        new = jax.random.normal(key, w.shape)
        slope = jax.grad(lambda w: gibbs.log_prob(tree(w)))
        if self.newton:
            curvature = -jnp.diag(jax.jacfwd(slope)(w))
            w = w + slope(w) / curvature + new / jnp.sqrt(curvature)
        else:
            w = w + self.size * slope(w) + (0.5 * self.size) ** 0.5 * (state[1] + new)
        return (tree(w), new), Move(jnp.ones(()), jnp.array(False))

    def position(self, state):
        return state[0]

    def moved(self, gibbs, state, w, key):
        return self.init(gibbs, w, key, 0)


@pytest.mark.parametrize("newton", [True, False])
def test_a_step_that_is_exact_for_gaussians_only_is_found(newton):
    with pytest.raises(AssertionError, match="variance|fourth moment|mean|finite"):
        check_kernel(Unadjusted(newton), key=KEY)


def wide(gibbs):
    return {path: bx.Normal(0.0, 10.0) for path in gibbs.coordinates.priors}


def test_the_kernel_of_the_planted_mistakes_is_right():
    check_kernel(Langevin(None), key=KEY)


STATISTICAL = {
    "temperature ignored": "mean",
    "prior forgotten": "mean|variance",
    "no Metropolis test": "mean|variance|finite",
    "noise too loud": "variance",
    "no reverse move": "variance",
    "hardly moves": "effective draws",
}
STRUCTURAL = {
    "starts elsewhere": "does not start",
    "tunes for ever": "place before|gain 0",
    "another dtype": "structure",
    "another shape": "structure",
    "reports a vector": "reports",
    "does not go where told": "does not move",
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", [*STATISTICAL, *STRUCTURAL])
def test_a_planted_mistake_is_found(mistake):
    complaint = (STATISTICAL | STRUCTURAL)[mistake]
    with pytest.raises(AssertionError, match=complaint):
        check_kernel(Langevin(mistake), key=KEY, warmup=200)


@pytest.mark.slow
def test_right_kernels_pass_at_other_keys(monkeypatch):
    """Right kernels pass at 20 other keys (their steps are looked at elsewhere)."""
    monkeypatch.setattr("boltzax.testing._conformance._check_steps", lambda *args: None)
    for seed in range(20):
        check_kernel(Walk(None), key=jax.random.key(seed))
        check_kernel(Langevin(None), key=jax.random.key(seed))


@pytest.mark.slow
def test_false_alarms_are_rare():
    """The z-scores that the check looks at are of order one over many keys."""
    from boltzax.core import Estimate
    from boltzax.testing import _conformance as conformance

    target = conformance.gaussian_target()
    trace = bx.sample(
        target.gibbs.at(jnp.full(12, conformance.BETA)), bx.MALA(), key=KEY, warmup=300, draws=1500
    )
    x = np.stack(
        [target.standard({p: w[i] for p, w in trace.w.items()}) for i in range(12)], axis=1
    )
    scores = np.concatenate(
        [
            np.ravel(Estimate.of_series(x).z_score(0.0)),
            np.ravel(Estimate.of_series(x**2).z_score(1.0)),
        ]
    )
    assert np.max(np.abs(scores)) < 4
    assert 0.6 < np.sqrt(np.mean(scores**2)) < 1.4
