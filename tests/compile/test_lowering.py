"""What was lowered says the same as what was declared."""

import functools
import math

import equinox as eqx
import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.compile import LinearGaussian, MarginalPotential, UnitPotential, lower_units
from boltzax.core import weights_of

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 2))
Y = RNG.normal(size=(40, 2))
DATA = bx.Empirical((X, Y), weights=RNG.uniform(0.2, 2.0, 40))
SCALAR_DATA = bx.Empirical((X, Y[:, 0]))


class Shifted(eqx.Module):
    """A model with a bias that sees no datum, an offset that sees no weight, and both."""

    matrix: jax.Array
    shift: jax.Array

    def __call__(self, x):
        return self.matrix @ x + jnp.tanh(self.shift) + jnp.array([0.5, -1.0]) + x[0] ** 2


def units(bias=False, dim=2, width=3):
    return bx.models.TwoLayer(width, dim=dim, bias=bias, key=KEY)


def deep(out=2):
    return bx.models.DeepLinear((2, 3, out), key=KEY)


@eqx.filter_jit
def energies(declarations, keys):
    """Energies at draws of the first one's prior."""

    def at(key):
        w = declarations[0].sample_prior(key)
        return [gibbs.energy(w) for gibbs in declarations]

    return jax.vmap(at)(keys)


def same(declarations, rtol=1e-11):
    """All the compiled energies agree."""
    first, *others = energies(declarations, jax.random.split(KEY, 3))
    for other in others:
        np.testing.assert_allclose(other, first, rtol=rtol)


# --- moments, nodes, declared ---------------------------------------------------------------------

