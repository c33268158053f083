"""Models that nobody of this project wrote, brought as their users do.

Every model comes with a loss written by hand, in the words of its own library, as a function of the
leaves which that library trains.
"""

import dataclasses
import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.core import model_errors, weights_of

KEY = jax.random.key(0)
BETA = 0.3
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(6, 2))
ENDS = RNG.normal(size=(6, 2))
IMAGES = RNG.normal(size=(6, 4, 4, 1))
CLASSES = RNG.integers(0, 3, size=6)
TOKENS = RNG.integers(0, 5, size=(6, 4))
NEXT = RNG.integers(0, 5, size=(6, 4))


@dataclasses.dataclass
class Brought:
    """A model, its energy, what its library trains, and a loss of that by hand."""

    model: object
    energy: object
    leaves: list[jax.Array]
    by_hand: Callable[[list[jax.Array]], jax.Array]


def as_default(tree):
    """The floating arrays in the precision of the process."""

    def one(leaf):
        floating = eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, float) if floating else leaf

    return jax.tree.map(one, tree)


def squared(outputs, labels):
    return 0.5 * jnp.sum((outputs - labels) ** 2)


def cross_entropy(logits, labels):
    rest = jax.nn.logsumexp(logits, axis=-1)
    return jnp.sum(rest - jnp.take_along_axis(logits, labels[..., None], -1)[..., 0])


def of_equinox(model, loss, data, kind) -> Brought:
    """A module of equinox: it trains `eqx.filter(model, eqx.is_inexact_array)`."""
    trained, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(trained)

    def by_hand(leaves):
        whole = eqx.combine(jax.tree.unflatten(structure, leaves), rest)
        return loss(jax.vmap(whole)(jnp.asarray(data[0])), jnp.asarray(data[1]))

    return Brought(model, kind(model, bx.Empirical(data)), leaves, by_hand)


class Field(eqx.Module):
    """The vector field of a neural ODE, as in diffrax's own example."""

    net: eqx.nn.MLP

    def __call__(self, t, y, args):
        return self.net(y)


class NeuralODE(eqx.Module):
    field: Field
    adaptive: bool = False
    max_steps: int = eqx.field(static=True, default=4)
    throw: bool = eqx.field(static=True, default=True)

    def __call__(self, start):
        diffrax = pytest.importorskip("diffrax")
        control = diffrax.PIDController(rtol=1e-3, atol=1e-3)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(self.field),
            diffrax.Tsit5(),
            0.0,
            1.0,
            0.25,
            start,
            stepsize_controller=control if self.adaptive else diffrax.ConstantStepSize(),
            max_steps=self.max_steps,
            throw=self.throw,
        )
        if self.throw:
            return solution.ys[-1]
        good = solution.result == diffrax.RESULTS.successful
        return jnp.where(good, solution.ys[-1], jnp.inf)


def neural_ode(**settings) -> NeuralODE:
    pytest.importorskip("diffrax")
    net = eqx.nn.MLP(2, 2, 3, 1, activation=jnp.tanh, key=KEY)
    return NeuralODE(Field(net), **settings)


class Block(eqx.Module):
    """A decoder of one block over tokens, of equinox's own layers."""

    embedding: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    norms: list[eqx.nn.LayerNorm]
    dropout: eqx.nn.Dropout
    inner: eqx.nn.MLP
    out: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.embedding = eqx.nn.Embedding(5, 4, key=keys[0])
        self.attention = eqx.nn.MultiheadAttention(2, 4, dropout_p=0.1, key=keys[1])
        self.norms = [eqx.nn.LayerNorm(4), eqx.nn.LayerNorm(4)]
        self.dropout = eqx.nn.Dropout(0.2)
        self.inner = eqx.nn.MLP(4, 4, 6, 1, activation=jax.nn.gelu, key=keys[2])
        self.out = eqx.nn.Linear(4, 5, key=keys[3])

    def __call__(self, tokens):
        h = jax.vmap(self.embedding)(tokens)
        mask = jnp.tril(jnp.ones((len(tokens), len(tokens)), bool))
        normed = jax.vmap(self.norms[0])(h)
        h = h + self.dropout(self.attention(normed, normed, normed, mask))
        h = h + self.dropout(jax.vmap(self.inner)(jax.vmap(self.norms[1])(h)))
        return jax.vmap(self.out)(h)


class Recurrent(eqx.Module):
    """The recurrent net of equinox's documentation."""

    cell: eqx.nn.GRUCell
    out: eqx.nn.Linear

    def __call__(self, sequence):
        def step(h, x):
            return self.cell(x, h), None

        last, _ = jax.lax.scan(step, jnp.zeros(self.cell.hidden_size), sequence)
        return self.out(last)


