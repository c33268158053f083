"""The thirty target settings. Nothing in the package may know of any of them."""

import jax
import jax.numpy as jnp
import numpy as np
from _target import Axis, Case, Target, function, trained

import boltzax as bx

N = 200


def linear(w, x):
    """`w·x`."""
    return jnp.dot(w, x)


def hyperbolic(w, x):
    """`a tanh(b x)`."""
    return w[0] * jnp.tanh(w[1] * x[0])


def poisson(model, z):
    """`-log p(y)` of counts of mean `exp(w·x)`."""
    x, y = z
    return jnp.exp(model(x)) - y * model(x)


def student(model, z):
    """`-log p(y)` of residuals with Student's law of 2 degrees of freedom."""
    x, y = z
    return 1.5 * jnp.log1p((model(x) - y) ** 2 / 2)


def cauchy(model, x):
    """`-log p(x)` of a Cauchy law of unknown location."""
    return jnp.log1p((x[0] - model.params[0]) ** 2)


def absolute(model, x):
    """`|x - w|`, which has a kink at every datum."""
    return jnp.abs(x[0] - model.params[0])


def mixture(model, x):
    """`-log [½ N(x; a, 1) + ½ N(x; b, 1)]` up to a constant."""
    return -jax.nn.logsumexp(-0.5 * (x[0] - model.params) ** 2)


def well(model, x):
    """Two wells; the one at -1 is as deep."""
    return 0.5 * (model.params[0] ** 2 - 1) ** 2


def tilted_well(model, x):
    """Two wells; the one at +1 is higher."""
    return well(model, x) + 0.1 * (model.params[0] + 1)


def funnel(model, x):
    """`½ (a e^b)²`: where b is low, a is free."""
    return 0.5 * (model.params[0] * jnp.exp(model.params[1])) ** 2


def banana(model, x):
    """Rosenbrock's curved valley."""
    a, b = model.params
    return 0.5 * (a - 1) ** 2 + 5.0 * (b - a**2) ** 2


def neal(model, x):
    """`-log N(a; 0, e^{v/2})`: the neck of Neal's funnel."""
    v, a = model.params
    return 0.5 * a**2 * jnp.exp(-v) + 0.5 * v


def scale(model, x):
    """`-log N(x; 0, s)`."""
    s = model.params[0]
    return jnp.log(s) + 0.5 * (x[0] / s) ** 2


def slope(model, x):
    """The sum of the weights: least at the bounds of their prior."""
    return jnp.sum(model.params)


def blank(mass: float) -> bx.Empirical:
    """A population that the loss does not look at."""
    return mass * bx.Empirical(np.zeros((1, 1)))


def regression(rng, scales=(1.0, 1.0, 1.0), noise=1.0, weights=None, train=True) -> Case:
    """Least squares; closed form would do, the quadrature does as well."""
    x = rng.standard_normal((N, len(scales))) * np.asarray(scales)
    y = x @ np.ones(len(scales)) + noise * rng.standard_normal(N)
    data = bx.Empirical((x, y), weights=weights)
    energy = bx.SquaredError(function(linear, np.ones(len(scales))), data)
    energy = trained(energy) if train else energy
    w, n = np.asarray(energy.model.params), float(data.mass)
    rows = x * np.sqrt(np.ones(N) if weights is None else weights)[:, None]
    precision = rows.T @ rows / np.log(n) + np.eye(len(w))
    mean = w + np.linalg.solve(precision, rows.T @ (rows @ (np.ones(len(w)) - w))) / np.log(n)
    wide = 8 * np.sqrt(np.diag(np.linalg.inv(precision))) + 2 * np.abs(mean - w)
    return Case(energy, tuple(Axis(m - s, m + s, m, s) for m, s in zip(w, wide, strict=True)))


def counted(rng) -> Case:
    """Weighted data: each counts 0 to 4 times."""
    return regression(rng, weights=rng.integers(0, 5, N).astype(float))


def generalised(rng, fn, n, true, draw, half=4.0) -> Case:
    """A regression with the loss `fn`, labels by `draw(rng, x·w)`."""
    x = rng.standard_normal((n, len(true)))
    x[:, 0] = 1.0
    y = draw(rng, x @ np.asarray(true))
    model, data = function(linear, true), bx.Empirical((x, y))
    energy = bx.CrossEntropy(model, data) if fn is None else bx.PerDatum(model, data, fn)
    energy = trained(energy)
    w = np.asarray(energy.model.params)
    return Case(energy, tuple(Axis(m - half, m + half, m, 0.2) for m in w))


