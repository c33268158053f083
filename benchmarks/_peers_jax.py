"""Local learning coefficients by plain JAX samplers: blackjax's SGLD and numpyro's NUTS.

Both sample the log-density that boltzax compiled (so they profit from its lowering to moments),
with all data in every gradient.
"""

import math
import time

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _common import seconds
from numpyro.diagnostics import effective_sample_size
from numpyro.infer import MCMC, NUTS

import boltzax as bx
from boltzax import Gibbs

CHAINS = 4
THIN, ROWS = 10, 200
"""SGLD: steps a draw, draws a compiled call."""
BLOCK = 250
"""NUTS: draws a compiled call."""


def posterior(energy, n: int, localisation: float) -> Gibbs:
    """`exp(-E/log n - γ/2 |w - w*|²)`, E the summed loss."""
    width = localisation**-0.5
    prior = bx.Independent({path: bx.Normal(w, width) for path, w in weights(energy).items()})
    return bx.compile(energy, prior, beta=1 / math.log(n), marginalise=False)


def weights(energy) -> dict[str, jax.Array]:
    """w* by path."""
    plain = bx.compile(energy, bx.Normal(), beta=1.0, marginalise=False)
    return plain.position()


def starts(gibbs: Gibbs):
    return jax.tree.map(lambda w: jnp.broadcast_to(w, (CHAINS, *w.shape)), gibbs.position())


def rate(gibbs: Gibbs) -> float:
    """Gradients a second, all chains at once."""
    call = jax.jit(jax.vmap(jax.value_and_grad(gibbs.log_prob)))
    w = starts(gibbs)
    return CHAINS / seconds({"gradient": lambda: call(w)}, 3)["gradient"]


def summed(series: np.ndarray, gradients: int, began: float) -> dict:
    """Mean of `β (E - E(w*))`, axes `[chain, draw]`; error by numpyro's effective sample size."""
    finite = bool(np.all(np.isfinite(series))) and float(np.std(series)) > 0
    ess = float(effective_sample_size(series)) if finite else 1.0
    return {
        "value": float(np.mean(series)) if finite else None,
        "standard_error": float(np.std(series)) / math.sqrt(max(ess, 1.0)) if finite else None,
        "gradient_evaluations": gradients,
        "seconds": time.perf_counter() - began,
    }


def sgld(gibbs: Gibbs, step: float, gradients: int, limit: float, key) -> dict:
    """blackjax's SGLD kernel, scanned and mapped over chains; the first fifth is left out.

    `step` is ε of `w += ε/2 ∇ log p + √ε N(0, 1)`, as devinterp's `lr`; blackjax's is half of it.
    """
    began = time.perf_counter()
    w, parts, spent = starts(gibbs), [], 0
    reference = float(gibbs.beta * gibbs.energy(gibbs.position()))
    while spent < gradients and time.perf_counter() - began < limit:
        key, now = jax.random.split(key)
        w, part = _draws(gibbs, w, jnp.asarray(step), now)
        parts.append(np.asarray(part))
        spent += CHAINS * THIN * ROWS
        if not np.all(np.isfinite(parts[-1])):
            break
    series = np.concatenate(parts, axis=1) - reference
    return summed(series[:, series.shape[1] // 5 :], spent, began)


@eqx.filter_jit
def _draws(gibbs: Gibbs, w, step, key):
    kernel = blackjax.sgld(lambda w, _: jax.grad(gibbs.log_prob)(w))

    def draw(w, key):
        for_each = jax.random.split(key, THIN)
        w, _ = jax.lax.scan(lambda w, k: (kernel.step(k, w, None, step / 2), None), w, for_each)
        return w, gibbs.beta * gibbs.energy(w)

    def chain(w, key):
        return jax.lax.scan(draw, w, jax.random.split(key, ROWS))

    return jax.vmap(chain)(w, jax.random.split(key, CHAINS))


def nuts(gibbs: Gibbs, gradients: int, warmup: int, limit: float, key) -> dict:
    """numpyro's NUTS with its defaults, chains vectorised, in blocks until the gradients are spent.

    At least two blocks, or one where the time is up.
    """
    began = time.perf_counter()
    run = MCMC(
        NUTS(potential_fn=lambda w: -gibbs.log_prob(w)),
        num_warmup=warmup,
        num_samples=BLOCK,
        num_chains=CHAINS,
        chain_method="vectorized",
        progress_bar=False,
    )
    fields = ("num_steps", "potential_energy")
    run.warmup(key, init_params=starts(gibbs), extra_fields=fields, collect_warmup=True)
    spent = int(np.sum(run.get_extra_fields()["num_steps"]))
    prior = jax.jit(jax.vmap(jax.vmap(gibbs.log_prior)))
    reference = float(gibbs.beta * gibbs.energy(gibbs.position()))
    parts = []
    while len(parts) < 2 or spent < gradients:
        run.post_warmup_state = run.last_state
        run.run(run.last_state.rng_key, extra_fields=fields)
        extra = run.get_extra_fields(group_by_chain=True)
        spent += int(np.sum(extra["num_steps"]))
        potential = extra["potential_energy"] + prior(run.get_samples(group_by_chain=True))
        parts.append(np.asarray(potential) - reference)
        if time.perf_counter() - began > limit:
            break
    return summed(np.concatenate(parts, axis=1), spent, began)
