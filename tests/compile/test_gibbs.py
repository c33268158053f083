"""The compiled measure: supports, charts, estimates, what it says of itself, and no retracing."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import boltzax as bx
from boltzax.compile._relative_energy import paired
from boltzax.core import weights_of, with_weights

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(9, 1)), RNG.normal(size=9)
DATA = bx.Empirical((X, Y))


def line(params, x):
    return jnp.sum(params["w"]) * x[0]


def scalar(prior, beta=1.0):
    """A measure of one weight."""
    model = bx.models.Function(line, {"w": jnp.asarray(0.5)})
    energy = bx.SquaredError(model, DATA)
    return bx.compile(energy, prior, beta=beta, integral="nodes", marginalise=False)


# --- supports -------------------------------------------------------------------------------------

TWO_SIDED = stats.truncnorm(-1.2, 0.3, loc=0.2, scale=1.0).mean()
BELOW = stats.truncnorm(-1.2, np.inf, loc=0.2, scale=1.0).mean()

# distribution, reach of the quadrature, mean
PRIORS = {
    "normal": (bx.Normal(0.3, 1.2), 12, 0.3),
    "uniform": (bx.Uniform(-1.0, 3.0), 40, 1.0),
    "half-normal": (bx.HalfNormal(0.7), 40, 0.7 * np.sqrt(2 / np.pi)),
    "gamma": (bx.Gamma(2.0, 3.0), 40, 2 / 3),
    "laplace": (bx.Laplace(0.1, 0.4), 30, 0.1),
    "truncated on both sides": (bx.TruncatedNormal(0.2, 1.0, low=-1.0, high=0.5), 40, TWO_SIDED),
    "truncated below": (bx.TruncatedNormal(0.2, 1.0, low=-1.0), 40, BELOW),
}


@pytest.mark.parametrize("name", PRIORS)
def test_prior_in_unconstrained_coordinates_has_mass_one(name):
    """Density times log-Jacobian integrates to one, and its mean is the distribution's."""
    prior, reach, mean = PRIORS[name]
    gibbs = scalar(prior)
    (path,) = gibbs.coordinates.priors
    z = jnp.linspace(-reach, reach, 40_001)

    @eqx.filter_jit
    @jax.vmap
    def at(z):
        return gibbs.log_prior({path: z}), gibbs.constrain({path: z})[path]

    log_p, w = at(z)
    p = jnp.exp(log_p)
    assert bool(jnp.all(prior.support(w)))
    np.testing.assert_allclose(integrate.simpson(p, x=z), 1.0, rtol=1e-5)
    np.testing.assert_allclose(integrate.simpson(p * w, x=z), mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PRIORS)
def test_coordinates_and_back(name):
    gibbs = scalar(PRIORS[name][0])

    @eqx.filter_jit
    def there_and_back(gibbs):
        w = gibbs.sample_prior(KEY)
        return w, gibbs.position(gibbs.model(w))

    w, back = there_and_back(gibbs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), back, w)
    said = "unconstrained coordinates" in repr(gibbs)
    assert said == (name not in ("normal", "laplace"))


def test_joint_prior_of_a_leaf():
    covariance = jnp.array([[1.0, 0.6], [0.6, 2.0]])
    prior = bx.MultivariateNormal(jnp.array([0.5, 0.0]), covariance)
    model = bx.models.Function(line, {"w": jnp.ones(2)})
    gibbs = bx.compile(bx.SquaredError(model, DATA), prior, marginalise=False)
    w = gibbs.sample_prior(KEY)
    np.testing.assert_allclose(gibbs.log_prior(w), prior.log_prob(w["params['w']"]))


