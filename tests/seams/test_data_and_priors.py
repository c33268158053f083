"""Data and priors that cannot mean what they say are refused, and nothing is dropped on the way."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from hypothesis import given

import boltzax as bx
from boltzax.declare import check_distribution

X = np.arange(6.0)[:, None]
ONES = jnp.ones(6)


def refused(argument, declare):
    with pytest.raises(bx.DeclarationError) as caught:
        declare()
    assert caught.value.argument == argument


@pytest.mark.parametrize("second", [np.ones(6), np.arange(6), None], ids=["ones", "labels", "none"])
def test_labels_are_not_taken_for_weights(second):
    refused("data", lambda: bx.Empirical(X, second))


COMPLEX = {
    "weights": lambda: bx.Empirical(X, weights=np.ones(6) + 1j),
    "mean": lambda: bx.GaussianMeasure(1, mean=1j),
    "low": lambda: bx.IntervalMeasure(1j, 2),
    "density": lambda: bx.Empirical(X).weighted(lambda z: z[0] * 1j).mass,
    "measure * factor": lambda: 1j * bx.Empirical(X),
}


@pytest.mark.parametrize("argument", COMPLEX)
def test_imaginary_parts_are_not_dropped(argument):
    refused(argument, COMPLEX[argument])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.uint32, np.int32, np.uint8])
@pytest.mark.parametrize("x64", [False, True])
@given(st.data())
def test_integers_arrive_as_they_are_or_not_at_all(kind, x64, data):
    bounds = np.iinfo(kind)
    values = data.draw(st.lists(st.integers(int(bounds.min), int(bounds.max)), min_size=1))
    with jax.enable_x64(x64):
        ids = np.array(values, kind)
        top = np.iinfo(jax.dtypes.canonicalize_dtype(kind))
        if min(values) < top.min or max(values) > top.max:
            refused("data", lambda: bx.Empirical((ids, np.zeros(len(ids)))))
        else:
            held = bx.Empirical((ids, np.zeros(len(ids)))).data[0]
            assert [int(value) for value in held] == values


def test_python_integers_that_do_not_fit():
    with jax.enable_x64(False):
        refused("data", lambda: bx.Empirical([2**40, 1]))
    refused("data", lambda: bx.Empirical([2**70, 1]))


NO_DENSITY = {
    "point": dist.Delta(0.0),
    "points": dist.Delta(jnp.zeros(6)).to_event(1),
    "masked": dist.Normal().mask(False),
    "masked in part": dist.Normal(jnp.zeros(6), 1.0).mask(jnp.arange(6) < 3),
    "masked below": dist.Normal().mask(False).expand([6]).to_event(1),
    "improper": dist.ImproperUniform(dist.constraints.real, (), ()),
    "factor": dist.Unit(jnp.zeros(6)),
    "censored": dist.RightCensoredDistribution(dist.Normal(), jnp.zeros(())),
    "atom at zero": dist.HurdleGamma(1.0, 2.0, 0.3),
    "sums to zero": dist.ZeroSumNormal(1.0, (6,)),
    "moved point": dist.TransformedDistribution(
        dist.Delta(0.0), dist.transforms.AffineTransform(1.0, 2.0)
    ),
}


@pytest.mark.parametrize("name", NO_DENSITY)
def test_a_prior_has_a_density(name):
    model = bx.models.Function(lambda w, x: jnp.dot(w, x), ONES)
    energy = bx.SquaredError(model, bx.GaussianMeasure(6), bx.zero)
    with pytest.raises(bx.DeclarationError, match="density"):
        bx.compile(energy, NO_DENSITY[name])


def test_complex_priors_are_refused():
    refused("prior", lambda: check_distribution("prior", dist.Normal(1j, 1.0)))


PRIORS = [
    dist.Normal(0.3, 2.0),
    dist.Normal(0.3, 2.0).mask(True),
    dist.Normal(0.3, 2.0).expand([1]).to_event(1),
    dist.Uniform(-1.0, 2.0),
    dist.HalfNormal(0.7),
    dist.Exponential(2.0),
    dist.Laplace(0.2, 1.1),
    dist.Logistic(),
    dist.SoftLaplace(0.0, 1.0),
    dist.Gamma(2.5, 1.5),
    dist.TruncatedNormal(0.0, 1.0, low=-0.5, high=2.0),
    dist.LogNormal(0.0, 0.5),
    dist.StudentT(4.0),
    dist.TransformedDistribution(dist.Normal(), dist.transforms.AffineTransform(1.0, 2.0)),
    dist.MixtureSameFamily(
        dist.Categorical(jnp.array([0.3, 0.7])), dist.Normal(jnp.array([-1.0, 2.0]), 0.5)
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("prior", PRIORS, ids=lambda p: type(p).__name__)
def test_what_is_accepted_integrates_to_one(prior):
    model = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.full(1, 0.5))
    energy = bx.SquaredError(model, bx.GaussianMeasure(1), bx.zero)
    gibbs = bx.compile(energy, prior, marginalise=False)
    u = jnp.sinh(jnp.linspace(-6, 6, 40_001))  # unconstrained, closely about zero
    log_p = jax.vmap(lambda each: gibbs.log_prior({"params": each[None]}))(u)
    mass = jnp.trapezoid(jnp.exp(log_p) * jnp.sqrt(1 + u**2), dx=12 / 40_000)
    np.testing.assert_allclose(mass, 1.0, atol=1e-4)


MASKED = np.ma.array(np.ones(6), mask=[0, 0, 1, 0, 1, 0])
LINE = bx.SquaredError(bx.models.Polynomial((1,)), bx.Empirical(np.ones((2, 1))), bx.zero)


@pytest.mark.parametrize(
    ("argument", "use"),
    [
        ("weights", lambda: bx.Empirical(np.ones((6, 1)), weights=MASKED)),
        ("data", lambda: bx.Empirical(MASKED)),
        ("data", lambda: bx.Empirical((np.ones((6, 1)), MASKED))),
        ("mean", lambda: bx.GaussianMeasure(6, mean=MASKED)),
        ("scale", lambda: bx.GaussianMeasure(6, scale=MASKED)),
        ("prior['w']", lambda: bx.Independent(w=bx.Normal(MASKED))),
        ("beta", lambda: bx.compile(LINE, bx.Normal()).at(MASKED)),
        ("betas", lambda: bx.anneal(bx.compile(LINE, bx.Normal()), MASKED, key=jax.random.key(0))),
        ("beta", lambda: bx.compile(LINE, bx.Normal(), beta=MASKED)),
        ("draws", lambda: bx.mean_estimate(np.ma.stack([MASKED, MASKED]))),
        ("draws", lambda: bx.Estimate.of_series(np.ma.stack([MASKED, MASKED]))),
    ],
)
def test_masked_arrays_are_refused(argument, use):
    """As arrays they lose their mask, and what is masked would count."""
    with pytest.raises(bx.DeclarationError, match="masked") as caught:
        use()
    assert caught.value.argument == argument
