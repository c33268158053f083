"""Gaussians for bounds on the free energy: at minima, from walkers, and from draws."""

import warnings
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ..compile import Gibbs
from ._annealed_importance import MOVES, Flat, Gaussian, walk
from ._descent import descend, gaussian, laplace
from ._ensemble import Ensemble
from ._free_energy_bounds import Bounds

WALKERS, PLACES = 40, 16
"""Particles of a trial, and places on its path from the Gaussian to the measure."""

PER_BETA = 9 * WALKERS * (MOVES * PLACES + 1)
"""Evaluations at one beta: six trials, three of which walk first."""

LARGEST = 64
"""Most coordinates for which trials are made: their covariances are full matrices."""

APART = 0.3
"""Distance between places from which minima are sought, in standard deviations of the prior."""

MINIMA = 2
"""How many minima are followed."""


def flatten(gibbs: Gibbs, key: PRNGKeyArray) -> tuple[Flat, np.ndarray]:
    """The measure over vectors, and 512 draws of the prior in these coordinates."""
    drawn = Ensemble.prior(gibbs, 512, key=key).w
    draws = {path: np.asarray(leaf) for path, leaf in drawn.items()}
    flat = np.concatenate([draws[path].reshape(512, -1) for path in sorted(draws)], axis=1)
    # half the distance between the quantiles 0.16 and 0.84: the standard deviation of a normal
    low, high = np.quantile(np.asarray(flat, float), [0.16, 0.84], axis=0)
    scale = np.asarray(np.maximum(0.5 * (high - low), 1e-6), flat.dtype)
    template = {path: jnp.asarray(leaf[0], leaf.dtype) for path, leaf in draws.items()}
    return Flat(gibbs, template, jnp.asarray(scale, scale.dtype)), flat / scale[None]