MOMENTS = {
    "deep linear, vector output": (bx.SquaredError(deep(), DATA), None),
    "deep linear, Gaussian inputs, target a function": (
        bx.SquaredError(deep(), bx.GaussianMeasure(2, order=12), lambda x: jnp.sin(x[::-1])),
        None,
    ),
    "constant target": (bx.SquaredError(deep(), DATA_X := bx.Empirical(X), bx.zero), None),
    "constant offsets": (
        bx.SquaredError(Shifted(jnp.eye(2), jnp.ones(2)), DATA),
        None,
    ),
    "frozen embedding and bias": (
        bx.SquaredError(units(bias=True), SCALAR_DATA),
        bx.Select("readout"),
    ),
    "frozen first layer": (bx.SquaredError(deep(), DATA), bx.Freeze("weight[0]")),
    "masked entries": (
        bx.SquaredError(deep(), DATA),
        bx.Mask({"weight[0]": np.eye(3, 2, dtype=bool)}),
    ),
    "tied layers": (
        bx.SquaredError(bx.models.DeepLinear((2, 2, 2), key=KEY), DATA),
        bx.Tie({"weight[1]": "weight[0]"}),
    ),
    "scaled": (3.5 * bx.SquaredError(deep(), DATA), None),
    "a sum": (
        0.5 * bx.SquaredError(deep(), DATA) + bx.SquaredError(deep(), 2.0 * DATA_X, bx.zero),
        None,
    ),
    "polynomial of the weights": (
        bx.SquaredError(
            bx.models.Function(lambda p, x: jnp.sin(p) @ x + p[0] * p[1], jnp.ones(2)), SCALAR_DATA
        ),
        None,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MOMENTS)
def test_moments_nodes_and_declared_agree(name):
    energy, chart = MOMENTS[name]
    kinds = "declared", "nodes", "auto"
    compiled = [
        bx.compile(energy, bx.Normal(), chart=chart, integral=kind, marginalise=False)
        for kind in kinds
    ]
    same(compiled)
    for kind, gibbs in zip(kinds, compiled, strict=True):
        text = repr(gibbs)
        assert ("evaluated as declared" in text) == (kind == "declared")
        assert ("nodes of" in text) == (kind == "nodes")
        assert ("rows of moments" in text) == (kind == "auto")
    assert compiled[0].potential.parts[0].term is not None


def test_energy_of_a_model_is_the_declared_energy():
    energy = 0.5 * bx.SquaredError(deep(), DATA) + bx.SquaredError(deep(), DATA_X, bx.zero)
    model = deep()
    f = X @ (model.weight[1] @ model.weight[0]).T
    by_hand = 0.25 * np.sum(DATA.weights[:, None] * (f - Y) ** 2) + 0.5 * np.sum(f**2)
    for kind in ("declared", "nodes", "moments"):
        gibbs = bx.compile(energy, bx.Normal(), integral=kind, marginalise=False)
        np.testing.assert_allclose(gibbs.energy_of(model), by_hand, rtol=1e-12)
        np.testing.assert_allclose(gibbs.energy(gibbs.position(model)), by_hand, rtol=1e-12)


def test_moments_cost_nothing_in_the_data():
    """The compiled measure holds a few rows, however many data there were."""
    for n in (40, 400):
        data = bx.Empirical((RNG.normal(size=(n, 2)), RNG.normal(size=(n, 2))))
        gibbs = bx.compile(bx.SquaredError(deep(), data), bx.Normal())
        assert sum(leaf.size for leaf in jax.tree.leaves(gibbs.potential)) < 40


def test_a_small_loss_keeps_its_digits():
    """Rows, not a Gram matrix: near the truth an energy of 1e-24 is still right."""
    truth = bx.models.DeepLinear((2, 2), key=KEY)
    x = jnp.asarray(X)
    data = bx.Empirical((x, jax.vmap(truth)(x)))
    near = eqx.tree_at(lambda m: m.weight[0], truth, truth.weight[0].at[0, 0].add(1e-12))
    gibbs = bx.compile(bx.SquaredError(near, data), bx.Normal(), integral="moments")
    step = float(near.weight[0][0, 0] - truth.weight[0][0, 0])
    by_hand = 0.5 * step**2 * float(np.sum(X[:, 0] ** 2))
    np.testing.assert_allclose(gibbs.energy_of(near), by_hand, rtol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "measure", [bx.GaussianMeasure(1, scale=0.3), bx.IntervalMeasure()], ids=["hermite", "legendre"]
)
def test_basis_and_nodes_agree(measure):
    net = units(dim=1)
    energy = 1.7 * bx.SquaredError(net, measure, lambda x: jnp.cos(x[0]))
    nodes = bx.compile(energy, bx.Normal(0, 0.5), integral="nodes", marginalise=False)
    basis = bx.compile(energy, bx.Normal(0, 0.5), integral="basis", modes=48, marginalise=False)
    few = bx.compile(energy, bx.Normal(0, 0.5), integral="basis", modes=2, marginalise=False)
    full, whole, part = energies((nodes, basis, few), jax.random.split(KEY, 3))
    np.testing.assert_allclose(whole, full, rtol=1e-9)
    assert np.all(part < full)
    assert "48 modes" in repr(basis)


def test_a_rule_with_negative_weights_is_evaluated_as_declared():
    net = units(dim=4, width=2)
    measure = bx.GaussianMeasure(4, rule="sparse")
    energy = bx.SquaredError(net, measure, bx.zero)
    gibbs = bx.compile(energy, bx.Normal())
    w = gibbs.sample_prior(KEY)
    assert set(w) == {"readout", "embedding"}
    np.testing.assert_allclose(gibbs.energy(w), energy.value(gibbs.model(w)), rtol=1e-13)


# --- the readout integrated out -------------------------------------------------------------------


class Sines(eqx.Module):
    """`a · (sin b x, cos b x)`: two readout weights, one weight below."""

    a: jax.Array
    b: jax.Array

    def __call__(self, x):
        return self.a @ jnp.stack([jnp.sin(self.b * x[0]), jnp.cos(self.b * x[0])])


SINES = Sines(jnp.array([0.4, -0.3]), jnp.asarray(0.8))
NODES = {"more rows than weights": 9, "as many rows as weights": 2, "fewer rows": 1}
TARGETS = {"zero": bx.zero, "not zero": lambda x: 0.7 + x[0]}
PRIORS = {
    "standard": bx.Normal(),
    "shifted and scaled": bx.Normal(jnp.array([0.5, -1.0]), jnp.array([0.3, 1.4])),
}


def gauss_hermite(prior, order=60):
    """Nodes and log weights of a two-dimensional Gaussian."""
    z, weight = np.polynomial.hermite_e.hermegauss(order)
    weight = np.log(weight / np.sqrt(2 * np.pi))
    grid = np.stack(np.meshgrid(z, z, indexing="ij"), -1).reshape(-1, 2)
    return prior.loc + prior.scale * grid, np.add.outer(weight, weight).ravel()


def brute(prior, energies, beta):
    """`U`, `∂U/∂β` and `-∂²U/∂β²` by quadrature over the readout."""
    _, log_weight = gauss_hermite(prior)
    logs = log_weight - beta * energies
    u = -jax.scipy.special.logsumexp(logs)
    p = jnp.exp(logs + u)
    mean = jnp.sum(p * energies)
    return u, mean, jnp.sum(p * (energies - mean) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "target, prior", [("zero", "standard"), ("not zero", "shifted and scaled")]
)
@pytest.mark.parametrize("order", NODES.values(), ids=NODES)
def test_marginal_is_the_integral_over_the_readout(order, target, prior):
    target, prior = TARGETS[target], PRIORS[prior]
    energy = 0.6 * bx.SquaredError(SINES, bx.GaussianMeasure(1, order=order), target)
    joint = bx.Independent(a=prior, b=bx.Uniform(0, 2))
    gibbs = bx.compile(energy, joint)
    assert isinstance(gibbs.potential, MarginalPotential)
    assert list(gibbs.sample_prior(KEY)) == ["b"]
    assert gibbs.dim == 1
    assert gibbs.parameters == 3
    assert "a: linear with a Gaussian prior, integrated out" in repr(gibbs)
    plain = bx.compile(energy, joint, marginalise=False)
    w = {"b": jnp.asarray(-0.4)}
    readouts, _ = gauss_hermite(prior)
    energies = eqx.filter_jit(jax.vmap(lambda a: plain.energy(w | {"a": a})))(readouts)
    betas = jnp.array([0.0, 0.5, 4.0])
    moments = eqx.filter_jit(jax.vmap(lambda b: gibbs.at(b).moments(w)))(betas)
    by_hand = jax.vmap(lambda b: brute(prior, energies, b))(betas)
    for got, wanted in zip(moments, by_hand, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("order", NODES.values(), ids=NODES)
def test_derivatives_in_beta(order):
    energy = bx.SquaredError(SINES, bx.GaussianMeasure(1, order=order), TARGETS["not zero"])
    prior = bx.Independent(a=PRIORS["shifted and scaled"], b=bx.Normal())
    gibbs = bx.compile(energy, prior)
    w = {"b": jnp.asarray(0.9)}

    def u(beta):
        return gibbs.potential_at(w, beta)

    betas = jnp.array([0.3, 20.0, 1e4])

    @eqx.filter_jit
    def all_of_them(gibbs):
        derivatives = jax.vmap(u), jax.vmap(jax.grad(u)), jax.vmap(jax.grad(jax.grad(u)))
        moments = jax.vmap(lambda b: gibbs.at(b).moments(w))(betas)
        return moments, [d(betas) for d in derivatives]

    moments, (zeroth, first, second) = all_of_them(gibbs)
    np.testing.assert_allclose(moments.potential, zeroth, rtol=1e-13)
    np.testing.assert_allclose(moments.energy, first, rtol=1e-8)
    np.testing.assert_allclose(moments.energy_variance, -second, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (2, 4)], ids=str)
def test_moments_of_a_linear_gaussian(shape):
    """With `M = 1 + β C Cᵀ`, `P = C Cᵀ M⁻¹` and `v = M⁻¹ y`: `½ log det M + ½ β y·v`,
    `½ tr P + ½ |v|²` and `½ tr P² + v·P v`."""
    rng = np.random.default_rng(3)
    c, y, beta = rng.normal(size=shape), rng.normal(size=shape[0]), 0.7
    inverse = np.linalg.inv(np.eye(shape[0]) + beta * c @ c.T)
    part, v = c @ c.T @ inverse, inverse @ y
    wanted = (
        -0.5 * np.linalg.slogdet(inverse)[1] + 0.5 * beta * y @ v,
        0.5 * np.trace(part) + 0.5 * v @ v,
        0.5 * np.trace(part @ part) + v @ part @ v,
    )
    found = LinearGaussian(jnp.asarray(c), jnp.asarray(y)).moments(jnp.asarray(beta))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_units_of_one_squared_error_are_exchangeable():
    one = bx.SquaredError(units(), SCALAR_DATA)
    for energy, alone in ((one, True), (one + bx.SquaredError(units(), DATA_X, bx.zero), False)):
        gibbs = bx.compile(energy, bx.Normal())
        assert (gibbs.potential.units is not None) == alone
        assert ("units are exchangeable" in repr(gibbs)) == alone


def test_data_of_no_weight_change_nothing():
    """They have a root, unlike data of negative weight."""
    weights = np.array([0.0, 2.0] * 20)
    kept = bx.Empirical((X[1::2], Y[1::2]), weights=weights[1::2])
    found, wanted = (
        bx.compile(bx.SquaredError(deep(), data), bx.Normal())
        for data in (bx.Empirical((X, Y), weights=weights), kept)
    )
    assert "40 data reduced to" in repr(found)
    np.testing.assert_allclose(found.energy_of(deep()), wanted.energy_of(deep()), rtol=1e-12)


@pytest.mark.slow
def test_weights_and_bias_of_a_last_layer_are_integrated_out_together():
    """Against a Gaussian integral done by hand."""
    net = bx.models.MLP((1, 3, 1), key=KEY)
    x = np.linspace(-1, 1, 7)[:, None]
    y = np.sin(3 * x[:, 0])
    gibbs = bx.compile(
        bx.SquaredError(net, bx.Empirical((x, y))), bx.Normal(0.2, 0.7), marginalise=True
    )
    assert set(gibbs.potential.readout) == {"weight[1]", "bias[1]"}
    w = gibbs.sample_prior(KEY)
    assert set(w) == {"weight[0]", "bias[0]"}
    hidden = np.tanh(x @ w["weight[0]"].T + w["bias[0]"])
    design = np.concatenate([hidden, np.ones((7, 1))], axis=1)
    mean, beta = design @ np.full(4, 0.2), 3.0
    covariance = np.eye(7) / beta + 0.49 * design @ design.T
    residual = y - mean
    by_hand = 0.5 * np.linalg.slogdet(covariance * beta)[1]
    by_hand += 0.5 * residual @ np.linalg.solve(covariance, residual)
    np.testing.assert_allclose(gibbs.potential_at(w, beta), by_hand, rtol=1e-11)


def scaled_readouts():
    """A net whose two readouts have priors of different widths, and its normal equations.

    The energy, the prior, the columns of the readouts in units of the prior, and the labels.
    """
    net = bx.models.MLP((1, 3, 1), key=KEY)
    x = np.linspace(-1, 1, 7)[:, None]
    y = np.sin(3 * x[:, 0])
    scales = {"weight[1]": bx.Normal(0.0, 0.3), "bias[1]": bx.Normal(0.0, 2.0)}
    hidden = np.tanh(x @ np.asarray(net.weight[0]).T + np.asarray(net.bias[0]))
    design = np.concatenate([0.3 * hidden, np.full((7, 1), 2.0)], axis=1)
    energy = bx.SquaredError(net, bx.Empirical((x, y)))
    return energy, bx.Independent(scales | {"*": bx.Normal()}), design, y


OTHERS = ("weight[0]", "bias[0]")


def test_readouts_of_different_scales_are_integrated_out_in_any_order():
    """By hand, and by `vmap`: leaves are not exchanged."""
    energy, prior, design, y = scaled_readouts()
    beta = 3.0
    covariance = np.eye(7) + beta * design @ design.T
    potential = 0.5 * np.linalg.slogdet(covariance)[1]
    potential += 0.5 * beta * y @ np.linalg.solve(covariance, y)

    gibbs = bx.compile(energy, prior, beta=beta, marginalise=True)
    w = gibbs.position()
    assert set(w) == set(OTHERS)
    exact = float(gibbs.log_prior(w)) - potential
    near = {"rtol": 1e-11, "atol": 0.0}
    np.testing.assert_allclose(gibbs.log_prob(w), exact, **near)
    many = jax.tree.map(lambda leaf: leaf[None], w)
    np.testing.assert_allclose(jax.vmap(gibbs.log_prob)(many), [exact], **near)
    frozen = bx.compile(energy, prior, beta=beta, chart=bx.Freeze(*OTHERS))
    np.testing.assert_allclose(frozen.log_prob({}), -potential, **near)


@pytest.mark.slow
def test_draws_of_readouts_of_different_scales():
    energy, prior, design, y = scaled_readouts()
    beta = 3.0
    frozen = bx.compile(energy, prior, beta=beta, chart=bx.Freeze(*OTHERS))
    draws = bx.sample(frozen, key=KEY, chains=2, draws=1000, keep=True).weights
    precision = np.eye(4) + beta * design.T @ design  # in units of the prior
    scale = np.array([0.3, 0.3, 0.3, 2.0])
    mean = scale * np.linalg.solve(precision, beta * design.T @ y)
    sd = scale * np.sqrt(np.diag(np.linalg.inv(precision)))
    found = np.concatenate([draws["weight[1]"][..., 0, :], draws["bias[1]"]], axis=-1)
    # 4 means of 2,000 independent draws: |z| < 4.5, chance 3e-5
    assert np.all(np.abs(found.mean(axis=(0, 1)) - mean) < 4.5 * sd / np.sqrt(2000))
    np.testing.assert_allclose(found.std(axis=(0, 1)), sd, rtol=0.1)


@pytest.mark.slow
def test_the_slope_with_readouts_of_different_scales():
    energy, prior, _, _ = scaled_readouts()
    gibbs = bx.compile(energy, prior, beta=3.0, marginalise=True)
    w = gibbs.position()
    step = jax.tree.map(lambda leaf: 1e-6 * jnp.ones_like(leaf), w)
    up, down = (jax.tree.map(lambda a, b, s=s: a + s * b, w, step) for s in (1, -1))
    slope = sum(jnp.sum(1e-6 * leaf) for leaf in jax.tree.leaves(jax.grad(gibbs.log_prob)(w)))
    change = 0.5 * (float(gibbs.log_prob(up)) - float(gibbs.log_prob(down)))
    np.testing.assert_allclose(slope, change, rtol=1e-5)


def test_completion_has_the_conditional_law():
    """Mean and covariance of the readout drawn again, against the normal equations."""
    prior = PRIORS["shifted and scaled"]
    energy = bx.SquaredError(SINES, bx.GaussianMeasure(1, order=9), TARGETS["not zero"])
    gibbs = bx.compile(energy, bx.Independent(a=prior, b=bx.Normal()), beta=5.0)
    w = {"b": jnp.asarray(0.9)}
    keys = jax.random.split(KEY, 4000)
    draws = eqx.filter_jit(jax.vmap(lambda k: gibbs.complete(w, k).a))(keys)
    x, weight = bx.GaussianMeasure(1, order=9).nodes()
    features = np.stack([np.sin(0.9 * x[:, 0]), np.cos(0.9 * x[:, 0])], -1)
    precision = np.diag(prior.scale**-2.0) + 5 * features.T @ (weight[:, None] * features)
    target = prior.loc / prior.scale**2 + 5 * features.T @ (weight * (0.7 + x[:, 0]))
    covariance = np.linalg.inv(precision)
    error = np.sqrt(np.diag(covariance) / 4000)
    assert np.all(np.abs(draws.mean(0) - covariance @ target) < 4.5 * error)
    np.testing.assert_allclose(np.cov(draws.T), covariance, rtol=0.12, atol=0.003)


def test_a_readout_that_is_not_alone_stays():
    """A quadratic readout, a uniform one, a tied one and a masked one are not integrated out."""

    def square(p, x):
        return p["a"] ** 2 * jnp.tanh(p["b"] * x[0])

    ones = {"a": jnp.asarray(1.0), "b": jnp.asarray(1.0)}
    mu = bx.GaussianMeasure(1, order=8)
    quadratic = bx.SquaredError(bx.models.Function(square, ones), mu, bx.zero)
    linear = bx.SquaredError(units(dim=1), mu, bx.zero)
    uniform = bx.Independent(readout=bx.Uniform(-1, 1), embedding=bx.Normal())
    mask = bx.Mask({"readout": np.array([True, False, True])})
    for gibbs in (
        bx.compile(quadratic, bx.Normal()),
        bx.compile(linear, uniform),
        bx.compile(linear, bx.Normal(), chart=mask),
        bx.compile(linear + bx.Localisation(units(dim=1), 1.0), bx.Normal()),
        bx.compile(linear, bx.Normal(), marginalise=False),
    ):
        assert not isinstance(gibbs.potential, MarginalPotential)
        assert "nothing integrated out:" in repr(gibbs)


# --- graded tables --------------------------------------------------------------------------------

FINE = bx.GaussianMeasure(1, rule="trapezoid", order=256)
TABLES = {
    "uniform": (jnp.tanh, FINE, bx.Uniform(-1, 1), bx.Normal(), 1.0, "standard"),
    "normal": (jnp.tanh, FINE, bx.Normal(0, 0.2), bx.Normal(0, 0.5), 1.0, "standard"),
    "scaled energy": (jnp.tanh, FINE, bx.Uniform(-1, 1), bx.Normal(), 2.5, "mean_field"),
    "interval": (jnp.tanh, bx.IntervalMeasure(-1, 2), bx.Uniform(-1, 1), bx.Normal(), 1.0, "ntk"),
}


@functools.cache
def tabled(name):
    """A measure with its readout integrated out, and the same with tables."""
    activation, measure, embedding, readout, factor, scaling = TABLES[name]
    net = bx.models.TwoLayer(12, activation, scaling=scaling)
    energy = factor * bx.SquaredError(net, measure, bx.zero)
    plain = bx.compile(energy, bx.Independent(readout=readout, embedding=embedding), beta=50.0)
    return plain, lower_units(plain, 1e4)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_tables_of_units_agree_with_the_marginal(name):
    plain, units = tabled(name)
    assert isinstance(units.potential, UnitPotential)
    assert "graded by size" in repr(units)
    (b,) = plain.constrain(plain.sample_prior(KEY))["embedding"].T
    scales, betas = jnp.array([1.0, 0.2, 0.01]), jnp.array([1e-3, 1.0, 100.0, 1e4])

    @eqx.filter_jit
    def moments(gibbs):
        def at(scale, beta):
            return gibbs.potential.moments(ZEROS | {"embedding": scale * b[:, None]}, beta)

        return jax.vmap(jax.vmap(at, (None, 0)), (0, None))(scales, betas)

    for table, marginal in zip(moments(units), moments(plain), strict=True):
        np.testing.assert_allclose(table, marginal, rtol=1e-3, atol=1e-10)


# Units that a double-precision Gram matrix cannot tell apart: spread out, near zero, in shells away
# from zero, on two scales
PLACES = {
    "spread": np.linspace(-0.97, 0.99, 24),
    "near zero": 0.12 * np.linspace(-0.97, 0.99, 24),
    "shell": np.linspace(0.45, 0.97, 24),
    "two scales": np.concatenate([np.linspace(0.5, 0.9, 6), 0.1 * np.linspace(-1, 0.9, 18)]),
    "thin shell": 0.7 + 0.1 * np.linspace(-1, 0.9, 24),
}


@functools.cache
def cold_units():
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    energy = bx.SquaredError(bx.models.TwoLayer(24), FINE, bx.zero)
    return lower_units(bx.compile(energy, prior), math.exp(82)).potential


@pytest.mark.slow
@pytest.mark.parametrize("places", PLACES)
def test_units_are_exact_where_doubles_run_out(places):
    """`U`, `β ∂U/∂β` and its slope at log β up to 82, against 200 digits of plain Gram matrix."""
    potential = cold_units()
    assert isinstance(potential, UnitPotential)
    b = PLACES[places]
    gram = _gram_of_tanh(b)
    for log_beta in (40.0, 66.0, 74.0, 82.0):
        beta = math.exp(log_beta)
        found = potential.moments({"embedding": jnp.asarray(b)[:, None]}, jnp.asarray(beta))
        value, heat, variance = _exact_moments(gram, beta)
        np.testing.assert_allclose(found.potential, value, atol=3e-5)
        np.testing.assert_allclose(beta * found.energy, heat, atol=3e-5)
        np.testing.assert_allclose(beta**2 * found.energy_variance, variance, atol=3e-5)


def _gram_of_tanh(b):
    """`⟨tanh(b x), tanh(b' x)⟩` under N(0, 1), trapezoid rule of 700 points in 200 digits."""
    with flint.ctx.workprec(680):
        arb = flint.arb
        x = [arb(21) * (2 * k + 1) / 700 for k in range(350)]
        weights = [(-(t * t) / 2).exp() for t in x]
        total = sum(weights, arb(0))
        rows = [[(arb(float(each)) * t).tanh() for t in x] for each in b]
        left = flint.arb_mat(
            [[v * w / total for v, w in zip(r, weights, strict=True)] for r in rows]
        )
        return left * flint.arb_mat(rows).transpose()


def _exact_moments(gram, beta):
    """½ log det(1 + βΦ), ½ tr s, ½ tr s² with s = βΦ (1 + βΦ)⁻¹."""
    with flint.ctx.workprec(680):
        size = gram.nrows()
        one = flint.arb_mat(size, size, [int(i == j) for i in range(size) for j in range(size)])
        shifted = one + flint.arb(beta) * gram
        share = one - shifted.inv()
        heat = share.trace() / 2
        return float(shifted.det().log() / 2), float(heat), float((share * share).trace() / 2)


ZEROS = {"readout": jnp.zeros(12)}


def test_units_keep_the_rest_of_the_measure():
    @eqx.filter_jit
    def rest(gibbs, w, model):
        completed = weights_of(gibbs.complete(w, KEY))
        return gibbs.log_prior(w), gibbs.energy_of(model), completed["readout"]

    plain, units = tabled("uniform")
    arguments = plain.sample_prior(KEY), bx.models.TwoLayer(12, key=KEY)
    for left, right in zip(rest(units, *arguments), rest(plain, *arguments), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-13)


@pytest.mark.parametrize(
    "gibbs",
    [
        lambda mu, prior: bx.compile(bx.SquaredError(net(), mu, jnp.sum), prior),
        lambda mu, prior: bx.compile(bx.SquaredError(net(jax.nn.relu), mu, bx.zero), prior),
        lambda mu, prior: bx.compile(bx.SquaredError(net(), mu, bx.zero), prior, marginalise=False),
        lambda mu, prior: bx.compile(
            bx.SquaredError(net(), mu, bx.zero),
            prior,
            chart=bx.Mask({"embedding": np.arange(12)[:, None] < 9}),
        ),
    ],
    ids=["target not zero", "kink", "nothing integrated out", "masked units"],
)
def test_other_measures_are_left_alone(gibbs):
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    plain = gibbs(FINE, prior)
    assert lower_units(plain, 1e4) is plain


def net(activation=jnp.tanh):
    return bx.models.TwoLayer(12, activation)
