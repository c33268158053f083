"""Figures: what is drawn is what was measured."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import boltzax as bx
from boltzax import theory

from ._style import faults

FUNCTIONS = {
    "learning_coefficient": lambda run, ax: bx.plot.learning_coefficient(run, ax=ax),
    "free_energy": lambda run, ax: bx.plot.free_energy(run, ax=ax),
    "trace": lambda run, ax: bx.plot.trace(run, ax=ax),
    "ladder": lambda run, ax: bx.plot.ladder(run, ax=ax),
    "spectrum": lambda run, ax: bx.plot.spectrum(_decaying(-2.0), ax=ax),
    "influence": lambda run, ax: bx.plot.influence(_estimate([[1.0, 0.01], [0.01, -2.0]]), ax=ax),
    "interface": lambda run, ax: bx.plot.interface(bx.Interface.thresholds(1.0, 4.0), ax=ax),
    "contract": lambda run, ax: bx.plot.contract(_contract(), ax=ax),
    "channel_spectrum": lambda run, ax: bx.plot.channel_spectrum(_channels(), ax=ax),
    "clouds": lambda run, ax: bx.plot.clouds(np.eye(4), np.ones((3, 4)), ax=ax),
    "sweep": lambda run, ax: bx.plot.sweep(_swept(), ax=ax),
    "along_training": lambda run, ax: bx.plot.along_training(_trained(), ax=ax),
    "local_learning_coefficient": lambda run, ax: bx.plot.local_learning_coefficient(
        _local(), ax=ax
    ),
    "part_coefficients": lambda run, ax: bx.plot.part_coefficients(_parts(), ax=ax),
    "coefficient_grid": lambda run, ax: bx.plot.coefficient_grid(_grid(), ax=ax),
    "clean_window": lambda run, ax: bx.plot.clean_window(_window(), ax=ax),
    "survival": lambda run, ax: bx.plot.survival({"one": _falling()}, ax=ax, marks={"n": 0.4}),
    "trajectory_spectrum": lambda run, ax: bx.plot.trajectory_spectrum(_trajectory(), ax=ax),
    "response_components": lambda run, ax: bx.plot.response_components(_components(), ax=ax),
    "information_ladder": lambda run, ax: bx.plot.information_ladder(_information(), ax=ax),
    "channel_cost": lambda run, ax: bx.plot.channel_cost(_cost(), ax=ax),
    "screening": lambda run, ax: bx.plot.screening({"drop": _screened()}, ax=ax),
    "data_interactions": lambda run, ax: bx.plot.data_interactions(_interactions(), ax=ax),
    "selectivity": lambda run, ax: bx.plot.selectivity({"dial": (_falling(),) * 2}, ax=ax, at=0.7),
    "intervals": lambda run, ax: bx.plot.intervals({"one": _estimate(1.0)}, ax=ax),
    "curve": lambda run, ax: bx.plot.curve(run.curve(bx.heat_capacity(run)), ax=ax),
    "estimate": lambda run, ax: bx.plot.estimate(np.arange(4.0), bx.heat_capacity(run), ax=ax),
    "result": lambda run, ax: bx.plot.result(_mixed(), ax=ax),
}


def _mixed() -> bx.channels.NaturalLatent:
    return bx.channels.NaturalLatent(_estimate(0.5), _estimate([0.1, 0.2]), _estimate(0.3), "all")


def _contract() -> bx.Contract:
    double = bx.Component(bx.models.Function(lambda p, x: p * x, 2 * jnp.ones(())), bx.Normal())
    return bx.Contract(double, *[bx.Interface.intervals({0: [(0, 1)], 1: [(2, 5)]})] * 2)


@functools.cache
def _local() -> bx.LocalLearningCoefficient:
    line, x = bx.models.Function(lambda w, x: w * x, jnp.ones(())), np.linspace(-1, 1, 20)
    energy = bx.SquaredError(line, bx.Empirical((x, x)))
    few = {"kernel": bx.SGLD(), "max_gradients": 4000}
    return bx.local_learning_coefficient(energy, key=jax.random.key(0), **few)


def _fixed(value: float) -> bx.FixedCoefficient:
    return bx.FixedCoefficient(_estimate(value), 1.0, _estimate(2.0), 3.0, 7, ())


def _cost() -> bx.channels.ChannelCost:
    bits = bx.Curve([2.0, 3.0, 4.0], _estimate([[2.0], [3.5], [5.0]]), axis="length")
    slope = bx.Curve([1.0], _estimate([1.5]), axis="width")
    gibbs = bx.prior(bx.models.Function(lambda p: p, jnp.zeros(1)), bx.Normal())
    run = bx.channels.bits_of_optimisation(
        gibbs, lambda model: model.params[0], key=jax.random.key(0), samples=1000
    )
    return bx.channels.ChannelCost(bits, slope, _estimate([-1.0]), jnp.ones(1), ((run,),))


def _falling() -> bx.Curve:
    return bx.Curve([0.1, 1.0, 10.0], _estimate([0.9, 0.5, 0.1]), axis="temperature")


def _screened(noise: float = 0.01) -> bx.channels.Screening:
    change = bx.Estimate.exact(np.array([0.4, -0.1, 0.02, 0.004])).widened(np.full(4, noise))
    curve = bx.Curve([1.0, 2.0, 3.0, 4.0], change, axis="radius")
    sizes = _estimate(1.0), bx.Estimate.exact(0.5), np.array([1, 2, 3, 4])
    return bx.channels.Screening(curve, *sizes, "drop", bx.Status.successful)


def _interactions() -> bx.channels.DataInteractions:
    x = np.linspace(0, 3, 8)
    apart = np.abs(x[:, None] - x)
    places = np.linspace(0.25, 3, 7)  # of the 28 pairs in 7 bins
    decay = bx.Curve(places, _estimate(np.exp(-2 * places), 0.01), axis="distance")
    return bx.channels.DataInteractions(
        bx.Estimate.exact(np.exp(-apart)), apart, np.eye(8), bx.Estimate.exact(np.ones(8)), decay
    )


def _window() -> bx.degrade.CleanWindow:
    damages = [
        bx.Curve([0.1, 1.0, 10.0], _estimate([[0.5], [0.1], [0.0]]), axis="temperature")
        for _ in range(2)
    ]
    verdicts = ("harmful", "clean", "effect gone")
    return bx.degrade.CleanWindow(
        _falling(), *damages, np.array(1.0), np.array([0.5]), 0.5, 0.2, verdicts
    )


def _trajectory() -> bx.degrade.TrajectorySpectrum:
    path = np.cumsum(np.random.default_rng(0).normal(size=(20, 30)), axis=0)
    return bx.degrade.trajectory_spectrum(path, key=jax.random.key(0))


def _information() -> bx.channels.InformationLadder:
    x, y = np.random.default_rng(0).normal(size=(2, 40, 2))
    return bx.channels.information_ladder(x, y, floors=(0.0, 0.1), key=jax.random.key(0))


def _channels() -> bx.channels.CovarianceSpectrum:
    x = np.random.default_rng(0).normal(size=(60, 5)) * (9.0, 1.0, 1.0, 1.0, 1.0)
    return bx.channels.covariance_spectrum(x)


def _components() -> bx.ResponseComponents:
    p_values = jnp.array([0.01, 0.6])
    return bx.ResponseComponents(
        ("head", "mlp"), jnp.array([0.8, 0.2]), jnp.eye(2), jnp.eye(2), p_values, p_values, 0.1
    )


def _trained() -> bx.AlongTraining:
    curves = [
        bx.Curve([0.0, 10.0, 500.0], _estimate([a, a + 1, a + 3]), axis="step") for a in (5, 1, 2)
    ]
    return bx.AlongTraining(*curves, tuple(_fixed(a) for a in (5.0, 6.0, 8.0)))


def _parts() -> bx.PartCoefficients:
    parts = (_fixed(3.0), _fixed(4.0))
    return bx.PartCoefficients(("head", "mlp"), parts, _fixed(9.0), (_fixed(1.0), _fixed(2.0)))


def _grid() -> bx.CoefficientGrid:
    estimates = [_estimate([[[1.0], [2.0]], [[3.0], [4.0]]])] * 2
    return bx.CoefficientGrid((0.1, 0.2), (1.0, 10.0), (1.0,), *estimates, (_fixed(1.0),) * 4)


def _swept() -> bx.meanfield.Sweep:
    fields = jnp.linspace(-0.4, 0.4, 9)
    return bx.meanfield.sweep(_magnet, fields, key=jax.random.key(0))


def _magnet(field) -> bx.meanfield.Loop:
    return bx.meanfield.Loop(lambda m: jnp.tanh(1.5 * m + field), -1.0, 1.0, kind="cooperative")


def _estimate(value, error=0.02) -> bx.Estimate:
    value = jnp.asarray(value, float)
    return bx.Estimate(
        value, jnp.full(value.shape, error), jnp.full(value.shape, 99.0), jnp.ones(value.shape)
    )


def _decaying(slope: float, axis=np.sqrt) -> bx.Estimate:
    value = jnp.asarray(np.exp(slope * axis(np.arange(1, 40))))
    return bx.Estimate(value, 0.1 * value, jnp.full(39, 99.0), jnp.ones(39))


def _labels(ax) -> list[str]:
    return ax.get_legend_handles_labels()[1]


def _line(ax, start: str):
    (found,) = [line for line in ax.get_lines() if line.get_label().startswith(start)]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def test_lines_of_channel_costs_start_at_no_pieces():
    ax = bx.plot.channel_cost(_cost())
    line = ax.get_lines()[1]
    np.testing.assert_allclose(line.get_xydata(), [[0.0, -1.0], [4.0, 5.0]])
    assert _labels(ax) == ["width 1: 1.50 bits a piece, 95% band"]
    plt.close(ax.figure)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_draws_into_the_axes_it_is_given_or_its_own(name, curve):
    given = Figure().add_subplot()
    assert FUNCTIONS[name](curve, given) is given and given.has_data()
    own = FUNCTIONS[name](curve, None)
    assert isinstance(own, Axes) and own.has_data()
    own.figure.canvas.draw()
    assert list(faults(own.figure)) == []
    assert plt.get_fignums() == [own.figure.number]
    plt.close("all")


def test_every_public_figure_is_tested_here():
    public = {name for name in dir(bx.plot) if not name.startswith("_")}
    figures = {name for name in public if callable(getattr(bx.plot, name))}
    assert figures - {"style", "panels"} == set(FUNCTIONS)


def test_the_curve_is_the_estimate(curve):
    ax = bx.plot.learning_coefficient(curve)
    x, y = _line(ax, "measured")
    np.testing.assert_allclose(x, [0, 2, 4, 6], atol=1e-12)
    np.testing.assert_allclose(y, bx.learning_coefficient(curve).value)


def test_temperatures_in_any_order(make):
    ax = bx.plot.learning_coefficient(make(np.array([50.0, 0.0, 2.0])))
    np.testing.assert_allclose(_line(ax, "measured")[0], np.log([2.0, 50.0]))


def test_an_estimate_needs_its_places(curve):
    values = bx.learning_coefficient(curve)
    with pytest.raises(bx.DeclarationError, match="log_n"):
        bx.plot.learning_coefficient(values)
    with pytest.raises(bx.DeclarationError, match="shape"):
        bx.plot.learning_coefficient(values, log_n=[1.0, 2.0])
    ax = bx.plot.learning_coefficient(values, log_n=[0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(_line(ax, "measured")[0], [0, 1, 2, 3])


def test_a_curve_is_drawn_without_being_told_its_axis(curve):
    values = curve.curve(bx.learning_coefficient(curve))
    own = bx.plot.learning_coefficient(values[1:])
    np.testing.assert_allclose(_line(own, "measured")[0], [2, 4, 6], atol=1e-12)
    own = bx.plot.curve(values, label="all")
    np.testing.assert_allclose(_line(own, "all")[1], values.value)
    assert own.get_xlabel() == r"$\log n$"
    hot = bx.plot.curve(values.over(1 / np.exp(values.x), "temperature", "K"))
    assert hot.get_xlabel() == "$T$ (K)"
    for wrong in (values.values, curve):
        with pytest.raises(bx.DeclarationError, match="curve"):
            bx.plot.curve(wrong)


def test_overlays_are_optional_and_labelled(curve):
    assert _labels(bx.plot.learning_coefficient(curve)) == ["measured, 95% band"]
    log_squares = 2 * theory.tanh_hermite_log_magnitude(range(1, 99, 2), 1.0)
    ax = bx.plot.learning_coefficient(
        curve,
        bound=log_squares,
        ansatz=True,
        limit=theory.tanh_network(16),
        plateau=8.0,
        mark_turn=True,
    )
    text = " | ".join(_labels(ax))
    for part in ("modes resolved", "Ansatz", "limit", "1/\\log n", "plateau 8", "turn"):
        assert part in text


def test_the_bound_counts_modes():
    log_n = np.array([0.0, 4.0, 8.0])
    squares = np.exp(-np.array([1.0, 3.0, 5.0, 20.0]))
    ax = bx.plot.learning_coefficient(
        _estimate([0.1, 0.2, 0.3]), log_n=log_n, bound=np.log(squares)
    )
    x, y = _line(ax, "half the modes")
    n = np.exp(x)[:, None]
    np.testing.assert_allclose(y, 0.5 * np.sum(n * squares / (1 + n * squares), axis=1))


def test_the_ansatz_is_found_where_it_holds():
    x = np.arange(0.0, 20.0, 2.0)
    ax = bx.plot.learning_coefficient(_estimate(0.07 * x**2), log_n=x, ansatz=True)
    at, y = _line(ax, "Ansatz")
    np.testing.assert_allclose(y, 0.07 * at**2, rtol=1e-6, atol=1e-12)
    assert "0.07" in " ".join(_labels(ax))


def test_the_turn_is_bracketed():
    x = np.array([0.0, 10.0, 20.0, 30.0, 40.0, 50.0])
    value = [1.0, 3.0, 5.0, 5.01, 4.0, 3.0]
    ax = bx.plot.learning_coefficient(_estimate(value), log_n=x, mark_turn=True)
    (text,) = [label for label in _labels(ax) if label.startswith("turn")]
    assert "(10, 40)" in text  # 20 and 30 cannot be told apart
    sharp = bx.plot.learning_coefficient(_estimate(value, 1e-4), log_n=x, mark_turn=True)
    assert "(20, 40)" in " ".join(_labels(sharp))


@pytest.mark.parametrize("value", [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 1.99]])
def test_no_turn_is_claimed_at_an_end(value):
    ax = bx.plot.learning_coefficient(_estimate(value), log_n=[0.0, 1.0, 2.0], mark_turn=True)
    assert not any(label.startswith("turn") for label in _labels(ax))
    assert any("no turn" in label for label in _labels(ax))


def test_a_far_plateau_does_not_squash_the_data():
    curve = _estimate([1.0, 2.0, 3.0])
    far = bx.plot.learning_coefficient(curve, log_n=[0.0, 1.0, 2.0], plateau=64)
    assert far.get_ylim()[1] < 5 and "above the frame" in " ".join(_labels(far))
    near = bx.plot.learning_coefficient(curve, log_n=[0.0, 1.0, 2.0], plateau=6)
    assert near.get_ylim()[1] > 6


def test_no_point_is_hidden_below_the_frame():
    ax = bx.plot.learning_coefficient(_estimate([-0.4, 0.1, 0.3]), log_n=[0.0, 1.0, 2.0])
    assert ax.get_ylim()[0] < -0.4
    below = bx.plot.learning_coefficient(_estimate([-2.0, -1.0]), log_n=[0.0, 1.0])
    assert below.get_ylim()[0] < -2 and below.get_ylim()[1] >= 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_point_without_a_finite_value_changes_nothing_of_the_others(value):
    x = np.array([0.0, 10.0, 20.0, 30.0, 40.0])
    overlays = {"ansatz": True, "mark_turn": True}
    rest = bx.plot.learning_coefficient(_estimate([1.0, 3.0, 5.0, 1.0]), log_n=x[1:], **overlays)
    ax = bx.plot.learning_coefficient(_estimate([value, 1.0, 3.0, 5.0, 1.0]), log_n=x, **overlays)
    assert _labels(ax) == _labels(rest) and ax.get_ylim() == rest.get_ylim()
    alone = bx.plot.learning_coefficient(_estimate([value] * 5), log_n=x, **overlays)
    assert np.all(np.isfinite(alone.get_ylim()))


def test_an_error_without_an_end_leaves_the_frame_finite():
    value, error = [1.0, 2.0, 3.0], np.array([np.inf, 0.1, 0.1])
    ax = bx.plot.learning_coefficient(_estimate(value, error), log_n=[0.0, 1.0, 2.0])
    assert 3 < ax.get_ylim()[1] < 5
    ends = bx.plot.estimate([0.0, 1.0, 2.0], _estimate(value, np.full(3, np.inf)), label="all")
    assert _labels(ends) == ["all", "error unknown"]  # no band is drawn, and none is named


def test_a_curve_without_errors_names_no_band():
    ax = bx.plot.learning_coefficient(_estimate([1.0, 2.0], 0.0), log_n=[0.0, 1.0])
    assert _labels(ax) == ["measured"]


def test_a_curve_without_a_finite_place():
    values = _estimate([1.0])
    with pytest.raises(bx.DeclarationError, match="finite place"):
        bx.plot.learning_coefficient(values, log_n=[-np.inf])
    assert bx.plot.curve(bx.Curve(np.zeros(0), values[:0], axis="x")).get_lines()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_mode_without_a_finite_value_hides_no_other(value):
    ax = bx.plot.spectrum(_estimate([1.0, value, 0.1, 0.01], 1e-3), against="linear")
    np.testing.assert_allclose(ax.get_lines()[0].get_xdata(), [0, 2, 3])


def test_the_axis_of_a_dataset_is_its_number_of_data(single):
    data = bx.Empirical((np.ones((50, 1)), np.ones(50)))
    net = bx.models.TwoLayer(width=3)
    gibbs = bx.compile(bx.SquaredError(net, data), bx.Normal()).at(jnp.array([1.0, 2.0]))
    fields = (jnp.ones((2, 4, 60)),) * 3
    run = bx.Trace(gibbs, *fields, jnp.zeros((2, 4, 60), bool), None, bx.Status.successful)
    ax = bx.plot.learning_coefficient(run)
    np.testing.assert_allclose(_line(ax, "measured")[0], np.log([50.0, 100.0]))
    assert "mass" in ax.get_xlabel()


@pytest.mark.parametrize(
    "against, axis", [("sqrt", np.sqrt), ("linear", lambda k: k), ("log", np.log)]
)
def test_the_slope_goes_through_a_spectrum_that_has_it(against, axis):
    ax = bx.plot.spectrum(_decaying(-0.9, axis), np.arange(1, 40), against=against, slope=-0.9)
    x, y = _line(ax, "theory")
    np.testing.assert_allclose(y, np.exp(-0.9 * axis(np.arange(1, 40))), rtol=1e-9)
    np.testing.assert_allclose(x, axis(np.arange(1, 40)))


def test_modes_that_are_round_off_are_left_out():
    value = np.exp(-np.arange(20.0))
    value[1::2] = 1e-33
    ax = bx.plot.spectrum(_estimate(value, 0.0), against="linear")
    assert len(ax.containers[0].lines[0].get_xdata()) == 10


def test_a_logarithmic_spectrum_is_the_same_picture():
    plain = _decaying(-2.0)
    logs = bx.Estimate(jnp.log(plain.value), 0.1 * jnp.ones(39), plain.ess, plain.r_hat)
    for squares, log in ((plain, False), (logs, True)):
        ax = bx.plot.spectrum(squares, np.arange(1, 40), log=log)
        drawn = ax.containers[0].lines[0].get_ydata()
        np.testing.assert_allclose(drawn, plain.value, rtol=1e-9)


def test_wrong_spectra_are_refused():
    with pytest.raises(bx.DeclarationError, match="against"):
        bx.plot.spectrum(_decaying(-1.0), against="squared")
    with pytest.raises(bx.DeclarationError, match="degree"):
        bx.plot.spectrum(_decaying(-1.0), np.arange(3))


def test_both_free_energies_are_drawn(curve):
    ax = bx.plot.free_energy(curve)
    _, y = _line(ax, "Bennett")
    np.testing.assert_allclose(y, bx.free_energy(curve, "bar").value)
    drawn = ax.containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, bx.free_energy(curve, "integration").value)


def test_one_line_a_chain(curve):
    ax = bx.plot.trace(curve, level=1)
    assert len(ax.get_lines()) == curve.energy.shape[1]
    np.testing.assert_allclose(ax.get_lines()[2].get_ydata(), curve.energy[1, 2])
    with pytest.raises(bx.DeclarationError, match="level"):
        bx.plot.trace(curve, level=4)


def test_one_bar_a_pair_of_levels(curve, single):
    ax = bx.plot.ladder(curve)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], curve.bridges.swap_rate)
    edges = [bar.get_x() + bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(edges, np.log(curve.bridges.betas[1:]), atol=1e-9)
    assert "2, 1, 3, 1" in ax.get_title(loc="left")
    with pytest.raises(bx.DeclarationError, match="ladder"):
        bx.plot.ladder(single)


def test_entries_of_an_influence_matrix_below_two_errors_are_hatched():
    ax = bx.plot.influence(_estimate([[1.0, 0.03], [0.05, -2.0]]))
    colours, *rows = ax.collections
    np.testing.assert_allclose(colours.get_array().reshape(2, 2), [[1.0, 0.03], [0.05, -2.0]])
    assert colours.get_clim() == (-2.0, 2.0)
    (cell,) = [path for row in rows for path in row.get_paths()]
    np.testing.assert_allclose(cell.get_extents().get_points(), [[0.5, -0.5], [1.5, 0.5]])
    assert all(row.get_hatch() == "////" for row in rows)
    with pytest.raises(bx.DeclarationError, match="matrix"):
        bx.plot.influence(_estimate([1.0, 2.0]))
    plt.close("all")


def test_interface_is_drawn_as_bars_and_boxes():
    line = bx.Interface.intervals({0: [(None, 0.5), (4.6, 5)], 1: [(2.6, 3.8)]})
    ax = bx.plot.interface(line, ax=Figure().subplots())
    spans = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches)
    np.testing.assert_allclose(spans[1:], [(2.6, 3.8), (4.6, 5.0)], rtol=1e-12)
    assert spans[0][0] < 0.5  # a ray runs to the edge
    assert spans[0][0] == pytest.approx(ax.get_xlim()[0])
    plane = bx.plot.interface(line @ line, ax=Figure().subplots())
    assert len(plane.patches) == 9
    with pytest.raises(bx.DeclarationError, match="dimension 3"):
        bx.plot.interface(line @ line @ line)


def test_contract_is_drawn_with_its_logic():
    inverter = bx.Component(
        bx.models.Function(lambda p, x: p * x, jnp.ones(())), bx.Normal(), {0: 1, 1: 0}
    )
    before = bx.Interface.intervals({0: [(0, 1)], 1: [(4, 5)]})
    after = bx.Interface.intervals({0: [(0, 0.5)], 1: [(4.5, 5), (2, 3)]})
    ax = bx.plot.contract(bx.Contract(inverter, before, after), ax=Figure().subplots())
    boxes = sorted((*p.get_xy(), p.get_width(), p.get_height()) for p in ax.patches)
    wanted = [(0, 2, 1, 1), (0, 4.5, 1, 0.5), (4, 0, 1, 0.5)]
    np.testing.assert_allclose(boxes, wanted)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["0 → 1", "1 → 0"]
    gate = bx.Component(bx.models.Function(lambda p, x: p @ x, jnp.ones(2)), bx.Normal())
    pairs = bx.Interface.boxes({0: [((0, 0), (1, 1))], 1: [((4, 4), (5, 5))]})
    with pytest.raises(bx.DeclarationError, match="from the line"):
        bx.plot.contract(bx.Contract(gate, pairs, before))


def test_a_local_coefficient_is_drawn_with_its_chains_and_steps():
    """The chains are those at the last step, so that their mean is the value there."""
    found = _local()
    ax = bx.plot.local_learning_coefficient(found)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    chains, steps = (
        [f"chain {c}" for c in range(4)],
        [f"step × {s:g}" for s in found.evidence.steps],
    )
    assert names == ["estimate", *chains, *steps] and len(steps) >= 2
    *points, last = [float(bars[0].get_xdata()[0]) for bars in ax.containers]
    assert np.mean(points[:4]) == pytest.approx(found.evidence.by_step[-1])
    np.testing.assert_allclose(points[4:], found.evidence.by_step)
    assert last == pytest.approx(float(found.estimate.value))
    assert not found.usable and ax.get_title(loc="left").endswith("not usable")
    assert ax.containers[-1][0].get_markerfacecolor() == "white"


def test_coefficients_are_drawn_where_they_are():
    trained, parts, grid = _trained(), _parts(), _grid()
    ax = bx.plot.along_training(trained)
    np.testing.assert_allclose(_line(ax, "coefficient, 95% band")[1], [5, 6, 8])
    assert _labels(ax) == ["coefficient, 95% band", "loss at w*", "loss of the draws"]
    ax = bx.plot.part_coefficients(parts)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["head", "mlp"]
    assert list(ax.containers[0][0].get_xdata()) == [3, 4]
    assert list(ax.containers[1][0].get_xdata()) == [1, 2]
    ax = bx.plot.coefficient_grid(grid)
    assert [list(each[0].get_ydata()) for each in ax.containers] == [[1, 2], [3, 4]]
    assert _labels(ax) == ["ε 0.1, 95% interval", "ε 0.2, 95% interval"]


def test_ladders_of_information_are_drawn_where_they_are():
    found = _information()
    ax = bx.plot.information_ladder(found)
    assert _labels(ax) == [
        "corrected, 95% band", "plug-in", "corrected, noise 0.1, 95% band", "plug-in, noise 0.1",
    ]  # fmt: skip
    for word, values in (("corrected", found.corrected), ("plug-in", found.plug_in)):
        places, drawn = _line(ax, f"{word}, noise 0.1")
        np.testing.assert_allclose(places, found.corrected.x)
        np.testing.assert_allclose(drawn, values.value[:, 1])
    plt.close("all")


def test_survivals_and_components_are_drawn_where_they_are():
    ax = bx.plot.survival({"one": _falling(), "two": [_falling(), _falling()]}, marks={"n": 0.4})
    assert _labels(ax) == ["one, 95% band", "two, 95% band"]
    np.testing.assert_allclose(_line(ax, "one, 95% band")[1], [0.9, 0.5, 0.1])
    assert ax.get_xscale() == "log" and [text.get_text() for text in ax.texts] == ["n"]
    path = _trajectory()
    ax = bx.plot.trajectory_spectrum(path)
    np.testing.assert_allclose(_line(ax, "trajectory")[1], path.fractions)
    assert _labels(ax) == ["random walk, 95% band", "relaxation, 95% band", "trajectory"]
    ax = bx.plot.response_components(_components())
    np.testing.assert_allclose(ax.collections[0].get_array(), np.eye(2))
    assert [tick.get_fontweight() for tick in ax.get_yticklabels()] == ["bold", "normal"]
    plt.close("all")


def test_curves_on_the_same_axes_have_colours_of_their_own_and_geometric_grids_a_logarithmic_axis():
    geometric, even = np.geomspace(0.1, 10, 6), np.linspace(1.0, 60, 6)
    values = bx.Estimate.exact(np.arange(6.0))
    ax = bx.plot.curve(bx.Curve(geometric, values, axis="temperature"))
    bx.plot.curve(bx.Curve(geometric, values, axis="temperature"), ax=ax)
    bx.plot.estimate(geometric, values, ax=ax, color="k")
    first, second, third = (line.get_color() for line in ax.lines)
    assert first != second and third == "k" and ax.get_xscale() == "log"
    assert bx.plot.curve(bx.Curve(even, values, axis="step")).get_xscale() == "linear"


def test_spectra_of_channels_are_drawn_with_their_edge_and_corrected_outliers():
    found = _channels()
    ax = bx.plot.channel_spectrum(found)
    assert np.allclose(_line(ax, "sample")[1], found.eigenvalues)
    assert np.allclose(_line(ax, "edge of white noise")[1], found.edge)
    assert "corrected, 95% interval" in _labels(ax) and ax.get_yscale() == "log"
    x = np.random.default_rng(1).normal(size=(60, 4))
    ax = bx.plot.channel_spectrum(bx.channels.canonical_spectrum(x[:, :2], x[:, 2:]))
    assert "edge of independence" in _labels(ax) and ax.get_ylabel() == "canonical correlation"


def test_interactions_are_drawn_with_their_rate():
    found = _interactions()
    ax = bx.plot.data_interactions(found)
    x, y = _line(ax, "rate")
    rate = float(found.rate.value)
    np.testing.assert_allclose(np.diff(np.log(y)), -2 * rate * np.diff(x))
    assert ax.get_yscale() == "symlog" and f"rate {rate:.3g}" in _labels(ax)[1]
    plt.close("all")


def test_screening_shows_sizes_limits_and_the_rate():
    ax = bx.plot.screening(_screened(1e-4))
    assert ax.get_yscale() == "log"
    bars = ax.containers[0]
    np.testing.assert_allclose(bars[0].get_ydata(), [0.8, 0.2, 0.04, 0.008])
    slope = np.diff(np.log(ax.lines[-1].get_ydata()))
    np.testing.assert_allclose(slope, -float(_screened(1e-4).rate.value), rtol=1e-6)
    # of the last two only a bound is known
    limits = bx.plot.screening(_screened(0.02)).containers[0]
    assert limits[0].get_ydata()[-1] == pytest.approx((0.004 + 1.96 * 0.02) / 0.5, rel=1e-3)
    plt.close("all")


def test_a_clean_window_is_shaded_and_damages_have_an_axis():
    ax = bx.plot.clean_window(_window(), names=["linear"])
    right = ax.figure.axes[1]
    np.testing.assert_allclose(_line(ax, "effect, 95% band")[1], [0.9, 0.5, 0.1])
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), [0.5, 0.1, 0.0])
    assert "linear, 95% band" in _labels(ax) and "clean" in _labels(ax)
    plt.close("all")


def test_intervals_stand_in_rows_from_the_top():
    few = bx.Estimate.of_replicates(np.array([1.0, 2.0, 3.0]))
    ax = bx.plot.intervals({"first": few, "second": bx.Estimate.exact(5.0)})
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["first", "second"]
    assert ax.yaxis_inverted()
    points, _, (bars,) = ax.containers[0]
    np.testing.assert_allclose(points.get_xdata(), [2.0, 5.0])
    ends = [segment[:, 0] for segment in bars.get_segments()]
    # Student's t with 2 degrees of freedom
    np.testing.assert_allclose(ends[0], 2 + np.array([-1, 1]) * 4.302653 / 3**0.5, rtol=1e-5)
    np.testing.assert_allclose(ends[1], 5.0)
    bx.plot.intervals({"first": few}, ax=ax, label=None, marker="s")
    assert ax.yaxis_inverted() and _labels(ax) == ["95% interval"]
    for wrong in ({}, {"two": _estimate([1.0, 2.0])}):
        with pytest.raises(bx.DeclarationError, match="values"):
            bx.plot.intervals(wrong)


def test_a_point_whose_error_is_unknown_is_hollow():
    one = bx.Estimate.of_samples(np.array([2.0]))
    assert np.isnan(one.standard_error)
    names = {"exact": bx.Estimate.exact(5.0), "one draw": one, "another": one}
    ax = bx.plot.intervals(names)
    assert [label for label in _labels(ax) if "unknown" in label] == ["error unknown"]
    hollow = [line for line in ax.get_lines() if line.get_markerfacecolor() == "white"]
    assert [tuple(line.get_xdata()) for line in hollow] == [(2.0,), (2.0,)]
    assert "error unknown" not in _labels(bx.plot.intervals({"exact": bx.Estimate.exact(5.0)}))
    plt.close("all")


UNKNOWN = np.array([False, True, False, True, False])
"""Points of `_partly`, of which every other has no known error."""


def _partly(values) -> bx.Estimate:
    return _estimate(values).unknown(UNKNOWN[: len(values)])


def _hollow(ax) -> np.ndarray:
    lines = [line for line in ax.lines if line.get_label() == "error unknown"]
    assert all(line.get_markerfacecolor() == "white" for line in lines)
    return np.concatenate([line.get_xydata() for line in lines])


def test_points_of_a_curve_without_a_known_error_are_hollow_and_lone_ones_have_bars():
    values = np.array([1.0, 2.0, 3.0, 2.0, 1.0])
    places = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    ax = bx.plot.estimate(places, _partly(values))
    np.testing.assert_allclose(_hollow(ax), np.stack([places, values], axis=1)[UNKNOWN])
    (_, _, (bars,)) = ax.containers[0]
    ends = np.array(bars.get_segments())
    np.testing.assert_allclose(ends[:, 0, 0], [1.0, 3.0, 5.0])
    low, high = (np.asarray(end)[::-2] for end in _partly(values).interval())
    np.testing.assert_allclose(ends[:, :, 1], np.stack([low, high], axis=1), rtol=1e-6)
    whole = bx.plot.estimate(places, _estimate(values))
    assert not whole.containers and "error unknown" not in _labels(whole)
    assert len(bx.plot.estimate([1.0], _estimate([1.0])).containers) == 1
    plt.close("all")


def test_screened_changes_and_survivals_without_a_known_error_are_hollow():
    found = _screened()
    change = bx.Curve(found.change.x, found.change.values.unknown(UNKNOWN[:4]), axis="radius")
    ax = bx.plot.screening(dataclasses.replace(found, change=change))
    np.testing.assert_allclose(_hollow(ax), [[2.0, 0.2], [4.0, 0.008]])
    kept = _falling()
    lost = bx.Curve(kept.x, _partly(np.asarray(kept.value)), axis=kept.axis)
    ax = bx.plot.selectivity({"dial": (kept, lost)})
    np.testing.assert_allclose(_hollow(ax), [[0.5, 0.5]])
    plt.close("all")


def test_a_point_without_a_known_error_may_be_the_highest():
    x = np.arange(5.0)
    value = np.array([1.0, 2.0, 4.0, 3.0, 1.0])
    known = bx.plot.learning_coefficient(_estimate(value), log_n=x, mark_turn=True)
    assert any("turn: 4" in label and "(1, 3)" in label for label in _labels(known))
    ax = bx.plot.learning_coefficient(_partly(value), log_n=x, mark_turn=True)
    (text,) = [label for label in _labels(ax) if "turn" in label]
    assert "(1, 3)" not in text
    plt.close("all")


def test_dials_are_drawn_against_what_is_to_stay():
    kept, lost = _falling(), _falling().scaled(0.5)
    ax = bx.plot.selectivity({"dial": (kept, lost)}, at=0.7)
    x, y = ax.containers[0][0].get_data()
    np.testing.assert_allclose(x, kept.value)
    np.testing.assert_allclose(y, lost.value)
    assert ax.get_lines()[-1].get_xdata()[0] == 0.7
    with pytest.raises(bx.DeclarationError):
        bx.plot.selectivity({"dial": (kept, lost[:2])})


def test_a_matrix_shows_the_clearest_columns_by_name():
    matrix = _estimate([[0.0, 1.0, -3.0], [0.02, 0.0, 0.0]])
    ax = bx.plot.influence(matrix, queries=["q", "r"], data=["a", "b", "c"], most=2)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["b", "c"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["q", "r"]
    shown = ax.collections[0].get_array()
    np.testing.assert_allclose(shown, [[1.0, -3.0], [0.0, 0.0]])
    assert [t.get_text() for t in bx.plot.influence(matrix, most=1).get_xticklabels()] == ["2"]
    for names in ({"queries": ["q"]}, {"data": ["a", "b"], "most": 2}):
        with pytest.raises(bx.DeclarationError, match="names"):
            bx.plot.influence(matrix, **names)
