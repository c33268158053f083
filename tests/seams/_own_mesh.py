"""Data and weights on a mesh of the user's own, with explicit axes: prints what differs."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import boltzax as bx

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(24, 2))
Y = X @ np.array([[0.0, 1.0], [-1.0, 0.0]])
MESH = jax.make_mesh((4,), ("d",))
ROWS = NamedSharding(MESH, PartitionSpec("d"))
NET = bx.models.MLP((2, 3, 2), key=KEY)
MODELS = {"net": NET, "linear": bx.models.DeepLinear((2, 2), key=KEY)}


def whole(array):
    return jnp.asarray(array)


def split(array):
    return jax.device_put(array, ROWS)


def log_prob(gibbs):
    return jax.jit(lambda gibbs, w: gibbs.log_prob(w))(gibbs, gibbs.position())


def squared(model, place, **options):
    data = bx.Empirical((place(X), place(Y)), weights=place(np.ones(24)))
    return bx.compile(bx.SquaredError(model, data), bx.Normal(), **options)


def classified(place):
    data = bx.Empirical((place(X), place((X[:, 0] > 0).astype(int))))
    return bx.compile(bx.CrossEntropy(NET, data), bx.Normal())


def sampled(place, placement=None):
    run = {"key": KEY, "warmup": 2, "draws": 4, "throw": False, "placement": placement}
    return bx.sample(squared(NET, place, marginalise=False), bx.MALA(), **run).energy


def minibatched(place):
    data = bx.Subsampled(bx.Empirical((place(X), place(Y))), 6)
    gibbs = bx.compile(bx.SquaredError(NET, data), bx.Normal())
    return jax.jit(lambda w: gibbs.log_prob_estimate(w, KEY))(gibbs.position())


def replicated_weights(place):
    everywhere = NamedSharding(MESH, PartitionSpec())
    model = jax.tree.map(lambda w: jax.device_put(w, everywhere), NET) if place is split else NET
    return log_prob(squared(model, place, marginalise=False))


CASES = {
    "net": lambda place: log_prob(squared(NET, place, marginalise=False)),
    "readout": lambda place: log_prob(squared(NET, place)),
    "moments": lambda place: log_prob(squared(MODELS["linear"], place, marginalise=False)),
    "linear": lambda place: log_prob(squared(MODELS["linear"], place)),
    "classes": lambda place: log_prob(classified(place)),
    "minibatch": minibatched,
    "weights": replicated_weights,
    "sample": sampled,
    "placement": lambda place: sampled(place, bx.Placement(MESH, chains="d")),
}


def main() -> None:
    """A line of JSON for each case: the largest difference, relative to the largest value."""
    for name in sys.argv[1:]:
        case = CASES[name]
        expected, found = np.asarray(case(whole)), np.asarray(case(split))
        apart = float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
        sys.stdout.write(json.dumps([name, apart]) + "\n")


if __name__ == "__main__":
    main()