def nnx_cnn():
    nnx = pytest.importorskip("flax.nnx")

    class CNN(nnx.Module):
        """Convolution, batch normalisation, pooling, a dense layer, as in flax's MNIST example."""

        def __init__(self, rngs):
            self.conv = nnx.Conv(1, 2, kernel_size=(3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(2, rngs=rngs)
            self.linear = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.conv(x)))
            x = nnx.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
            return self.linear(x.reshape(*x.shape[:-3], -1))

    return as_default(CNN(nnx.Rngs(0)))


def cnn() -> Brought:
    nnx = pytest.importorskip("flax.nnx")
    model = nnx_cnn()
    model.norm.mean[...] = jnp.asarray([0.2, -0.1])  # of some training
    model.norm.var[...] = jnp.asarray([0.7, 1.4])
    model.eval()
    definition, params, rest = nnx.split(model, nnx.Param, ...)
    leaves, structure = jax.tree.flatten(params)

    def by_hand(leaves):
        net = nnx.merge(definition, jax.tree.unflatten(structure, leaves), rest)
        return cross_entropy(net(jnp.asarray(IMAGES)), jnp.asarray(CLASSES))  # a batch at once

    energy = bx.CrossEntropy(model, bx.Empirical((IMAGES, CLASSES)))
    return Brought(model, energy, leaves, by_hand)


class Wrapped(eqx.Module):
    """A net of flax linen or haiku, wrapped by its user."""

    params: dict
    apply: Callable = eqx.field(static=True)

    def __call__(self, x):
        return self.apply(self.params, x)


def wrapped(params, apply) -> Brought:
    params = as_default(params)
    leaves, structure = jax.tree.flatten(params)

    def by_hand(leaves):
        outputs = apply(jax.tree.unflatten(structure, leaves), jnp.asarray(POINTS))
        return squared(outputs, jnp.asarray(ENDS))

    energy = bx.SquaredError(Wrapped(params, apply), bx.Empirical((POINTS, ENDS)))
    return Brought(Wrapped(params, apply), energy, leaves, by_hand)


def linen() -> Brought:
    nn = pytest.importorskip("flax.linen")
    net = nn.Sequential([nn.Dense(3), nn.LayerNorm(), nn.swish, nn.Dense(2)])
    return wrapped(net.init(KEY, jnp.zeros(2))["params"], lambda p, x: net.apply({"params": p}, x))


def haiku() -> Brought:
    hk = pytest.importorskip("haiku")
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([3, 2])(x)))
    return wrapped(net.init(KEY, jnp.zeros(2)), net.apply)


def ode() -> Brought:
    return of_equinox(as_default(neural_ode()), squared, (POINTS, ENDS), bx.SquaredError)


def transformer() -> Brought:
    model = as_default(eqx.nn.inference_mode(Block(KEY)))
    per_token = functools.partial(bx.CrossEntropy, count="tokens")
    return of_equinox(model, cross_entropy, (TOKENS, NEXT), per_token)


def recurrent() -> Brought:
    model = as_default(Recurrent(eqx.nn.GRUCell(1, 3, key=KEY), eqx.nn.Linear(3, 2, key=KEY)))
    return of_equinox(model, squared, (POINTS[:, :, None], ENDS), bx.SquaredError)


def mlp() -> Brought:
    model = as_default(eqx.nn.MLP(2, 2, 3, 2, key=KEY))
    return of_equinox(model, squared, (POINTS, ENDS), bx.SquaredError)


MODELS = {
    "diffrax neural ODE": ode,
    "flax nnx CNN": cnn,
    "equinox transformer": transformer,
    "equinox recurrent": recurrent,
    "equinox MLP": mlp,
    "flax linen": linen,
    "haiku MLP": haiku,
}


@functools.cache
def problem(name: str):
    brought = MODELS[name]()
    return brought, bx.compile(brought.energy, bx.Normal(), beta=BETA, marginalise=False)


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_that_its_library_trains(name):
    brought, gibbs = problem(name)
    listed = list(gibbs.position().values())
    assert [leaf.shape for leaf in listed] == [leaf.shape for leaf in brought.leaves]
    for mine, own in zip(listed, brought.leaves, strict=True):
        np.testing.assert_array_equal(mine, own)
    assert gibbs.dim == sum(leaf.size for leaf in brought.leaves)


