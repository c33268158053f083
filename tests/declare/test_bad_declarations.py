"""Wrong declarations: each one is a `DeclarationError` that names the argument and the mend."""

import contextlib
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(0)
MU = bx.GaussianMeasure(1, order=12)
NET = bx.models.TwoLayer(3, key=KEY)
MLP = bx.models.MLP((1, 3), key=KEY)
DEEP = bx.models.DeepLinear((2, 2, 1), key=KEY)
PRIOR = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-3, 3))
ENERGY = bx.SquaredError(NET, MU, bx.zero)
X, Y = np.linspace(-1, 1, 6)[:, None], np.linspace(0, 1, 6)


def squared(model=NET, measure=MU, target=bx.zero, prior=None, **choices):
    energy = bx.SquaredError(model, measure, target)
    return bx.compile(energy, bx.Normal() if prior is None else prior, **choices)


def classified(y, model=MLP, target=None):
    return bx.compile(bx.CrossEntropy(model, bx.Empirical((X, y)), target), bx.Normal())


def per_datum(fn, model=NET):
    return bx.compile(bx.PerDatum(model, MU, fn), bx.Normal())


def raising(model, datum):
    raise RuntimeError("out of cheese")


@contextlib.contextmanager
def float32():
    with jax.enable_x64(False):
        yield


def in_float32(beta):
    with float32():
        net = bx.models.TwoLayer(3)
        return squared(net, bx.GaussianMeasure(1, order=4), beta=beta)


def float32_leaves():
    with float32():
        net = bx.models.TwoLayer(3, key=jax.random.key(1))
    return squared(net)


def moved(path, value):
    return eqx.tree_at(lambda net: getattr(net, path), NET, value)


@functools.cache
def gibbs():
    return bx.compile(ENERGY, PRIOR, marginalise=False)


@functools.cache
def trace():
    """Draws at two betas, without the weights and without a ladder."""
    numbers = jnp.zeros((2, 1, 4))
    levels = gibbs().at(jnp.array([1.0, 2.0]))
    flags = numbers.astype(bool)
    return bx.Trace(levels, numbers, numbers, numbers, flags, None, bx.Status.successful)


run = functools.partial(bx.sample, key=KEY, chains=2, warmup=0, draws=8, throw=False)
ladder = functools.partial(bx.anneal, key=KEY, chains=2, warmup=0, draws=8, throw=False)