def labels(rng, logits):
    """Labels of a logistic regression, the two with the surest logits turned round."""
    y = (rng.random(len(logits)) < 1 / (1 + np.exp(-logits))).astype(float)
    order = np.argsort(logits)
    y[order[0]], y[order[-1]] = 1.0, 0.0
    return y


def heavy(rng, mean):
    """Labels with Student's noise of 2 degrees of freedom."""
    return mean + rng.standard_t(2.0, len(mean))


def counts(rng, log_mean):
    """Poisson counts."""
    return rng.poisson(np.exp(log_mean)).astype(float)


def located(rng, fn, x, start) -> Case:
    """One location."""
    energy = trained(bx.PerDatum(function(linear, [start]), bx.Empirical(x[:, None]), fn))
    w = float(energy.model.params[0])
    return Case(energy, (Axis(w - 9, w + 9, w, 0.3),))


def clusters(rng) -> Case:
    """A Cauchy location between two clusters of data: two modes."""
    x = np.concatenate([rng.normal(-1.5, 0.4, 13), rng.normal(1.5, 0.4, 11)])
    return located(rng, cauchy, x, -1.5)


def median(rng) -> Case:
    """The loss has kinks; the model is at a datum, or between two."""
    x = rng.laplace(size=101)
    energy = bx.PerDatum(function(linear, [np.median(x)]), bx.Empirical(x[:, None]), absolute)
    return Case(energy, (Axis(-4.0, 4.0, 0.0, 1.0),))


def shape(fn, w, box, mass=float(N), **more) -> Case:
    """A loss without data, of mass n."""
    return Case(bx.PerDatum(function(linear, w), blank(mass), fn), box, **more)


def one_mean(rng) -> Case:
    """A mixture of two where one is true: singular, and at the truth rather than the minimum."""
    data = bx.Empirical(rng.standard_normal((200, 1)))
    return Case(bx.PerDatum(function(linear, [0.0, 0.0]), data, mixture), (Axis(-6, 6),) * 2)


def unit(rng) -> Case:
    """A tanh unit at zero with noisy labels."""
    x, y = rng.standard_normal((N, 1)), rng.standard_normal(N)
    energy = bx.SquaredError(function(hyperbolic, [0.0, 0.0]), bx.Empirical((x, y)))
    return Case(energy, (Axis(-7, 7, 0, 0.05),) * 2)


def product(powers):
    """`Π w_i^{k_i}` as a model of one weight vector."""

    def fn(w, x):
        return jnp.prod(w ** np.asarray(powers))

    return fn


CROSSINGS = {powers: product(powers) for powers in ((1, 1), (1, 2), (1, 2, 3))}


def crossing(rng, powers, noise=0.0, gamma=1.0, half=7.0, n=1000) -> Case:
    """`½ (Π w_i^{k_i} - y)²` at the origin."""
    model = function(CROSSINGS[powers], np.zeros(len(powers)))
    box = (Axis(-half, half, 0.0, 1e-3),) * len(powers)
    if noise == 0:
        return Case(bx.SquaredError(model, blank(float(n)), bx.zero), box, localisation=gamma)
    data = bx.Empirical((np.zeros((n, 1)), noise * rng.standard_normal(n)))
    return Case(bx.SquaredError(model, data), box, localisation=gamma)


def on_cube(powers) -> Case:
    """A normal crossing on the cube: `λ` and its multiplicity are those of the textbook."""
    model = function(CROSSINGS[powers], np.full(len(powers), 0.5))
    energy = bx.SquaredError(model, blank(1.0), bx.zero)
    box = (Axis(-1, 1, 0, 1e-3),) * len(powers)
    return Case(energy, box, bx.Uniform(-1.0, 1.0), betas=(1e2, 1e3, 1e4))


def bounded(betas) -> Case:
    """Two weights at the bounds of their prior."""
    box = (Axis(0, 1, 0, 1e-3),) * 2
    prior = bx.Uniform(0.0, 1.0)
    return shape(slope, [0.5, 0.5], box, mass=1.0, prior=prior, betas=betas)


def spread(rng) -> Case:
    """The standard deviation of 30 normal data, with a gamma prior."""
    data = bx.Empirical(2 * rng.standard_normal((30, 1)))
    energy = bx.PerDatum(function(linear, [1.0]), data, scale)
    return Case(energy, (Axis(0.02, 40.0, 2.0, 0.3),), bx.Gamma(2.0, 1.0), betas=(1.0,))