def same_function(brought: Brought, gibbs, digits: float) -> None:
    """Energy and gradient are those of the loss by hand, at the model and at another place."""
    both = eqx.filter_jit(lambda gibbs, w: (gibbs.energy(w), jax.grad(gibbs.log_prob)(w)))
    own_both = jax.jit(jax.value_and_grad(brought.by_hand))
    np.testing.assert_allclose(
        gibbs.energy_of(brought.model), brought.by_hand(brought.leaves), rtol=digits
    )
    for w in (gibbs.position(), gibbs.sample_prior(KEY)):
        energy, slope = both(gibbs, w)
        own_energy, own_slope = own_both(list(w.values()))
        np.testing.assert_allclose(energy, own_energy, rtol=digits)
        size = max(float(jnp.max(jnp.abs(leaf))) for leaf in own_slope)
        for (path, x), own in zip(w.items(), own_slope, strict=True):
            expected = -BETA * own - x  # a standard normal prior
            np.testing.assert_allclose(slope[path], expected, rtol=0, atol=digits * (size + 1))


QUICK = {"equinox transformer", "flax nnx CNN"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in MODELS]
)
def test_energy_and_gradient_are_those_of_a_loss_by_hand(name):
    same_function(*problem(name), 1e-12)


DEAR = {"diffrax neural ODE", "equinox transformer", "equinox recurrent"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "equinox MLP" else pytest.mark.slow) for n in MODELS]
)
def test_energy_and_gradient_are_those_of_a_loss_by_hand_in_float32(name):
    with jax.enable_x64(False):
        brought = MODELS[name]()
        gibbs = bx.compile(brought.energy, bx.Normal(), beta=BETA, marginalise=False)
        assert {leaf.dtype for leaf in gibbs.position().values()} == {jnp.dtype("float32")}
        same_function(brought, gibbs, 2e-5)


def all_moved(trace) -> None:
    assert trace.status != bx.Status.stuck and np.all(np.isfinite(trace.energy))
    for path, leaf in trace.w.items():
        assert np.all(np.ptp(leaf, axis=1) > 0), path


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("flax nnx CNN", *sorted(DEAR))],
)
def test_a_run_moves_all_leaves(name):
    _, gibbs = problem(name)
    kernel = bx.SGLD(1e-3) if name == "equinox transformer" else bx.RandomWalk()
    run = {"key": KEY, "chains": 2, "warmup": 20, "draws": 40, "throw": False}
    all_moved(bx.sample(gibbs, kernel, **run))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_coefficient_of_a_net_that_is_not_trained(name):
    """Initial weights are no minimum: there is a number, and it is not called usable."""
    brought, _ = problem(name)
    result = bx.local_learning_coefficient(
        brought.energy, key=KEY, kernel=bx.RandomWalk(), chains=2, max_gradients=2000
    )
    assert np.isfinite(result.estimate.value) and not result.usable, result.reason
    all_moved(result.trace)


@pytest.mark.slow
def test_the_coefficient_of_a_trained_transformer():
    """Between 0 and half the number of weights if it is usable; if not, a reason is named."""
    optax = pytest.importorskip("optax")
    tokens = np.stack([(np.arange(6) * step + first) % 5 for step in (1, 2) for first in range(5)])
    tokens = np.concatenate([tokens] * 6)
    data = (tokens[:, :-1], tokens[:, 1:])
    start = transformer().model
    optimiser = optax.adam(1e-2)

    def loss(model):
        return cross_entropy(jax.vmap(model)(jnp.asarray(data[0])), jnp.asarray(data[1])) / 300

    @eqx.filter_jit
    def train(model):
        trained, rest = eqx.partition(model, eqx.is_inexact_array)

        def step(carry, _):
            trained, state = carry
            slope = jax.grad(lambda t: loss(eqx.combine(t, rest)))(trained)
            updates, state = optimiser.update(slope, state)
            return (optax.apply_updates(trained, updates), state), None

        (trained, _), _ = jax.lax.scan(step, (trained, optimiser.init(trained)), None, 2000)
        return eqx.combine(trained, rest)

    model = train(start)
    assert float(loss(model)) < 0.5 * float(loss(start))
    energy = bx.CrossEntropy(model, bx.Empirical(data), count="tokens")
    result = bx.local_learning_coefficient(energy, key=KEY)
    weights = sum(leaf.size for leaf in weights_of(model).values())
    assert np.isfinite(result.estimate.value) and result.reason
    if result.usable:
        assert 0 < float(result.estimate.value) < weights / 2
    all_moved(result.trace)


def test_a_net_in_training_mode_is_refused():
    model = nnx_cnn()
    assert not model.norm.use_running_average
    with pytest.raises(bx.DeclarationError, match="eval"):
        bx.compile(bx.CrossEntropy(model, bx.Empirical((IMAGES, CLASSES))), bx.Normal())
    with pytest.raises(bx.DeclarationError, match="inference"):
        bx.compile(bx.CrossEntropy(Block(KEY), bx.Empirical((TOKENS, NEXT))), bx.Normal())


