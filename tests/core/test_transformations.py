"""Which functions of quantities with errors work under `jax.jit`, `jax.vmap` and `jax.grad`."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

RNG = np.random.default_rng(3)
DATA = RNG.normal(size=(3, 8)) + 2.0
E, J, C = bx.Estimate, bx.Influence, bx.Curve
THREE = E.of_samples(RNG.normal(size=(50, 3)) + 2.0)
SHARED = J.of(RNG.normal(size=(3, 2, 20)) + 2.0)
PLACES = np.arange(3.0)


def estimate(x):
    """One with traced parts `[3]`."""
    return THREE * x[:, 0]


def influence(x):
    return SHARED * x[:, 0]


def curve(x):
    return C(PLACES, estimate(x), axis="a")


NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]

WORKS = {
    "Estimate.of_samples": lambda x: E.of_samples(x.T),
    "Estimate.of_replicates": lambda x: E.of_replicates(x.T),
    "Estimate.of_hits": lambda x: E.of_hits(jnp.sum(x > 2, axis=1), 8) * jnp.sum(x),
    "Estimate.exact": lambda x: E.exact(x),
    "Estimate.stack": lambda x: E.stack([estimate(x), THREE]),
    "Estimate.map": lambda x: estimate(x).map(jnp.square),
    "Estimate.times": lambda x: estimate(x).times(x.T),
    "Estimate.scaled": lambda x: THREE.scaled(x[:, 0]),
    "Estimate.shifted": lambda x: THREE.shifted(x[:, 0]),
    "Estimate.widened": lambda x: estimate(x).widened(abs(x[:, 0])),
    "Estimate.bounded": lambda x: estimate(x).bounded(x[:, 0] - 9, x[:, 0] + 9),
    "Estimate.unknown": lambda x: estimate(x).unknown(x[:, 0] > 9),
    "Estimate.z_score": lambda x: THREE.z_score(x[:, 0]),
    "Estimate.interval": lambda x: estimate(x).interval(0.5),
    "Influence.of": lambda x: J.of(x[None]),
    "Influence.of_samples": lambda x: J.of_samples(x),
    "Influence.stack": lambda x: J.stack([influence(x), SHARED]),
    "Influence.map": lambda x: influence(x).map(jnp.square),
    "Influence.times": lambda x: influence(x).times(x.T),
    "Influence.scaled": lambda x: SHARED.scaled(x[:, 0]),
    "Influence.shifted": lambda x: SHARED.shifted(x[:, 0]),
    "Curve.__init__": lambda x: C(x[:, 0], THREE, axis="a"),
    "Curve.columns": lambda x: C(PLACES, E.exact(x), axis="a").columns(NAMES[: x.shape[1]]),
    "Curve.map": lambda x: curve(x).map(jnp.square),
    "Curve.minus": lambda x: curve(x).minus(curve(2 * x)),
    "Curve.over": lambda x: curve(x).over(x[:, 1], "b"),
    "Curve.scaled": lambda x: curve(x).scaled(x[:, 0]),
    "Curve.shifted": lambda x: curve(x).shifted(x[:, 0]),
    "Curve.interval": lambda x: curve(x).interval(),
    "Curve.z_score": lambda x: curve(x).z_score(curve(2 * x)),
}
"""With traced numbers `x` of shape `[3, 8]`."""
ON_HOST = {
    "Estimate.of_series": lambda x: E.of_series(x),
    "mean_estimate": lambda x: bx.mean_estimate(x),
    "Influence.estimate": lambda x: influence(x).estimate(),
    "Influence.z_score": lambda x: influence(x).z_score(0.0),
    "Curve.at": lambda x: curve(x).at(0.5),
    "Curve.slope": lambda x: curve(x).slope(),
    "Curve.crossing": lambda x: curve(x).crossing(2.0),
    "Curve.crossings": lambda x: curve(x).crossings(2.0),
    "Curve with an influence": lambda x: C(PLACES, influence(x), axis="a"),
    "Curve.at traced places": lambda x: C(PLACES, THREE, axis="a").at(x[0, 0]),
    "Curve.at of traced x": lambda x: C(x[:, 0], THREE, axis="a").at(0.5),
    "Ensemble.mean_of": lambda x: bx.Ensemble.prior(PRIOR, 8, key=KEY).mean_of(x[0]),
}
KEY = jax.random.key(0)
PRIOR = bx.prior(bx.models.Function(lambda p: p[0], jnp.zeros(2)), bx.Normal())


def numbers(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_every_function_is_listed():
    """A new one must say whether it works under a transformation."""
    methods = [
        f"{kind.__name__}.{name}"
        for kind in (E, J, C)
        for name, member in inspect.getmembers(kind)
        if inspect.isroutine(member) and not name.startswith("_")
    ]
    listed = {name.split(" ")[0] for name in (*WORKS, *ON_HOST)}
    assert set(methods) - listed == set()


@pytest.mark.parametrize("name", WORKS)
def test_numbers_under_a_transformation_are_those_of_the_host(name):
    fn, host = WORKS[name], numbers(WORKS[name](DATA))
    pair = np.stack([DATA, DATA[::-1]])
    mapped = numbers(jax.vmap(fn)(pair))
    for plain, traced, several in zip(host, numbers(jax.jit(fn)(DATA)), mapped, strict=True):
        np.testing.assert_allclose(traced, plain, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(several[0], plain, rtol=1e-9, atol=1e-12)

    def total(x):
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(fn(x))[:1])

    slope, direction, step = jax.grad(total)(DATA), RNG.normal(size=DATA.shape), 1e-5
    apart = (total(DATA + step * direction) - total(DATA - step * direction)) / (2 * step)
    assert np.isclose(np.sum(slope * direction), apart, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ON_HOST)
def test_what_reads_its_numbers_is_refused_with_reasons(name):
    with pytest.raises(bx.DeclarationError, match="traced by jax.jit") as caught:
        jax.jit(ON_HOST[name])(DATA)
    assert "outside" in caught.value.mend and "on the host" in caught.value.expected
