"""Loops, phases and sweeps against Curie-Weiss and the linear net."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.cases import curie_weiss, curie_weiss_spinodal
from boltzax.core import DeclarationError, RunError, Status
from boltzax.meanfield._finite_width import finite_width
from boltzax.meanfield._linear_cumulant import LinearCumulant
from boltzax.meanfield._neuron import Neuron
from boltzax.meanfield._order_parameters import Loop, fixed_points
from boltzax.meanfield._self_consistency import SelfConsistency
from boltzax.meanfield._solve import Uniqueness, solve
from boltzax.meanfield._sweep import Hysteresis, sweep
from boltzax.report._meanfield import sweep as plot_sweep
from boltzax.theory._linear_mean_field import linear_mean_field

KEY = jax.random.key(0)


class Spin(eqx.Module):
    """`tanh(β(J m + h))`, in each coordinate by itself."""

    beta: jax.Array
    coupling: jax.Array
    field: jax.Array

    def __call__(self, m):
        return jnp.tanh(self.beta * (self.coupling * m + self.field))


class Energy(eqx.Module):
    """Free energy of a spin."""

    spin: Spin

    def __call__(self, m):
        x = self.spin.beta * (self.spin.coupling * m + self.spin.field)
        return jnp.sum(0.5 * self.spin.coupling * m**2 - jnp.logaddexp(x, -x) / self.spin.beta)


def loop_of(beta, coupling, field, kind):
    spin = Spin(*(jnp.asarray(x, float) for x in (beta, coupling, field)))
    return Loop(spin, -1.0, 1.0, kind=kind, free_energy=Energy(spin))


class Linear(eqx.Module):
    """`t -> 1/(s² + Q(t))` of the linear net with s² = 0.1."""

    feature: jax.Array

    def __call__(self, t):
        return 1 / (0.1 + 1 / (1 - self.feature * t**2))


class Inside(eqx.Module):
    """Where the law of the linear net exists."""

    feature: jax.Array

    def __call__(self, t):
        return self.feature * jnp.sum(t**2) < 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cooperative", None])
@settings(max_examples=5)
@given(st.floats(0.2, 3), st.floats(-1, 1))
def test_all_phases_of_curie_weiss(kind, beta, field):
    if abs(beta - 1) < 0.05 or (
        beta > 1 and abs(abs(field) - curie_weiss_spinodal(beta)[1]) < 1e-3
    ):
        return
    exact = curie_weiss(beta, 1.0, field)
    found = fixed_points(loop_of(beta, 1.0, field, kind), key=KEY)
    # the stable ones are sure of a loop that keeps order; of starts alone none is, but 32 starts
    # on a line find them all
    np.testing.assert_allclose(found.roots[:, 0], exact.roots, atol=1e-12)
    np.testing.assert_allclose(found.radius, np.abs(exact.slopes), atol=1e-10)
    np.testing.assert_allclose(found.free_energies, exact.free_energies, atol=1e-12)
    # without a field two phases are equal, and rounding decides between them
    least = exact.free_energies[int(found.dominant)] - np.min(exact.free_energies)
    assert least <= 1e-12
    wanted = Uniqueness.several if len(exact.roots) > 1 else Uniqueness.unknown
    if kind == "cooperative" and len(exact.roots) == 1:
        wanted = Uniqueness.met
    assert bool(found.unique == wanted)
    assert int(jnp.sum(found.hits)) + found.rejected + found.lost in (2, 32, 34)


def test_critical_point_is_one_root():
    found = fixed_points(loop_of(1.0, 1.0, 0.0, "cooperative"), key=KEY)
    assert len(found.roots) == 1
    assert abs(float(found.roots[0, 0])) < 1e-3


def test_antagonistic_is_unique_and_may_be_unstable():
    found = fixed_points(loop_of(1.0, -3.0, 0.5, "antagonistic"), key=KEY)
    exact = curie_weiss(1.0, -3.0, 0.5)
    assert abs(float(found.roots[0, 0]) - exact.roots[0]) < 1e-12
    assert bool(found.unique == Uniqueness.antitone)
    assert not bool(found.stable[0])
    assert "falls everywhere" in repr(found)


@pytest.mark.parametrize("feature", [0.1, 1.0, 10.0])
def test_unphysical_roots_are_rejected(feature):
    exact = linear_mean_field(0.1, feature)
    reach = 1.2 * float(np.max(np.abs(exact.unphysical)))
    kappa = jnp.asarray(feature)
    naive = fixed_points(Loop(Linear(kappa), -reach, reach), key=KEY, starts=64)
    ours = fixed_points(
        Loop(Linear(kappa), -reach, reach, inside=Inside(kappa)), key=KEY, starts=64
    )
    assert np.all(naive.residuals < 1e-12)
    every = np.sort(np.append(exact.unphysical, exact.field))
    np.testing.assert_allclose(naive.roots[:, 0], every, rtol=1e-11)
    np.testing.assert_allclose(ours.roots[:, 0], [exact.field], rtol=1e-12)
    assert ours.rejected == int(jnp.sum(naive.hits)) - int(ours.hits[0]) > 0
    assert bool(ours.unique == Uniqueness.unknown)


class LinearUnit(eqx.Module):
    """`a w·x`."""

    a: jax.Array
    w: jax.Array

    def __call__(self, x):
        return self.a * (self.w @ x)


def linear_problem(feature):
    """The linear net on white data in two dimensions, and its exact field."""
    exact = linear_mean_field(0.1, feature)
    prior = bx.Independent(
        a=bx.Normal(0.0, exact.readout_scale), w=bx.Normal(0.0, exact.weight_scale)
    )
    x = 2**0.5 * jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    data = bx.Empirical((x, x @ jnp.array([0.6, 0.8])), weights=jnp.full(4, 0.25))
    neuron = Neuron(LinearUnit(jnp.zeros(()), jnp.zeros(2)), prior)
    return SelfConsistency(neuron, None, data, exact.temperature), exact


@pytest.mark.parametrize("feature", [0.1, 1.0, 10.0])
def test_linear_net_in_closed_form(feature):
    problem, exact = linear_problem(feature)
    cumulant = LinearCumulant.of(problem, readout=exact.readout_scale, weight=exact.weight_scale)
    found = solve(problem, cumulant=cumulant, tolerance=1e-12)
    wanted = exact.field * feature * problem.targets()
    np.testing.assert_allclose(found.field, wanted, rtol=1e-9, atol=1e-9)
    assert bool(found.inside)
    # the edge of the domain is where κt² = 1
    edge = 0.5 * wanted / (exact.field * feature**0.5)
    assert jnp.isfinite(cumulant.value(0.999 * edge)) and jnp.isinf(cumulant.value(1.001 * edge))


def test_derivatives_of_the_linear_cumulant():
    root = jax.random.normal(KEY, (4, 2))
    closed = LinearCumulant(root, jnp.asarray(0.3))
    g = 0.2 * jnp.array([1.0, -0.5, 0.3, 0.8])
    np.testing.assert_allclose(jax.jit(jax.grad(closed.value))(g), closed.mean(g), rtol=1e-12)
    np.testing.assert_allclose(
        jax.jit(jax.jacfwd(closed.mean))(g), closed.covariance(g), atol=1e-12
    )


@pytest.mark.slow
def test_linear_cumulant_is_what_the_nodes_give():
    problem, exact = linear_problem(1.0)
    closed = LinearCumulant.of(problem, readout=exact.readout_scale, weight=exact.weight_scale)
    point = solve(problem, cumulant=closed)
    # readout integrated out: Gauss-Hermite in w converges to rounding
    nodes = solve(problem, rule="hermite", order=60, refinements=0, throw=False)
    np.testing.assert_allclose(nodes.field, point.field, rtol=1e-7)
    np.testing.assert_allclose(nodes.entropy, point.entropy, rtol=1e-6)
    np.testing.assert_allclose(nodes.thermal_fluctuation, point.thermal_fluctuation, rtol=1e-5)
    near, far = finite_width(nodes), finite_width(point, cumulant=closed)
    np.testing.assert_allclose(near.loss, far.loss, rtol=1e-4)


class Family(eqx.Module):
    """Curie-Weiss over its field."""

    beta: jax.Array

    def __call__(self, field):
        return loop_of(self.beta, 1.0, field, "cooperative")


def test_sweep_of_the_field_jumps_at_the_spinodals():
    found = sweep(Family(jnp.asarray(1.5)), jnp.linspace(-0.4, 0.4, 33), key=KEY)
    m, h = curie_weiss_spinodal(1.5)
    np.testing.assert_allclose(found.jumps_up.values, [h], atol=1e-12)
    np.testing.assert_allclose(found.jumps_down.values, [-h], atol=1e-12)
    np.testing.assert_allclose(found.jumps_up.before, [[-m]], atol=1e-10)
    assert bool(jnp.all(found.jumps_up.exact)) and bool(found.hysteresis == Hysteresis.true)
    for i, value in enumerate(np.asarray(found.values)):
        exact = curie_weiss(1.5, 1.0, value)
        # up: the lowest branch while it exists; down: the highest
        assert abs(float(found.up[i, 0]) - exact.roots[0]) < 1e-12
        assert abs(float(found.down[i, 0]) - exact.roots[-1]) < 1e-12
        assert int(found.stable[i]) == np.sum(exact.stable)
    assert 0.40 < float(found.area[0]) < 0.47

    ax = plot_sweep(found, labels=("h", "m"))
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert np.sum(np.isnan(lines["up"].get_ydata())) == 1 and ax.get_xlabel() == "h"
    dotted = [line.get_xdata()[0] for line in ax.get_lines() if line.get_linestyle() == ":"]
    np.testing.assert_allclose(dotted, [h, -h], atol=1e-12)

    warm = Family(jnp.asarray(0.9))
    calm = sweep(warm, found.values, key=KEY)
    assert bool(calm.hysteresis == Hysteresis.none) and calm.jumps_up.values.size == 0
    assert abs(float(calm.area[0])) < 1e-9
    hurried = sweep(warm, found.values, key=KEY, steps=3, throw=False)
    assert bool(hurried.hysteresis == Hysteresis.kinetic)
    assert bool(hurried.status == Status.not_converged) and float(hurried.area[0]) > 0.01
    assert "Kinetic" in repr(hurried)
    with pytest.raises(RunError):
        sweep(warm, found.values, key=KEY, steps=3)


@pytest.mark.slow
def test_sweep_of_a_self_consistent_field_has_no_hysteresis():
    problem, _ = linear_problem(1.0)
    found = sweep(problem.at, jnp.array([0.05, 0.2, 1.0]), key=KEY)
    assert bool(found.hysteresis == Hysteresis.none)
    assert bool(jnp.all(jnp.diff(found.up[:, 0]) > 0))
    np.testing.assert_allclose(found.up, found.down, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: fixed_points(loop_of(1.0, -3.0, 0.0, "cooperative"), key=KEY), "kind"),
        (lambda: fixed_points(loop_of(1.0, 3.0, 0.0, "antagonistic"), key=KEY), "kind"),
        (lambda: fixed_points(Loop(lambda m: 3 * m, -1, 1, kind="cooperative"), key=KEY), "upper"),
        (lambda: loop_of(1.0, 1.0, 0.0, "other"), "kind"),
        (lambda: Loop(jnp.tanh, 1.0, -1.0), "lower"),
        (lambda: Loop(lambda m: float(m[0]), -1.0, 1.0), "update"),
        (lambda: Loop(jnp.tanh, 0.0, jnp.inf), "lower"),
        (lambda: Loop(jnp.sum, 0.0, jnp.ones(2)), "update"),
        (lambda: fixed_points(loop_of(1, 1, 0, None), key=KEY, starts=0), "starts"),
        (lambda: sweep(Family(jnp.ones(())), jnp.array([1.0, 0.0]), key=KEY), "values"),
        (lambda: sweep(lambda x: x, jnp.array([0.0, 1.0]), key=KEY), "make"),
        (
            lambda: sweep(Family(jnp.ones(())), jnp.array([0.0, 1.0]), key=KEY, damping=0.0),
            "damping",
        ),
    ],
)
def test_wrong_declarations(call, argument):
    with pytest.raises(DeclarationError) as caught:
        call()
    assert caught.value.argument == argument


@pytest.mark.slow
def test_no_root_is_a_failed_run():
    loop = Loop(lambda m: m + 1, -1.0, 1.0)
    found = fixed_points(loop, key=KEY, starts=4, throw=False)
    assert bool(found.status == Status.not_converged) and found.lost == 4 and not len(found.roots)
    with pytest.raises(RunError) as caught:
        fixed_points(loop, key=KEY, starts=4)
    assert caught.value.result.lost == 4