def test_priors_by_path():
    """The most specific pattern wins."""
    net = bx.models.MLP((1, 2, 1), key=KEY)
    prior = bx.Independent(
        {
            "*": bx.Normal(),
            "bias": bx.Laplace(),
            "bias[1]": bx.Normal(0, 3.0),
            "weight*": bx.Cauchy(),
        }
    )
    gibbs = bx.compile(bx.SquaredError(net, DATA), prior, marginalise=False)
    kinds = {path: type(p).__name__ for path, p in gibbs.coordinates.priors.items()}
    assert kinds == {
        "weight[0]": "Cauchy",
        "weight[1]": "Cauchy",
        "bias[0]": "Laplace",
        "bias[1]": "Normal",
    }

    @eqx.filter_jit
    def log_priors(gibbs):
        w = gibbs.sample_prior(KEY)
        by_hand = [jnp.sum(gibbs.coordinates.priors[path].log_prob(w[path])) for path in w]
        return gibbs.log_prior(w), sum(by_hand)

    np.testing.assert_allclose(*log_priors(gibbs), rtol=1e-12)


def test_draws_of_the_prior_do_not_depend_on_jit():
    net = bx.models.TwoLayer(3, key=KEY)
    gibbs = bx.compile(bx.SquaredError(net, DATA), bx.Normal(), marginalise=False)
    plain, jitted = gibbs.sample_prior(KEY), eqx.filter_jit(lambda g: g.sample_prior(KEY))(gibbs)
    jax.tree.map(np.testing.assert_array_equal, plain, jitted)


# --- charts ---------------------------------------------------------------------------------------

NET = bx.models.DeepLinear((2, 2, 2), key=KEY)
VECTORS = bx.Empirical((RNG.normal(size=(9, 2)), RNG.normal(size=(9, 2))))
CORNER = np.array([[True, False], [False, True]])
CHARTS = {
    "all": (None, 8),
    "select": (bx.Select("weight[1]"), 4),
    "mask": (bx.Mask({"weight[0]": CORNER}), 6),
    "mask of nothing": (bx.Mask({"weight[0]": np.zeros((2, 2), bool)}), 4),
    "tie": (bx.Tie({"weight[1]": "weight[0]"}), 4),
    "mask, then freeze": (bx.Mask({"weight[0]": CORNER}) | bx.Freeze("weight[1]"), 2),
    "two masks": (bx.Mask({"weight[0]": CORNER}) | bx.Mask({"*": CORNER[::-1]}), 2),
    "tie to a masked leaf": (
        bx.Mask({"weight[0]": CORNER}) | bx.Tie({"weight[1]": "weight[0]"}),
        2,
    ),
}


@pytest.mark.parametrize("name", CHARTS)
def test_charts(name):
    chart, dim = CHARTS[name]
    prior = bx.Normal(0.2, 0.7)
    gibbs = bx.compile(bx.SquaredError(NET, VECTORS), prior, chart=chart, marginalise=False)
    assert gibbs.dim == gibbs.parameters == dim

    @eqx.filter_jit
    def at_a_draw(gibbs):
        w = gibbs.sample_prior(KEY)
        model = gibbs.model(w)
        flat = jnp.concatenate([leaf.ravel() for leaf in w.values()])
        declared = bx.SquaredError(NET, VECTORS).value(model), jnp.sum(prior.log_prob(flat))
        given = gibbs.energy(w), gibbs.log_prior(w)
        return w, gibbs.position(model), gibbs.constrain(w), given, declared

    w, back, weights, given, wanted = at_a_draw(gibbs)
    assert sum(leaf.size for leaf in w.values()) == dim
    np.testing.assert_allclose(given, wanted, rtol=1e-11)
    declared = weights_of(NET)
    if "tie" in name:
        np.testing.assert_array_equal(weights["weight[1]"], weights["weight[0]"])
        assert "tied: weight[1] = weight[0]" in repr(gibbs)
    else:
        changed = sum(int(jnp.sum(weights[path] != declared[path])) for path in declared)
        assert changed == dim
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), back, w)


