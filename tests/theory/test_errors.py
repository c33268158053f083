"""Every wrong argument is named, with what was expected and how to mend it."""

import re

import jax
import numpy as np
import pytest

from boltzax import theory

CASES = [
    ("dim", lambda: theory.regular(-1)),
    ("dim", lambda: theory.regular(True)),
    ("dim", lambda: theory.homogeneous(0, 4)),
    ("degree", lambda: theory.homogeneous(2, 0)),
    ("powers[0]", lambda: theory.normal_crossing((-1, 2))),
    ("powers", lambda: theory.normal_crossing((0, 0))),
    ("powers", lambda: theory.normal_crossing(2)),
    ("prior_powers", lambda: theory.normal_crossing((1, 2), (0,))),
    ("prior_powers[1]", lambda: theory.normal_crossing((1, 2), (0, -1))),
    ("coefficients", lambda: theory.product()),
    ("value", lambda: theory.LearningCoefficient(-1, 1)),
    ("multiplicity", lambda: theory.LearningCoefficient(1, 0)),
    ("hidden", lambda: theory.reduced_rank(3, 0, 3, 0)),
    ("inputs", lambda: theory.reduced_rank(3.0, 2, 3, 0)),
    ("rank", lambda: theory.reduced_rank(3, 2, 3, 3)),
    ("widths", lambda: theory.deep_linear((3,), 0)),
    ("widths[1]", lambda: theory.deep_linear((3, 0, 3), 0)),
    ("rank", lambda: theory.deep_linear((3, 2, 3), 3)),
    ("width", lambda: theory.vandermonde(0)),
    ("step", lambda: theory.vandermonde(3, 0)),
    ("true_units", lambda: theory.tanh_network(3, 4)),
    ("true_components", lambda: theory.gaussian_mixture(3, 0)),
    ("rank", lambda: theory.psd_factorization(3, 2, 3)),
    ("log_n", lambda: theory.normal_crossing_exact((1,), 1e9)),
    ("log_n", lambda: theory.linear_unit_exact(np.nan)),
    ("prior", lambda: theory.normal_crossing_exact((1,), 1.0, prior="flat")),
    ("eigenvalues", lambda: theory.quadratic_exact([-1.0], 1.0)),
    ("width", lambda: theory.tanh_zero_exact(3, 1.0)),
    ("embedding", lambda: theory.tanh_zero_exact(2, 1.0, "flat")),
    ("k", lambda: theory.tanh_hermite_coefficient(-1, 1.0)),
    ("k[0]", lambda: theory.tanh_hermite_log_magnitude([2], 1.0)),
    ("scale", lambda: theory.tanh_hermite_coefficient(3, 0.0)),
    ("scale", lambda: theory.hermite_slope(1.0, np.nan)),
    ("pole_distance", lambda: theory.legendre_slope(-1.0, 1.0)),
    ("half_width", lambda: theory.fourier_slope(0.0)),
    ("activation", lambda: theory.power_law_exponent("tanh", "gaussian")),
    ("activation", lambda: theory.power_law_exponent("swoosh", "gaussian")),
    ("measure", lambda: theory.power_law_exponent("relu", "sphere")),
]


@pytest.mark.parametrize("name, call", CASES)
def test_the_argument_is_named(name, call):
    with pytest.raises(ValueError, match=re.escape(f"`{name}`: got")) as caught:
        call()
    assert "Expected: " in str(caught.value) and "To mend it: " in str(caught.value)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("bounds", {"bounds": [(1, 0)]}),
        ("bounds", {"bounds": [(0, 1)] * 4}),
        ("betas", {"betas": [-1.0]}),
        ("betas", {"betas": []}),
        ("centres", {"centres": [(0.0,), (0.0,)]}),
        ("tolerance", {"tolerance": 0.0}),
        ("max_points", {"max_points": 0}),
    ],
)
def test_exact_free_energy_arguments(name, arguments):
    given = {"bounds": [(0, 1)], "betas": [1.0]} | arguments
    with jax.enable_x64(True), pytest.raises(ValueError, match=f"`{name}`: got"):
        theory.exact_free_energy(lambda w, beta: beta * w[0], lambda w: 0.0, **given)


def test_every_public_name_is_documented():
    for name in dir(theory):
        item = getattr(theory, name)
        if callable(item) and not name.startswith("_"):
            assert item.__doc__ and len(item.__doc__) > 100, name
            assert item.__module__.startswith("boltzax.theory."), name
