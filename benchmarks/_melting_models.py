"""Trained nets of 500 to 1,000 weights, with a score that says what a model knows of its task."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import boltzax as bx


class Attention(eqx.Module):
    """A transformer of one block that reads its answer at the last position."""

    embedding: eqx.nn.Embedding
    places: jax.Array
    attention: eqx.nn.MultiheadAttention
    norms: list[eqx.nn.LayerNorm]
    dropout: eqx.nn.Dropout
    inner: eqx.nn.MLP
    out: eqx.nn.Linear

    def __init__(self, tokens: int, classes: int, length: int, key, width: int = 8):
        keys = jax.random.split(key, 5)
        self.embedding = eqx.nn.Embedding(tokens, width, key=keys[0])
        self.places = jax.random.normal(keys[1], (length, width))
        self.attention = eqx.nn.MultiheadAttention(2, width, key=keys[2])
        self.norms = [eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)]
        self.dropout = eqx.nn.Dropout(0.1, inference=True)
        self.inner = eqx.nn.MLP(width, width, 2 * width, 1, activation=jax.nn.gelu, key=keys[3])
        self.out = eqx.nn.Linear(width, classes, key=keys[4])

    def __call__(self, tokens):
        h = jax.vmap(self.embedding)(tokens) + self.places
        mask = jnp.tril(jnp.ones((len(tokens), len(tokens)), bool))
        normed = jax.vmap(self.norms[0])(h)
        h = h + self.dropout(self.attention(normed, normed, normed, mask))
        h = h + self.dropout(jax.vmap(self.inner)(jax.vmap(self.norms[1])(h)))
        return self.out(h[-1])


class Convolution(eqx.Module):
    """3 x 3 pixels to channels, at every second pixel: a matrix product over patches."""

    layer: eqx.nn.Linear

    def __init__(self, channels: int, to: int, key):
        self.layer = eqx.nn.Linear(9 * channels, to, key=key)

    def __call__(self, image):
        """`[row, column, channel]` to half as many rows and columns."""
        padded = jnp.pad(image, ((0, 1), (0, 1), (0, 0)))
        size = image.shape[0]
        shifts = [padded[i : i + size : 2, j : j + size : 2] for i in range(3) for j in range(3)]
        patches = jnp.concatenate(shifts, axis=-1)
        return patches @ self.layer.weight.T + self.layer.bias


class Convolutional(eqx.Module):
    """Two convolutions and a linear layer."""

    layers: list[Convolution]
    out: eqx.nn.Linear

    def __init__(self, classes: int, key):
        keys = jax.random.split(key, 3)
        self.layers = [Convolution(1, 8, keys[0]), Convolution(8, 6, keys[1])]
        self.out = eqx.nn.Linear(24, classes, key=keys[2])

    def __call__(self, image):
        h = image[..., None]
        for layer in self.layers:
            h = jnp.tanh(layer(h))
        return self.out(h.ravel())


class Recurrent(eqx.Module):
    """A gated recurrent net that answers at every position."""

    cell: eqx.nn.GRUCell
    out: eqx.nn.Linear
    tokens: int = eqx.field(static=True)

    def __init__(self, tokens: int, classes: int, key, width: int = 12):
        keys = jax.random.split(key)
        self.cell = eqx.nn.GRUCell(tokens, width, key=keys[0])
        self.out = eqx.nn.Linear(width, classes, key=keys[1])
        self.tokens = tokens

    def __call__(self, tokens):
        def step(h, x):
            h = self.cell(x, h)
            return h, self.out(h)

        one_hot = jax.nn.one_hot(tokens, self.tokens)
        return jax.lax.scan(step, jnp.zeros(self.cell.hidden_size), one_hot)[1]


class Linear(eqx.Module):
    """`w·x`."""

    w: jax.Array

    def __call__(self, x):
        return self.w @ x


@dataclasses.dataclass(frozen=True)
class Target:
    """A trained model with its data.

    Args:
        name: What it is.
        energy: Of the trained model.
        score: What a model knows of the task: accuracy, or correlation with the truth.
        guess: The score of the best answer that does not look at the input.
        explained: Of a regression: explained part of the variance of the truth, for a model.
        exact: Of a linear model: λ̂ at a beta, at localisation 1.
    """

    name: str
    energy: bx.SquaredError | bx.CrossEntropy
    score: Callable
    guess: float
    explained: Callable | None = None
    exact: Callable | None = None

    @property
    def n(self) -> float:
        """The number of data, or of positions that count."""
        probe = bx.compile(self.energy, bx.Normal(), beta=1.0, marginalise=False)
        return float(probe.masses[0])

    @property
    def weights(self) -> int:
        leaves = jax.tree.leaves(eqx.filter(self.energy.model, eqx.is_inexact_array))
        return sum(leaf.size for leaf in leaves)


def trained(energy, steps: int, rate: float, polish: int = 0):
    """The energy at weights that `steps` of Adam and `polish` of L-BFGS have led to."""
    params, static = eqx.partition(energy.model, eqx.is_inexact_array)
    mass = float(energy.measure.mass)

    def loss(params):
        model = eqx.combine(params, static)
        return energy.value(model) / mass

    def run(params, optimiser, count, **given):
        def step(carry, _):
            params, state = carry
            value, slope = jax.value_and_grad(loss)(params)
            more = {"value": value, "grad": slope, "value_fn": loss} if given else {}
            update, state = optimiser.update(slope, state, params, **more)
            return (optax.apply_updates(params, update), state), value

        start = (params, optimiser.init(params))
        return jax.jit(lambda start: jax.lax.scan(step, start, length=count)[0][0])(start)

    params = run(params, optax.adam(optax.cosine_decay_schedule(rate, steps)), steps)
    if polish:
        params = run(params, optax.lbfgs(), polish, line=True)
    return eqx.tree_at(lambda e: e.model, energy, eqx.combine(params, static))


def _classifier(name: str, energy, x, y, steps: int, rate: float) -> Target:
    x, y = jnp.asarray(x), jnp.asarray(y)

    def accuracy(model):
        return jnp.mean(jnp.argmax(jax.vmap(model)(x), axis=-1) == y)

    guess = float(np.max(np.bincount(np.ravel(y))) / y.size)
    return Target(name, trained(energy, steps, rate), accuracy, guess)


def _regression(name: str, energy, x, truth, **more) -> Target:
    x, truth = jnp.asarray(x), jnp.asarray(truth)

    def correlation(model):
        return jnp.corrcoef(jax.vmap(model)(x), truth)[0, 1]

    def explained(model):
        return 1 - jnp.mean((jax.vmap(model)(x) - truth) ** 2) / jnp.var(truth)

    return Target(name, energy, correlation, 0.0, explained, **more)


def transformer(rng, key) -> Target:
    """Addition modulo 11, all pairs."""
    p = 11
    a, b = (each.ravel() for each in np.meshgrid(np.arange(p), np.arange(p), indexing="ij"))
    x, y = np.stack([a, b], axis=1), (a + b) % p
    energy = bx.CrossEntropy(Attention(p, p, 2, key), bx.Empirical((x, y)))
    return _classifier("transformer", energy, x, y, 2000, 1e-2)


def convolutional(rng, key) -> Target:
    """Bars of four directions through 8 x 8 pixels, with noise."""
    n = 96
    y = rng.integers(0, 4, n)
    angle, shift = y * np.pi / 4, rng.uniform(-1.5, 1.5, n)
    i, j = np.meshgrid(np.arange(8) - 3.5, np.arange(8) - 3.5, indexing="ij")
    across = np.cos(angle)[:, None, None] * i + np.sin(angle)[:, None, None] * j
    x = 2 * np.exp(-((across - shift[:, None, None]) ** 2)) + 0.5 * rng.normal(size=(n, 8, 8))
    energy = bx.CrossEntropy(Convolutional(4, key), bx.Empirical((x, y)))
    return _classifier("convolutional", energy, x, y, 1000, 1e-2)


def mlp(rng, key) -> Target:
    """A student of the shape of its teacher, with noise of variance 1."""
    n, shape = 200, (4, "scalar", 28, 2)
    teacher = eqx.nn.MLP(*shape, activation=jnp.tanh, key=jax.random.fold_in(key, 1))
    student = eqx.nn.MLP(*shape, activation=jnp.tanh, key=jax.random.fold_in(key, 2))
    scale = 4 / jnp.std(jax.vmap(teacher)(rng.normal(size=(n, 4))))

    def truth(x):
        return np.asarray(scale * jax.vmap(teacher)(x))

    x, fresh = rng.normal(size=(n, 4)), rng.normal(size=(n, 4))
    y = truth(x) + rng.normal(size=n)
    energy = trained(bx.SquaredError(student, bx.Empirical((x, y))), 2000, 1e-2, 300)
    return _regression("mlp", energy, fresh, truth(fresh))


def recurrent(rng, key) -> Target:
    """The running sum modulo 3 of sequences of 6 digits, asked at every position."""
    x = rng.integers(0, 3, (24, 6))
    y = np.cumsum(x, axis=1) % 3
    energy = bx.CrossEntropy(Recurrent(3, 3, key), bx.Empirical((x, y)), count="tokens")
    return _classifier("recurrent", energy, x, y, 2000, 2e-2)


def weak(rng, key) -> Target:
    """A linear model of 25 weights whose signal is a tenth of the variance of the labels."""
    n, d = 600, 25
    x, w = rng.normal(size=(n, d)), rng.normal(size=d)
    w *= np.sqrt(1 / 9) / np.linalg.norm(w)
    y = x @ w + rng.normal(size=n)
    model = Linear(jnp.asarray(np.linalg.lstsq(x, y, rcond=None)[0]))
    energy = bx.SquaredError(model, bx.Empirical((x, y)))
    curvature = np.linalg.eigvalsh(x.T @ x)

    def exact(beta: float) -> float:
        return float(0.5 * np.sum(beta * curvature / (beta * curvature + 1)))

    fresh = rng.normal(size=(n, d))
    return _regression("weak signal", energy, fresh, fresh @ w, exact=exact)


TARGETS = {
    "transformer": transformer,
    "convolutional": convolutional,
    "mlp": mlp,
    "recurrent": recurrent,
    "weak": weak,
}