@pytest.mark.parametrize("name", CHARTS)
def test_values_that_a_chart_fixes_are_not_dropped(name):
    """Each weight moved alone either moves the model of the coordinates, or is refused."""
    chart, _ = CHARTS[name]
    gibbs = bx.compile(bx.SquaredError(NET, VECTORS), bx.Normal(), chart=chart, marginalise=False)
    at = gibbs.model(gibbs.position())
    weights = weights_of(at)
    refused = 0
    for path, leaf in weights.items():
        for place in np.ndindex(leaf.shape):
            bad = with_weights(at, weights | {path: leaf.at[place].add(0.25)})
            if path in gibbs.coordinates.replaced(weights_of(bad)):
                refused += 1
                with pytest.raises(bx.DeclarationError, match=r"`model`.*that the chart fixes"):
                    gibbs.position(bad)
                with pytest.raises(bx.DeclarationError, match=r"`models`.*that the chart fixes"):
                    bx.Ensemble.of_models(gibbs, [at, bad])
            elif "tie" not in name:
                w = gibbs.position(bad)
                np.testing.assert_allclose(gibbs.energy(w), gibbs.energy_of(bad), rtol=1e-9)
                back = bx.Ensemble.of_models(gibbs, [bad]).map(weights_of)
                np.testing.assert_allclose(back[path][0], weights_of(bad)[path], rtol=1e-9)
    assert refused == (4 if name == "tie" else 6 if "tie" in name else 8 - gibbs.dim)


def test_masked_entries_of_a_bounded_leaf():
    """The log-Jacobian is that of the free entries alone; the others stay where they were."""
    prior = bx.Uniform(-4.0, jnp.array([[4.0, 5.0], [6.0, 7.0]]))
    chart = bx.Mask({"weight[0]": CORNER}) | bx.Freeze("weight[1]")
    gibbs = bx.compile(bx.SquaredError(NET, VECTORS), prior, chart=chart)
    z = jnp.array([0.3, -1.1])
    inside = gibbs.constrain({"weight[0]": z})["weight[0]"]
    np.testing.assert_array_equal(inside[~CORNER], NET.weight[0][~CORNER])
    log_p = 0.0
    for k, high in enumerate((4.0, 7.0)):
        u = jax.nn.sigmoid(z[k])
        np.testing.assert_allclose(inside[k, k], -4 + (high + 4) * u, rtol=1e-12)
        log_p += jnp.log(u * (1 - u))
    np.testing.assert_allclose(gibbs.log_prior({"weight[0]": z}), log_p, rtol=1e-12)


def test_ties_to_ties_follow_to_the_end():
    net = bx.models.DeepLinear((2, 2, 2, 2), key=KEY)
    chart = bx.Tie({"weight[2]": "weight[1]"}) | bx.Tie({"weight[1]": "weight[0]"})
    data = bx.Empirical((RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2))))
    gibbs = bx.compile(bx.SquaredError(net, data), bx.Normal(), chart=chart)
    weights = gibbs.constrain({"weight[0]": jnp.eye(2)})
    assert all(bool(jnp.all(leaf == jnp.eye(2))) for leaf in weights.values())


# --- the pieces of the log-density ----------------------------------------------------------------


def test_localisation_belongs_to_the_prior():
    net = bx.models.TwoLayer(2, key=KEY)
    energy = bx.SquaredError(net, DATA)
    plain = bx.compile(energy, bx.Normal(), marginalise=False)
    pulled = bx.compile(energy + 2.0 * bx.Localisation(net, 3.0), bx.Normal(), beta=7.0)
    w = plain.sample_prior(KEY)
    distance = sum(jnp.sum((w[p] - leaf) ** 2) for p, leaf in weights_of(net).items())
    np.testing.assert_allclose(pulled.energy(w), plain.energy(w), rtol=1e-12)
    np.testing.assert_allclose(pulled.log_prior(w), plain.log_prior(w) - 3.0 * distance)
    log_prob = pulled.log_prior(w) - 7.0 * plain.energy(w)
    np.testing.assert_allclose(pulled.log_prob(w), log_prob, rtol=1e-12)
    assert "localised" in repr(pulled)