def test_weights_of_a_model_of_another_precision_are_named():
    with jax.enable_x64(False):
        images, tokens = nnx_cnn(), eqx.nn.inference_mode(Block(KEY))
    images.eval()
    for energy in (
        bx.CrossEntropy(images, bx.Empirical((IMAGES, CLASSES))),
        bx.CrossEntropy(tokens, bx.Empirical((TOKENS, NEXT)), count="tokens"),
    ):
        with pytest.raises(bx.DeclarationError, match=r"model\..*float32"):
            bx.compile(energy, bx.Normal())


def scalar(fn):
    """A model of one weight that raises where it is above 1/2."""
    model = bx.models.Function(lambda w, x: fn(w) * x[0], jnp.asarray(0.1))
    data = bx.Empirical((POINTS, ENDS[:, 0]))
    loss = lambda model, z: (model(z[0]) - z[1]) ** 2  # noqa: E731
    return bx.PerDatum(model, data, loss)


CHECKED = scalar(lambda w: eqx.error_if(w, jnp.abs(w) > 0.5, "no solution"))
RUN = {"key": KEY, "chains": 2, "warmup": 10, "draws": 20}
VERBS = {
    "sample": lambda gibbs: bx.sample(gibbs, bx.RandomWalk(), start=gibbs.position(), **RUN),
    "sample, no Metropolis test": lambda gibbs: bx.sample(
        gibbs, bx.SGLD(0.1), start=gibbs.position(), **RUN
    ),
    "sample, from the prior": lambda gibbs: bx.sample(gibbs, bx.RandomWalk(), **RUN),
    "anneal": lambda gibbs: bx.anneal(gibbs, [0.5, 1.0], bx.RandomWalk(), **RUN),
    "coefficient": lambda gibbs: bx.local_learning_coefficient(
        CHECKED, key=KEY, kernel=bx.RandomWalk(), max_gradients=2000, temperature=1e-4
    ),
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_error_that_a_model_raises_says_what_failed(verb):
    gibbs = bx.compile(CHECKED, bx.Normal(), beta=0.01)
    with pytest.raises(bx.DeclarationError, match="raised.*no solution") as caught:
        VERBS[verb](gibbs)
    assert caught.value.argument == "model" and "jnp.inf" in caught.value.mend


def test_an_error_that_an_observable_raises_says_what_failed():
    model = bx.models.Function(lambda w, x: w * x[0], jnp.asarray(0.1))
    energy = bx.SquaredError(model, bx.Empirical((POINTS, ENDS[:, 0])))
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    trace = bx.sample(gibbs, bx.RandomWalk(), throw=False, **RUN)

    def raises(model):
        value = model(POINTS[0])
        return eqx.error_if(value, value < jnp.inf, "no solution")

    with pytest.raises(bx.DeclarationError, match=r"raised at a draw: no solution"):
        trace.mean(raises)
    with pytest.raises(bx.DeclarationError, match=r"raised in bx\.influence: no solution"):
        bx.influence(trace, energy, raises)


def test_an_error_of_a_function_of_the_host_too():
    text = """INTERNAL: CpuCallback error calling callback: Traceback (most recent call last):
  File "own.py", line 9, in solve
ValueError: no solution
"""
    said = "raised here: ValueError: no solution"
    with pytest.raises(bx.DeclarationError, match=said), model_errors("here"):
        raise jax.errors.JaxRuntimeError(text)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE"), model_errors("here"):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")


@pytest.mark.slow
def test_a_solver_that_fails_in_a_run():
    """diffrax raises at the weights that need more steps; as infinity they are rejected."""
    energy = bx.SquaredError(
        as_default(neural_ode(adaptive=True, max_steps=6)), bx.Empirical((POINTS, ENDS))
    )
    gibbs = bx.compile(energy, bx.Normal(0.0, 3.0), beta=0.01, marginalise=False)
    with pytest.raises(bx.DeclarationError, match=r"maximum number of solver steps[\s\S]*throw=F"):
        VERBS["sample"](gibbs)
    model = as_default(neural_ode(adaptive=True, max_steps=6, throw=False))
    energy = bx.SquaredError(model, bx.Empirical((POINTS, ENDS)))
    gibbs = bx.compile(energy, bx.Normal(0.0, 3.0), beta=0.01, marginalise=False)
    trace = bx.sample(gibbs, bx.RandomWalk(), start=gibbs.position(), throw=False, **RUN)
    assert np.all(np.isfinite(trace.energy)) and trace.status != bx.Status.non_finite
