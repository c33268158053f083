"""A lowered energy is the declared one to rounding of the widest dtype, or it is not lowered."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import boltzax as bx
from boltzax.compile import MarginalPotential
from boltzax.numerics import UnsupportedError, extended

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = RNG.normal(size=40)
DATA = bx.Empirical((X, Y))
W = jnp.asarray(RNG.normal(size=3))
A = jnp.asarray(RNG.normal(size=(2, 3)))
KEY = jax.random.key(0)


@jax.custom_vjp
def halved(v):
    return v


halved.defvjp(lambda v: (v, None), lambda _, t: (t / 2,))


@jax.custom_jvp
def through(v):
    return v


through.defjvps(lambda t, out, v: 3 * t)


STEPS = {
    "float32": lambda v, x: v.astype(jnp.float32),
    "bfloat16": lambda v, x: v.astype(jnp.bfloat16),
    "bfloat16 and back": lambda v, x: v.astype(jnp.bfloat16).astype(v.dtype),
    "integers": lambda v, x: (4 * v).astype(jnp.int32).astype(jnp.float32),
    "fewer digits": lambda v, x: jax.lax.reduce_precision(v, 8, 7),
    "rounded": lambda v, x: jnp.round(8 * v) / 8,
    "halved derivative": lambda v, x: halved(v),
    "other derivative": lambda v, x: through(v),
    "no derivative": lambda v, x: v - 0.5 * jax.lax.stop_gradient(v),
    "clamped": lambda v, x: jnp.clip(v, -0.5, 0.5),
    "square": lambda v, x: v**2,
    "first power": lambda v, x: v**1,
    "running sum": lambda v, x: jnp.cumsum(v),
    "running product": lambda v, x: jnp.cumprod(v),
    "over the datum": lambda v, x: v / (1 + x**2).astype(v.dtype),
    "over itself": lambda v, x: v / (2 + v.astype(jnp.float32)),
    "times the datum": lambda v, x: v * x.astype(v.dtype),
    "matrix": lambda v, x: jnp.concatenate([v[:1], A.astype(v.dtype) @ v]),
    "narrow matrix": lambda v, x: jnp.concatenate(
        [v[:1], jnp.dot(A.astype(v.dtype), v, preferred_element_type=v.dtype)]
    ),
    "complex": lambda v, x: jnp.real((v + 0.5j * v) * jnp.exp(1j * x.astype(v.dtype))),
    "chosen": lambda v, x: jnp.where(x > 0, v, -2 * v),
    "turned": lambda v, x: jnp.flip(v) + 1,
    "remade": lambda v, x: jax.checkpoint(lambda u: 2 * u)(v),
}


def model_of(names, starts_at_data):
    def fn(w, x):
        v = w["inner"] * x if starts_at_data else w["inner"]
        for name in names:
            v = STEPS[name](v, x)
        return jnp.dot(v, x.astype(v.dtype)) + w["shift"]

    return bx.models.Function(fn, {"inner": W, "shift": jnp.asarray(0.3, float)})


def linear_form(potential, gibbs, model):
    """`½ |C a - y|²`, which is what was integrated over."""
    weights = dict(gibbs.constrain(gibbs.position(model)))
    weights |= bx.core.weights_of(model)
    form = potential.linear_gaussian(weights)
    parts = [
        ((weights[path] - prior.loc) / prior.scale).ravel()
        for path, prior in potential.readout.items()
    ]
    return 0.5 * jnp.sum((form.design @ jnp.concatenate(parts) - form.target) ** 2)


def agrees(model, data=DATA):
    energy = bx.SquaredError(model, data)
    place = jax.tree.map(lambda leaf: leaf + 0.37, model)
    truth = energy.value(place)
    for marginalise in (False, True):
        try:
            gibbs = bx.compile(energy, bx.Normal(), marginalise=marginalise)
        except bx.DeclarationError:
            assert marginalise
            continue
        np.testing.assert_allclose(gibbs.energy_of(place), truth, rtol=1e-9)
        if isinstance(gibbs.potential, MarginalPotential):
            form = linear_form(gibbs.potential, gibbs, place)
            np.testing.assert_allclose(form, truth, rtol=1e-9)


@pytest.mark.slow
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=3), st.booleans())
def test_a_lowered_energy_is_the_declared_one(names, starts_at_data):
    agrees(model_of(names, starts_at_data))


@pytest.mark.parametrize("name", STEPS)
def test_each_step_alone(name):
    agrees(model_of([name], True))


def test_complex_data():
    waves = np.exp(1j * RNG.normal(size=(40, 3)))
    model = bx.models.Function(lambda w, x: jnp.real(jnp.dot(w, x)) + jnp.imag(x[0]), W)
    agrees(model, bx.Empirical((waves, Y)))


def test_data_of_fewer_digits_are_lowered_still():
    """Data are what they are: they may be narrow as long as the computation is not."""
    model = bx.models.Function(lambda w, x: jnp.dot(w, x), W)
    data = bx.Empirical((jnp.asarray(X, jnp.bfloat16), np.asarray(Y, np.float32)))
    agrees(model, data)
    gibbs = bx.compile(bx.SquaredError(model, data), bx.Normal(), marginalise=False)
    assert "rows of moments" in repr(gibbs)


@pytest.mark.parametrize(
    "step", ["bfloat16 and back", "float32", "fewer digits", "other derivative"]
)
def test_what_is_not_lowered_says_so(step):
    gibbs = bx.compile(
        bx.SquaredError(model_of([step], True), DATA), bx.Normal(), marginalise=False
    )
    assert "nodes of Empirical" in repr(gibbs)


def test_narrow_weights_are_rounded_before_the_data_meet_them():
    """The rounding is of the weights alone, so that the model stays linear in the data."""
    model = model_of(["bfloat16 and back"], False)
    gibbs = bx.compile(bx.SquaredError(model, DATA), bx.Normal(), marginalise=False)
    assert "rows of moments" in repr(gibbs)
    agrees(model)


def _scanned(b, x):
    return jax.lax.scan(lambda c, u: (c * u, None), 1.0, jnp.stack([b, x, x]))[0]


EXTENDED = {
    "rounded to integers": lambda b, x: jnp.tanh((4 * b).astype(int).astype(float) * x),
    "single precision": lambda b, x: jnp.tanh(b.astype(jnp.float32) * x),
    "a loop": lambda b, x: jax.lax.scan(lambda c, u: (c * u, None), b, x[None])[0] ** 2,
    "a loop of three": _scanned,
    "a sum of constants": lambda b, x: jnp.dot(jnp.arange(3.0), jnp.ones(3)) * b * x,
    "integers": lambda b, x: b * x * (jnp.asarray(7) // 2),
}


@pytest.mark.parametrize("name", EXTENDED)
def test_extended_precision_is_the_function_or_nothing(name):
    try:
        value = extended(EXTENDED[name], 2)(0.7, 1.3)
    except UnsupportedError:
        return
    np.testing.assert_allclose(float(value), EXTENDED[name](jnp.asarray(0.7), 1.3), rtol=1e-14)


def test_a_loop_of_one_step_is_not_run_as_many():
    def fn(b, x):
        return jax.lax.fori_loop(0, 5, lambda _, c: c * x, b)

    with pytest.raises(UnsupportedError):
        extended(fn, 2)


NARROW = [jnp.bfloat16, jnp.float16, jnp.float32]


@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.__name__)
def test_losses_are_summed_in_full_precision(dtype):
    """The outputs are what the model gives; sums over classes and data lose nothing more."""
    net = {"w": jnp.asarray(3 * RNG.normal(size=(7, 3)))}

    def outputs(w, x):
        return w["w"].astype(dtype) @ x.astype(dtype)

    model, labels = bx.models.Function(outputs, net), RNG.integers(0, 7, size=40)
    given_out = np.asarray(jax.vmap(model)(X), np.float64)
    log_p = given_out - np.logaddexp.reduce(given_out, axis=1, keepdims=True)
    truth = -np.sum(log_p[np.arange(40), labels])
    for y in (labels, np.eye(7)[labels], np.eye(7, dtype=np.float16)[labels]):
        energy = bx.CrossEntropy(model, bx.Empirical((X, y)))
        np.testing.assert_allclose(energy.value(model), truth, rtol=1e-12)
    targets = jnp.asarray(RNG.normal(size=(40, 7)), dtype)
    truth = 0.5 * np.sum((given_out - np.asarray(targets, np.float64)) ** 2)
    energy = bx.SquaredError(model, bx.Empirical((X, targets)))
    np.testing.assert_allclose(energy.value(model), truth, rtol=1e-12)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    np.testing.assert_allclose(gibbs.energy_of(model), truth, rtol=1e-12)


@pytest.mark.parametrize("dtype", NARROW, ids=lambda d: d.__name__)
def test_integrals_are_summed_in_full_precision(dtype):
    values = jnp.asarray(RNG.uniform(1, 2, size=2000), dtype)
    truth = np.sum(np.asarray(values, np.float64))
    measure = bx.Empirical(values[:, None])
    np.testing.assert_allclose(measure.integrate(lambda z: z[0]), truth, rtol=1e-12)
    energy = bx.PerDatum(bx.models.Function(lambda w, x: w, W), measure, lambda m, z: z[0])
    np.testing.assert_allclose(energy.value(energy.model), truth, rtol=1e-12)
    density = measure.weighted(lambda z: z[0])
    np.testing.assert_allclose(density.mass, truth, rtol=1e-12)


def test_one_logit_in_half_precision():
    model = bx.models.Function(lambda w, x: jnp.dot(w, x).astype(jnp.bfloat16), 3 * W)
    z = np.asarray(jax.vmap(model)(X), np.float64)
    y = (RNG.random(40) < 0.5).astype(np.int32)
    truth = np.sum(np.logaddexp(0, z) - y * z)
    energy = bx.CrossEntropy(model, bx.Empirical((X, y)))
    np.testing.assert_allclose(energy.value(model), truth, rtol=1e-12)