# (what is wrong, the argument that is named, the declaration)
WRONG = [
    # --- energies: the loss
    ("a vector loss", "energy", lambda: per_datum(lambda m, z: m(z) * jnp.ones(2))),
    ("a loss that raises", "energy", lambda: per_datum(raising)),
    ("an integer loss", "energy", lambda: per_datum(lambda m, z: jnp.sum(z > 0))),
    ("a complex loss", "energy", lambda: per_datum(lambda m, z: m(z) * 1j)),
    ("a loss without value", "energy", lambda: per_datum(lambda m, z: None)),
    ("a loss that is no function", "fn", lambda: bx.PerDatum(NET, MU, 3.0)),
    # --- energies: model, measure, target
    ("model that is not callable", "model", lambda: bx.SquaredError({"w": 1.0}, MU, bx.zero)),
    ("target that is not callable", "target", lambda: bx.SquaredError(NET, MU, Y)),
    ("activation that cannot be applied", "activation", lambda: bx.models.MLP((1, 3, 1), len)),
    ("activation of numpy", "activation", lambda: bx.models.TwoLayer(3, np.tanh)),
    ("activation without value", "activation", lambda: bx.models.TwoLayer(3, lambda x: None)),
    ("measure that is none", "measure", lambda: bx.SquaredError(NET, X, bx.zero)),
    ("measure that is none, per datum", "measure", lambda: bx.PerDatum(NET, X, raising)),
    ("energy that is none", "energy", lambda: bx.compile(lambda w: 0.0, bx.Normal())),
    ("energy plus number", "energy", lambda: ENERGY + 1.0),
    ("energy times text", "factor", lambda: "2" * ENERGY),
    ("energy times nothing", "factor", lambda: ENERGY * None),
    ("energy times a complex number", "factor", lambda: 1j * ENERGY),
    ("energy times a vector", "factor", lambda: jnp.ones(2) * ENERGY),
    ("energy times a negative number", "energy", lambda: bx.compile(-2.0 * ENERGY, PRIOR)),
    ("energy times NaN", "energy", lambda: bx.compile(float("nan") * ENERGY, PRIOR)),
    (
        "energy without data",
        "energy",
        lambda: bx.compile(bx.Localisation(NET, 1.0), PRIOR),
    ),
    (
        "terms over different models",
        "energy",
        lambda: bx.compile(ENERGY + bx.SquaredError(MLP, MU, lambda x: Y[:3]), PRIOR),
    ),
    ("negative localisation", "strength", lambda: bx.Localisation(NET, -1.0)),
    ("localisation by text", "strength", lambda: bx.Localisation(NET, "1")),
    ("localisation by a vector", "strength", lambda: bx.Localisation(NET, jnp.ones(3))),
    ("no target and no pairs", "target", lambda: squared(target=None)),
    ("target of another shape", "target", lambda: squared(target=lambda x: jnp.ones(2))),
    (
        "labels of another shape",
        "measure",
        lambda: squared(measure=bx.Empirical((X, Y[:, None])), target=None),
    ),
    ("keys of two kinds", "params", lambda: bx.models.Function(len, {"a": Y, 1: Y})),
    ("target that raises", "target", lambda: squared(target=lambda x: x @ jnp.ones(7))),
    ("measure of higher dimension", "model", lambda: squared(measure=bx.GaussianMeasure(2))),
    ("dense net of another dimension", "model", lambda: squared(DEEP, MU)),
    (
        "model with two outputs",
        "model",
        lambda: squared(bx.models.Function(lambda p, x: (p, p), jnp.ones(2))),
    ),
    # --- energies: weights of the model
    ("model without weights", "model", lambda: squared(bx.models.Function(lambda p, x: 0.0, 3))),
    ("NaN weight", "model.readout", lambda: squared(moved("readout", jnp.full(3, jnp.nan)))),
    ("float32 weights in float64", "model.readout", float32_leaves),
    (
        "leaf without entries",
        "model.params['w']",
        lambda: squared(bx.models.Function(lambda p, x: jnp.sum(p["w"]), {"w": jnp.ones(0)})),
    ),
    # --- energies: classes
    ("label too large", "measure", lambda: classified(np.array([0, 1, 2, 3, 0, 1]))),
    ("label below zero", "measure", lambda: classified(np.array([0, -1, 2, 1, 0, 1]))),
    ("labels of real dtype", "measure", lambda: classified(Y)),
    ("probabilities of another shape", "measure", lambda: classified(np.ones((6, 2)) / 2)),
    ("probabilities above one", "measure", lambda: classified(np.full((6, 3), 1.5))),
    (
        "logits with two axes for one class",
        "measure",
        lambda: classified(
            np.zeros(6, int), bx.models.Function(lambda p, x: p * x, jnp.ones((2, 2)))
        ),
    ),
    # --- measures
    ("NaN in the data", "data", lambda: bx.Empirical((X, np.full(6, np.nan)))),
    ("infinite data", "data", lambda: bx.Empirical(np.array([[1.0], [np.inf]]))),
    ("no data", "data", lambda: bx.Empirical(np.zeros((0, 1)))),
    ("data of unequal length", "data", lambda: bx.Empirical((X, Y[:-1]))),
    ("weights of another length", "weights", lambda: bx.Empirical(X, weights=np.ones(5))),
    ("a batch larger than the data", "batch_size", lambda: bx.Subsampled(bx.Empirical(X), 7)),
    ("signed measure", "measure", lambda: squared(measure=MU - 0.5 * MU)),
    ("measure of mass zero", "measure", lambda: squared(measure=0.0 * MU)),
    (
        "weights that sum to zero",
        "measure",
        lambda: squared(measure=bx.Empirical(X, weights=np.zeros(6))),
    ),
    ("standard deviation zero", "scale", lambda: bx.GaussianMeasure(1, scale=0.0)),
    ("interval upside down", "low, high", lambda: bx.IntervalMeasure(1.0, -1.0)),
    ("unknown rule", "rule", lambda: bx.GaussianMeasure(1, rule="simpson")),
    # --- models
    ("width zero", "width", lambda: bx.models.TwoLayer(0)),
    ("width that is no integer", "width", lambda: bx.models.TwoLayer(2.5)),
    ("dimension below zero", "dim", lambda: bx.models.TwoLayer(3, dim=-1)),
    ("activation by name", "activation", lambda: bx.models.TwoLayer(3, "tanh")),
    ("unknown scaling", "scaling", lambda: bx.models.TwoLayer(3, scaling="muP")),
    ("one width", "widths", lambda: bx.models.MLP((3,))),
    ("a hidden width of zero", "widths[1]", lambda: bx.models.DeepLinear((3, 0, 1))),
    ("negative exponents", "exponents", lambda: bx.models.Polynomial((1, -1))),
    ("exponents that are no numbers", "exponents", lambda: bx.models.Polynomial("xy")),
    ("too few coefficients", "coefficients", lambda: bx.models.Polynomial([[1, 2], [2, 1]], [1.0])),
    ("function that is none", "fn", lambda: bx.models.Function(jnp.ones(2), jnp.ones(2))),
    # --- priors
    ("no prior", "prior", lambda: bx.compile(ENERGY, None)),
    ("prior that names nothing", "prior", lambda: bx.Independent()),
    ("prior that misses a leaf", "prior", lambda: squared(prior={"readout": bx.Normal()})),
    (
        "pattern that names nothing",
        "prior['head']",
        lambda: squared(prior={"*": bx.Normal(), "head": bx.Normal()}),
    ),
    (
        "two equally specific patterns",
        "prior",
        lambda: squared(prior={"r*": bx.Normal(), "*t": bx.Normal(), "e*": bx.Normal()}),
    ),
    (
        "end of a path",
        "prior['a']",
        lambda: bx.compile(
            bx.SquaredError(
                bx.models.Function(lambda p, x: p["a"] * x[0], {"a": jnp.ones(())}), MU, bx.zero
            ),
            bx.Independent(a=bx.Normal()),
        ),
    ),
    ("pattern that is no text", "prior", lambda: bx.Independent({0: bx.Normal()})),
    ("distribution without a path", "prior", lambda: bx.Independent(bx.Normal())),
    ("prior as a class", "prior", lambda: squared(prior=bx.Normal)),
    ("prior as a class for a leaf", "prior['*']", lambda: bx.Independent({"*": bx.Normal})),
    ("prior that is a number", "prior['readout']", lambda: bx.Independent(readout=1.0)),
    ("discrete prior", "prior", lambda: squared(prior=discrete())),
    ("prior of another batch shape", "prior['readout']", lambda: squared(prior=vector_prior(4))),
    (
        "prior of another event shape",
        "prior['readout']",
        lambda: squared(
            prior={"*": bx.Normal(), "readout": bx.MultivariateNormal(jnp.zeros(2), jnp.eye(2))}
        ),
    ),
    ("uniform upside down", "prior", lambda: squared(prior=bx.Uniform(1.0, -1.0))),
    (
        "negative scale",
        "prior",
        lambda: squared(prior=bx.Normal(0.0, -1.0, validate_args=False)),
    ),
    (
        "NaN in a prior",
        "prior",
        lambda: squared(prior=bx.Normal(float("nan"), 1.0, validate_args=False)),
    ),
    ("infinite scale", "prior", lambda: squared(prior=bx.Cauchy(0.0, float("inf")))),
    (
        "localised outside the support",
        "Localisation.embedding",
        lambda: bx.compile(
            ENERGY + bx.Localisation(moved("embedding", jnp.full((3, 1), 9.0)), 1.0), PRIOR
        ),
    ),
    (
        "position outside the support",
        "model.embedding",
        lambda: gibbs().position(moved("embedding", jnp.full((3, 1), 9.0))),
    ),
    ("position of another model", "model", lambda: gibbs().position(MLP)),
    # --- charts
    ("path that names nothing", "Freeze", lambda: squared(chart=bx.Freeze("head"))),
    ("path that is no text", "Select", lambda: squared(chart=bx.Select(0))),
    ("nothing is left free", "chart", lambda: squared(chart=bx.Freeze("*"))),
    ("chart that is none", "chart", lambda: squared(chart="readout")),
    ("chart and something else", "chart", lambda: bx.Freeze("readout") | "embedding"),
    ("mask without a path", "Mask", lambda: bx.Mask(np.ones(3, bool))),
    ("mask of numbers", "Mask['readout']", lambda: bx.Mask({"readout": np.ones(3)})),
    (
        "mask of another shape",
        "Mask['readout']",
        lambda: squared(chart=bx.Mask({"readout": np.ones(2, bool)})),
    ),
    (
        "mask and a joint prior",
        "prior['readout']",
        lambda: squared(
            prior={"*": bx.Normal(), "readout": bx.MultivariateNormal(jnp.zeros(3), jnp.eye(3))},
            chart=bx.Mask({"readout": np.array([True, False, True])}),
        ),
    ),
    ("tie of different shapes", "Tie", lambda: squared(chart=bx.Tie(readout="embedding"))),
    (
        "tie to frozen weights",
        "Tie",
        lambda: tied(bx.Freeze("weight[1]") | bx.Tie({"weight[0]": "weight[1]"})),
    ),
    ("tie to itself", "Tie", lambda: tied(bx.Tie({"weight[0]": "weight[0]"}))),
    (
        "tie to tied weights",
        "Tie",
        lambda: tied(bx.Tie({"weight[0]": "weight[1]", "weight[1]": "weight[2]"})),
    ),
    ("tie of several leaves", "Tie", lambda: tied(bx.Tie({"weight": "weight[1]"}))),
    ("tie without names", "Tie", lambda: bx.Tie("readout")),
    # --- temperatures
    ("negative beta", "beta", lambda: squared(beta=-1.0)),
    ("NaN beta", "beta", lambda: squared(beta=float("nan"))),
    ("vector of betas", "beta", lambda: squared(beta=jnp.ones(2))),
    ("list of betas", "beta", lambda: squared(beta=[1.0, 2.0])),
    ("beta by text", "beta", lambda: squared(beta="1")),
    ("no beta", "beta", lambda: squared(beta=None)),
    ("beta beyond float32", "beta", lambda: in_float32(1e7)),
    ("infinite beta in float32", "beta", lambda: in_float32(1e300)),
    ("another beta, by text", "beta", lambda: gibbs().at("2")),
    ("another beta, negative", "beta", lambda: gibbs().at(-2.0)),
    ("another beta, by count", "beta", lambda: gibbs().at(bx.temperature.bayes(5))),
    (
        "temperature of two masses",
        "beta",
        lambda: bx.compile(
            ENERGY + bx.SquaredError(NET, 2.0 * MU, bx.zero), PRIOR, beta=bx.temperature.bayes(9)
        ),
    ),
    ("n log n of one datum", "n", lambda: bx.temperature.watanabe(1)),
    ("no data to count", "temperature", lambda: bx.temperature.bayes(0)),
    ("count by text", "temperature", lambda: bx.temperature.loss_gap("small")),
    ("log count that overflows", "log_n", lambda: bx.temperature.log_count(1e4)),
    ("temperature by text", "per_mean", lambda: bx.temperature.Temperature("hot")),
    # --- choices of the compiler
    ("unknown integral", "integral", lambda: squared(integral="magic")),
    ("integral of another type", "integral", lambda: squared(integral=np.ones(2))),
    ("moments of a nonlinear model", "integral", lambda: squared(integral="moments")),
    (
        "moments of a minibatch",
        "integral",
        lambda: squared(measure=bx.Subsampled(bx.Empirical(X), 2), integral="moments"),
    ),
    (
        "nodes of a loss that is not squared",
        "integral",
        lambda: bx.compile(bx.PerDatum(NET, MU, lambda m, z: m(z)), PRIOR, integral="nodes"),
    ),
    (
        "basis of data",
        "measure.basis()",
        lambda: squared(measure=bx.Empirical(X), integral="basis"),
    ),
    ("no modes", "modes", lambda: squared(integral="basis", modes=0)),
    (
        "readout that is not Gaussian",
        "marginalise",
        lambda: squared(prior=bx.Uniform(-1, 1), marginalise=True),
    ),
    (
        "readout of a localised prior",
        "marginalise",
        lambda: bx.compile(ENERGY + bx.Localisation(NET, 1.0), PRIOR, marginalise=True),
    ),
    (
        "readout of a loss that is not squared",
        "marginalise",
        lambda: bx.compile(bx.PerDatum(NET, MU, lambda m, z: m(z)), PRIOR, marginalise=True),
    ),
    ("marginalise by name", "marginalise", lambda: squared(marginalise="readout")),
    # --- runs
    ("draws of an energy", "gibbs", lambda: run(ENERGY)),
    ("kernel as a class", "kernel", lambda: run(gibbs(), bx.MALA)),
    ("no draws", "draws", lambda: run(gibbs(), bx.RandomWalk(), draws=0)),
    ("no chains", "chains", lambda: run(gibbs(), bx.RandomWalk(), chains=0)),
    ("a fraction of a thinning", "thin", lambda: run(gibbs(), bx.RandomWalk(), thin=0.5)),
    (
        "start of another structure",
        "start",
        lambda: run(gibbs(), bx.RandomWalk(), start={"readout": jnp.ones(3)}),
    ),
    ("start that is no dictionary", "start", lambda: run(gibbs(), bx.RandomWalk(), start=0.0)),
    ("key by text", "key", lambda: bx.models.TwoLayer(3, key="a")),
    ("key of a deep net by text", "key", lambda: bx.models.DeepLinear((1, 1), key="a")),
    (
        "target beyond the classes",
        "target",
        lambda: bx.compile(
            bx.CrossEntropy(
                bx.models.MLP((1, 3), key=KEY), bx.GaussianMeasure(1), lambda x: jnp.asarray(3)
            ),
            PRIOR,
        ),
    ),
    ("WBIC of one datum", "n", lambda: bx.wbic(trace(), 1)),
    ("acceptance above one", "target_acceptance", lambda: bx.MALA(target_acceptance=1.5)),
    ("tree without depth", "max_tree_depth", lambda: bx.NUTS(max_tree_depth=0)),
    ("unit moves without units", "kernel", lambda: run(gibbs(), bx.UnitMoves())),
    ("ladder by text", "betas", lambda: ladder(gibbs(), "cold")),
    ("ladder with a negative beta", "betas", lambda: ladder(gibbs(), [1.0, -1.0])),
    ("ladder without levels", "betas", lambda: ladder(gibbs(), [])),
    ("ladder that is a matrix", "betas", lambda: ladder(gibbs(), np.ones((2, 2)))),
    ("spacing of zero", "spacing", lambda: ladder(gibbs(), [1.0], spacing=0.0)),
    # --- observables
    ("weights that were not kept", "trace", lambda: trace().weights),
    ("functions of weights not kept", "trace", lambda: trace().evaluate(lambda model: 0.0)),
    ("WBIC at another beta", "trace", lambda: bx.wbic(trace(), 100)),
    ("free energy without a ladder", "trace", lambda: bx.free_energy(trace())),
    ("entropy without a ladder", "trace", lambda: bx.entropy(trace())),
]