def test_minibatches_are_unbiased():
    n, batch = 12, 3
    data = bx.Empirical((RNG.normal(size=(n, 1)), RNG.normal(size=n)))
    net = bx.models.TwoLayer(2, key=KEY)
    energy = 0.5 * bx.SquaredError(net, bx.Subsampled(data, batch))
    gibbs = bx.compile(energy + bx.SquaredError(net, DATA), bx.Normal(), beta=2.0)
    assert set(gibbs.sample_prior(KEY)) == {"readout", "embedding"}
    w = gibbs.sample_prior(KEY)
    keys = jax.random.split(KEY, 4000)
    draws = eqx.filter_jit(lambda g, w: jax.vmap(lambda k: g.log_prob_estimate(w, k))(keys))(
        gibbs, w
    )
    assert float(jnp.std(draws)) > 0
    error = jnp.std(draws) / jnp.sqrt(4000)
    assert abs(jnp.mean(draws) - gibbs.log_prob(w)) < 4.5 * error


def test_whole_data_need_no_estimate():
    gibbs = bx.compile(bx.SquaredError(NET, VECTORS), bx.Normal(), beta=3.0)
    w = gibbs.sample_prior(KEY)
    np.testing.assert_allclose(gibbs.log_prob_estimate(w, KEY), gibbs.log_prob(w), rtol=1e-12)


@pytest.mark.parametrize("mass", [1.0, 9.0])
def test_temperatures_count_the_mean_loss(mass):
    net = bx.models.TwoLayer(2, key=KEY)
    measure = DATA if mass == 9.0 else DATA.normalized()
    energy = bx.SquaredError(net, measure)
    beta = {
        name: float(bx.compile(energy, bx.Normal(), beta=t).beta) * mass
        for name, t in {
            "bayes": bx.temperature.bayes(100),
            "watanabe": bx.temperature.watanabe(100),
            "log count": bx.temperature.log_count(3.0),
            "gap": bx.temperature.loss_gap(0.25),
            "number": 5.0 / mass,
        }.items()
    }
    wanted = {"bayes": 100, "watanabe": 100 / np.log(100), "log count": np.exp(3), "gap": 4}
    assert beta == pytest.approx(wanted | {"number": 5.0})


def test_what_the_measure_says_of_itself():
    net = bx.models.TwoLayer(3, bias=True, key=KEY)
    prior = bx.Independent({"*": bx.Normal(), "embedding": bx.Uniform(-2, 2)})
    text = repr(bx.compile(bx.SquaredError(net, DATA), prior, beta=2.5, chart=bx.Freeze("bias")))
    for part in (
        "over 3 coordinates",
        "embedding[3, 1] ~ Uniform",
        "beta = 2.5",
        "SquaredError: 9 nodes of Empirical",
        "readout: linear with a Gaussian prior, integrated out",
        "support Interval",
        "frozen: bias",
    ):
        assert part in text
    ladder = bx.compile(bx.SquaredError(net, DATA), prior).at(jnp.array([1.0, 10.0]))
    assert "2 values of beta from 1 to 10" in repr(ladder)


# --- new numbers do not retrace -------------------------------------------------------------------


def declare(rng, beta=1.0, prior_scale=1.0, kind="two-layer"):
    """A declaration written anew, all its numbers drawn."""
    data = bx.Empirical((rng.normal(size=(12, 2)), rng.normal(size=12)))
    key = jax.random.key(int(rng.integers(100)))
    if kind == "linear":
        net = bx.models.DeepLinear((2, 2, 1), key=key)
        data = bx.Empirical((rng.normal(size=(12, 2)), rng.normal(size=(12, 1))))
    else:
        net = bx.models.TwoLayer(3, dim=2, key=key)
    energy = float(rng.uniform()) * bx.SquaredError(net, data)
    if kind == "classes":
        labels = bx.Empirical((rng.normal(size=(12, 2)), rng.integers(0, 2, 12)))
        energy = bx.CrossEntropy(net, labels) + bx.Localisation(net, float(rng.uniform()))
    if kind == "subsampled":
        energy = bx.SquaredError(net, bx.Subsampled(data, 4))
    chart = bx.Freeze("embedding") if kind == "frozen" else None
    return bx.compile(energy, bx.Normal(0.0, prior_scale), beta=beta, chart=chart)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["two-layer", "linear", "classes", "subsampled", "frozen"])