class Search:
    """Trials at given betas, with the count of evaluations that they took."""

    def __init__(self, flat: Flat, key: PRNGKeyArray):
        self.flat, self.key, self.spent, self.calls = flat, key, 0, 0

    def next_key(self) -> PRNGKeyArray:
        self.calls += 1
        return jax.random.fold_in(self.key, self.calls)

    def values(self, x: np.ndarray, beta: float) -> np.ndarray:
        """Log-densities of many places."""
        self.spent += len(x)
        return np.asarray(_values(self.flat, x, np.asarray(beta)), float)

    def minima(self, starts: np.ndarray, beta: float, keep: int, iterations: int = 15) -> list:
        """The distinct minima reached from the starts, lowest Laplace free energy first.

        Each is `(place, law)`; where the model has no gradient, the best starts themselves.
        """
        found = []
        for start in starts:
            x, value, curvature, spent = descend(self.flat, start, beta, iterations)
            self.spent += spent
            if np.isfinite(value):
                law, free = laplace(x, value, curvature)
                found.append((free, value, x, law))
        found.sort(key=lambda each: each[0])
        distinct = []
        for free, value, x, law in found:
            # equal in value and volume: the same minimum, or its image by a symmetry
            if all(abs(free - f) + abs(value - v) > 1e-2 for f, v, *_ in distinct):
                distinct.append((free, value, x, law))
        return [(x, law) for *_, x, law in distinct[:keep]]

    def settled(self, start: np.ndarray, law: Gaussian, beta: float) -> Gaussian | None:
        """The Gaussian of walkers that began at `start` and stayed in its region at `beta`."""
        path = np.ones(PLACES + 1, start.dtype)
        places, _ = self._walk(law, start, beta, path)
        settled = places[PLACES // 2 :].reshape(-1, places.shape[-1])
        return fitted(settled)

    def log_weights(self, law: Gaussian, beta: float) -> np.ndarray:
        """Logarithms of the weights of particles carried from a Gaussian to the measure."""
        noise = jax.random.normal(
            self.next_key(), (WALKERS, len(law.centre)), dtype=law.centre.dtype
        )
        start = law.centre[None] + noise @ law.factor.T
        path = np.linspace(0.0, 1.0, PLACES + 1, dtype=law.centre.dtype)
        return np.asarray(self._walk(law, np.asarray(start), beta, path)[1], float)

    def _walk(self, law, start, beta, path):
        self.spent += WALKERS * (MOVES * PLACES + 1)
        start = np.asarray(start)[np.arange(WALKERS) % len(start)]
        args = (law, np.asarray(beta), start, path, self.next_key())
        places, log_weights = walk(self.flat, *args)
        return np.asarray(places), log_weights


@eqx.filter_jit
def _values(flat: Flat, x: Array, beta: Array) -> Array:
    return jax.lax.map(lambda x: flat.log_density(x, beta), x, batch_size=64)


def fitted(draws: np.ndarray) -> Gaussian | None:
    """A Gaussian of the mean and the covariance of draws, made a little wider; None for no spread.

    Correlations are shrunk, by as much as their noise calls for.
    """
    if len(draws) < 2 or not np.all(np.isfinite(draws)):
        return None
    covariance = np.atleast_2d(np.cov(draws.astype(float).T))
    own = np.diag(np.diag(covariance))
    if not np.all(np.diag(covariance) > 0):
        return None
    shrink = draws.shape[1] / (draws.shape[1] + 0.5 * len(draws))
    law = (1 - shrink) * covariance + shrink * own
    return gaussian(draws.mean(axis=0).astype(draws.dtype), 1.2 * law)


def search(
    flat: Flat,
    betas: Sequence[float],
    starts: np.ndarray,
    given: np.ndarray,
    draws: Sequence[np.ndarray | None],
    hotter: Sequence[np.ndarray | None],
    key: PRNGKeyArray,
) -> Bounds:
    """Bounds at betas in falling order.

    At the first beta the minima are sought from `given` and `starts`; at the others from these
    minima. `draws[i]` are draws of a run at `betas[i]`, `hotter[i]` of the same run at a smaller
    beta, from which walkers begin (a phase that is carried too far). Any of these may be missing.
    """
    task = Search(flat, key)
    smooth = differentiable(flat)
    best, table = [], []
    for place, beta in enumerate(betas):
        if place == 0:
            begin = np.concatenate([given, apart(starts, task.values(starts, beta))])
        else:
            begin = np.stack([x for x, _ in best]) if best else given
        best = _minima(task, begin, beta, MINIMA + len(given), smooth, 15 if place == 0 else 5)
        laws = _laws(task, best, beta, draws[place], hotter[place])
        logs = {name: task.log_weights(law, beta) for name, law in laws.items() if law is not None}
        table.append(logs)
    names = tuple(dict.fromkeys(name for logs in table for name in logs))
    none = np.full(WALKERS, -np.inf)
    filled = np.array([[logs.get(name, none) for logs in table] for name in names])
    log_weights = jnp.asarray(filled.reshape(len(names), len(betas), WALKERS))
    return Bounds(jnp.asarray(betas, float), log_weights, names, task.spent)


def apart(places: np.ndarray, values: np.ndarray, count: int = 5) -> np.ndarray:
    """The best places, each at least `APART` from those before it as long as there are such.

    In a few dimensions the best values alone would all lie at the bottom of one wide valley.
    """
    ranked = places[np.argsort(-values)]
    left, chosen = np.ones(len(ranked), bool), []
    while len(chosen) < min(count, len(ranked)):
        if not np.any(left):
            others = [i for i in range(len(ranked)) if i not in chosen]
            chosen += others[: count - len(chosen)]
            break
        best = int(np.argmax(left))
        chosen.append(best)
        left &= np.linalg.norm(ranked - ranked[best], axis=1) > APART
    return ranked[chosen]


def _laws(task: Search, best: list, beta: float, draws, hotter) -> dict[str, Gaussian | None]:
    """The Gaussians of the trials at one beta, by what they began with."""
    laws: dict[str, Gaussian | None] = {}
    for i, (x, law) in enumerate(best):
        laws[f"minimum {i}"] = law
        laws[f"walkers at minimum {i}"] = task.settled(x[None], law, beta)
    if hotter is not None:
        law = fitted(hotter)
        pick = hotter[:: max(1, len(hotter) // WALKERS)]
        laws["walkers from a hotter level"] = law and task.settled(pick, law, beta)
    if draws is not None:
        laws["draws"] = fitted(draws)
    return laws


def _minima(task, begin, beta, keep, smooth, iterations) -> list:
    if not len(begin):
        return []
    if smooth:
        return task.minima(begin, beta, keep, iterations)
    values = task.values(begin, beta)
    order = [i for i in np.argsort(-values) if np.isfinite(values[i])]
    one = np.eye(begin.shape[1])
    return [(begin[i], gaussian(begin[i], one)) for i in order[:keep]]


def differentiable(flat: Flat) -> bool:
    """Whether the log-density has a gradient that JAX can trace."""
    x = jnp.zeros_like(flat.scale)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            eqx.filter_eval_shape(jax.grad(flat.log_density), x, jnp.ones(()))
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True