def discrete():
    from numpyro.distributions import Bernoulli

    return Bernoulli(0.5)


def vector_prior(size):
    return {"*": bx.Normal(), "readout": bx.Normal(jnp.zeros(size), 1.0)}


def tied(chart):
    model = bx.models.DeepLinear((1, 1, 1, 1), key=KEY)
    return squared(model, target=lambda x: x, chart=chart)


@pytest.mark.parametrize(
    "argument, declaration", [w[1:] for w in WRONG], ids=[w[0].replace(" ", "-") for w in WRONG]
)
def test_is_refused(argument, declaration):
    with pytest.raises(bx.DeclarationError) as caught:
        declaration()
    error = caught.value
    assert type(error) is bx.DeclarationError
    assert error.argument == argument
    for part in (error.got, error.expected, error.mend):
        assert part.strip()
        assert part in str(error)
    assert "beartype" not in str(error)
    assert "Traced<" not in str(error)


def test_mistakes_are_many_and_distinct():
    assert len(WRONG) >= 45
    assert len({name for name, _, _ in WRONG}) == len(WRONG)


# --- and what looks alike but is right ------------------------------------------------------------


def right_eqx_module():
    return squared(eqx.nn.MLP(1, "scalar", 3, 1, key=KEY))


def right_float32():
    with float32():
        gibbs = in_float32(1e3)
        assert gibbs.beta.dtype == jnp.float32
        return gibbs


RIGHT = {
    "equinox module with an activation as a leaf": right_eqx_module,
    "float32 at a moderate beta": right_float32,
    "numpy number as a weight": lambda: squared(
        bx.models.Function(lambda p, x: p["w"] * x[0], {"w": np.float64(1.0)})
    ),
    "one-hot labels": lambda: classified(np.eye(3)[[0, 1, 2, 0, 1, 2]]),
    "numpy count": lambda: squared(beta=bx.temperature.bayes(np.int64(5))),
    "beta of zero": lambda: squared(beta=0),
    "rule with negative weights": lambda: squared(
        bx.models.TwoLayer(2, dim=4, key=KEY), bx.GaussianMeasure(4, rule="sparse")
    ),
    "composed charts": lambda: tied(bx.Tie({"weight[0]": "weight[1]"}) | bx.Freeze("weight[2]")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_is_accepted(name):
    gibbs = RIGHT[name]()
    with float32() if gibbs.beta.dtype == jnp.float32 else contextlib.nullcontext():
        log_prob = eqx.filter_jit(lambda g: g.log_prob(g.sample_prior(KEY)))(gibbs)
        assert bool(jnp.isfinite(log_prob))
        assert isinstance(repr(gibbs), str)