def test_new_numbers_do_not_retrace(kind):
    """New data, weights, factors, priors and betas, from declarations written and compiled anew."""
    traces = []

    @eqx.filter_jit
    def log_prob(gibbs, key):
        traces.append(1)
        w = gibbs.sample_prior(key)
        return gibbs.log_prob(w), gibbs.energy(w), gibbs.log_prob_estimate(w, key)

    rng = np.random.default_rng(1)
    values = [log_prob(declare(rng, kind=kind), KEY)]
    values.append(log_prob(declare(rng, kind=kind), KEY))
    values.append(log_prob(declare(rng, beta=2, prior_scale=3, kind=kind), KEY))
    again = declare(rng, beta=jnp.asarray(0.5), kind=kind)
    values.append(log_prob(again, KEY))
    values.append(log_prob(again.at(4.0), KEY))
    values.append(log_prob(again.at(np.float32(3.0)), KEY))
    assert len(traces) == 1
    assert len({float(v[0]) for v in values}) == len(values)


# --- differences from a reference -----------------------------------------------------------------


def quartic(model, z):
    return model(z[0]) ** 4


@pytest.mark.parametrize("declared", [False, True])
def test_only_losses_that_are_subtracted_leave_their_rounding(declared):
    """`½ ε √(Σ l²)` over the losses of all data; a squared error subtracts outputs instead."""
    model = bx.models.Function(line, {"w": jnp.asarray(0.5)})
    term = bx.PerDatum(model, DATA, quartic) if declared else bx.SquaredError(model, DATA)
    kind = "declared" if declared else "nodes"
    gibbs = bx.compile(term, bx.Normal(), marginalise=False, integral=kind)
    relative = gibbs.relative_to(model)
    losses = (0.5 * X[:, 0]) ** 4 if declared else 0.5 * (0.5 * X[:, 0] - Y) ** 2
    np.testing.assert_allclose(relative.reference_energy, losses.sum(), rtol=1e-12)
    assert f"whose energy is {losses.sum():.6g}" in repr(relative)
    blur = 0.5 * np.finfo(float).eps * np.sqrt(np.sum(losses**2)) if declared else 0.0
    np.testing.assert_allclose(relative.potential.rounding(jnp.ones(())), blur, rtol=1e-12)
    moved = paired(gibbs.potential, weights_of(model))
    assert jax.tree.map(jnp.shape, moved) == jax.tree.map(jnp.shape, relative.potential)
    assert moved.offset() == (0, 0)


@pytest.mark.parametrize("marginalise", [False, True])
@pytest.mark.parametrize("energy", [3.0, -3.0])
def test_an_energy_that_is_one_number_is_rounded_by_half_its_spacing(energy, marginalise):
    gibbs = bx.compile(bx.SquaredError(NET, VECTORS), bx.Normal(), marginalise=marginalise)
    for kind in (np.float32, np.float64):
        found = gibbs.potential.rounding(jnp.asarray(energy, kind))
        np.testing.assert_allclose(found, 1.5 * np.finfo(kind).eps, rtol=1e-6)


def test_free_entries_have_the_quantiles_of_the_prior():
    """A function of standard normals: the free entries move, the others stay."""
    chart = bx.Mask({"weight[0]": CORNER}) | bx.Freeze("weight[1]")
    gibbs = bx.compile(bx.SquaredError(NET, VECTORS), bx.Normal(0.5, 2.0), chart=chart)
    u = jnp.array([[0.3, 7.0], [7.0, -1.1]])
    moved = gibbs.coordinates.from_normal({"weight[0]": u})["weight[0]"]
    wanted = np.where(CORNER, 0.5 + 2 * u, NET.weight[0])
    np.testing.assert_allclose(moved, wanted, rtol=1e-12)