def few_data(rng, prior, wide) -> Case:
    """Ten labels of a logistic regression: the prior decides much."""
    x = rng.standard_normal((10, 2))
    y = labels(rng, x @ np.array([1.0, -1.0]))
    energy = bx.CrossEntropy(function(linear, [1.0, -1.0]), bx.Empirical((x, y)))
    return Case(energy, (Axis(-wide, wide, 0.0, 0.3),) * 2, prior, betas=(1.0,))


def neck(rng) -> Case:
    """Neal's funnel, `v ~ N(0, 3)`."""
    prior = bx.Normal(jnp.zeros(2), jnp.array([3.0, 1e3]))
    box = (Axis(-25, 25, 0, 3.0), Axis(-7e3, 7e3, 0, 1e-3))
    return shape(neal, [0.0, 0.0], box, mass=1.0, prior=prior, betas=(1.0,))


def wells(betas) -> Case:
    """Two wells of different depth under a standard normal prior."""
    box = (Axis(-6, 6, 0, 1.0),)
    return shape(tilted_well, [-1.0], box, mass=1.0, prior=bx.Normal(), betas=betas)


def ridge(rng) -> Case:
    """One weight, `½ w²`, under a standard normal prior."""
    energy = bx.SquaredError(function(linear, [0.0]), bx.Empirical((np.ones((1, 1)), np.zeros(1))))
    return Case(energy, (Axis(-9, 9, 0, 0.05),), bx.Normal(), betas=(20.0, 200.0))


def double_well(rng) -> Case:
    """Localised at one of two wells."""
    return shape(well, [1.0], (Axis(-5, 5, 1.0, 0.1),))


TARGETS: tuple[Target, ...] = (
    Target("regression", "local", regression),
    Target("regression at the truth", "local", lambda rng: regression(rng, train=False)),
    Target("ill-conditioned", "local", lambda rng: regression(rng, (1.0, 0.05, 0.002))),
    Target("small noise", "local", lambda rng: regression(rng, noise=0.05)),
    Target("weighted data", "local", counted),
    Target("poisson", "local", lambda r: generalised(r, poisson, N, (0.5, 0.7), counts)),
    Target("logistic", "local", lambda r: generalised(r, None, N, (0.5, -1.0, 1.0), labels)),
    Target("steep logistic", "local", lambda r: generalised(r, None, 40, (0.0, 4.0), labels, 9.0)),
    Target("heavy-tailed noise", "local", lambda r: generalised(r, student, N, (1.0, 1.0), heavy)),
    Target("two clusters", "local", clusters),
    Target("median", "local", median),
    Target("one mean for two", "local", one_mean),
    Target("two wells", "local", double_well),
    Target("tanh unit at zero", "local", unit),
    Target("crossing 1-1", "local", lambda rng: crossing(rng, (1, 1))),
    Target("crossing 1-1, noise", "local", lambda rng: crossing(rng, (1, 1), noise=1.0)),
    Target("long arms 1-1", "local", lambda r: crossing(r, (1, 1), gamma=1e-3, half=250.0)),
    Target("long arms 1-2", "local", lambda r: crossing(r, (1, 2), gamma=1e-2, half=70.0)),
    Target("funnel", "local", lambda rng: shape(funnel, [0.0, 0.0], (Axis(-8, 8, 0, 0.02),) * 2)),
    Target("banana", "local", lambda r: shape(banana, [1.0, 1.0], (Axis(-5, 7, 1, 0.05),) * 2)),
    Target("bounded mode", "sample", lambda rng: bounded((100.0,))),
    Target("standard deviation", "sample", spread),
    Target("Cauchy prior", "sample", lambda rng: few_data(rng, bx.Cauchy(0.0, 1.0), 1e5)),
    Target("Neal's funnel", "sample", neck),
    Target("tilted wells", "sample", lambda rng: wells((10.0,))),
    Target("annealed 1-1", "anneal", lambda rng: on_cube((1, 1))),
    Target("annealed 1-2-3", "anneal", lambda rng: on_cube((1, 2, 3))),
    Target("annealed ridge", "anneal", ridge),
    Target("annealed wells", "anneal", lambda rng: wells((1.0, 10.0, 100.0))),
    Target("annealed bounds", "anneal", lambda rng: bounded((10.0, 100.0, 1000.0))),
)
