"""Decay of spectra: units and random two-layer nets in the orthonormal basis of their input.

`c_k = ∫ f φ_k dμ` for `f(x) = act(w x)`, and for nets `f(x) = Σ_h a_h act(b_h x)`, `a ~ N(0, 1)`,
`b ~ U(-s, s)`. Theory, with the pole of an analytic activation at distance d from the real axis:

    N(0, 1), Hermite         log c_k² ~ -2d/w √k
    circle, Fourier          log c_k² ~ -2 asinh(d/w) k          (x = cos θ)
    interval, Legendre       log c_k² ~ -2 asinh(d/w) k
    kinks (ReLU)             power laws in k
    cube, Walsh              the Hermite law by degree, once the dimension is large

A net decays as its largest unit. Averaged over nets with `b ~ N(0, s²)`, large weights win:
`log E c_k² ~ -(3/2) (2d/s)^(2/3) k^(1/3)`.

The fit is `slope t(k) + power log k + constant + correction/t(k)`, where the power of k in front of
the exponential is known. Its `standard_error` is systematic: how far the slope moves without the
correction, or on the later half of the modes. For one net the power is in doubt, which is included.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import tyro

import boltzax as bx
from examples._cli import Drawn, save

Name = Literal["tanh", "sigmoid", "silu", "arctan", "relu", "squared_relu"]
Axis = Literal["sqrt", "linear", "log", "cbrt"]


class Activation(NamedTuple):
    """A function, and what its nearest singularity does to its spectrum."""

    fn: Callable
    parity: int
    """1 if its spectrum lives on odd degrees (but for degree 0), 0 if on even ones (but for 1)."""
    branch: int = 0
    """0 for a simple pole, 1 for a logarithm."""


class Net(NamedTuple):
    """The weights of a random two-layer net."""

    readout: jax.Array
    embedding: jax.Array


ACTIVATIONS = {
    "tanh": Activation(jnp.tanh, 1),
    "sigmoid": Activation(lambda x: 0.5 + 0.5 * jnp.tanh(x / 2), 1),
    "silu": Activation(lambda x: x * (0.5 + 0.5 * jnp.tanh(x / 2)), 0),
    "arctan": Activation(jnp.arctan, 1, 1),
    "relu": Activation(jax.nn.relu, 0),
    "squared_relu": Activation(lambda x: jax.nn.relu(x) ** 2, 1),
}


@dataclass
class Options(Drawn):
    """The declaration, and how many modes.

    Quick: fewer modes, units and scales.
    """

    activations: tuple[Name, ...] = ("tanh", "sigmoid", "arctan", "relu")
    """Activations of the units; each stands alone, and the analytic ones in random nets."""
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Weights w of the units that stand alone."""
    width: int = 64
    """Number of hidden units of the random nets."""
    embedding_scale: float = 1.0
    """The nets' b is uniform on (-scale, scale), or N(0, scale²) in the ensemble average."""
    count: int = 402
    """Number of Hermite and Fourier modes."""
    cube: tuple[int, ...] = (8, 10, 12)
    """Dimensions of the cubes, in rising order, two at least."""


@dataclass(frozen=True)
class Cell:
    """One spectrum with its law and the slope fitted to it."""

    basis: str
    what: str
    activation: str
    scale: float
    against: Axis
    slope: float
    standard_error: float
    theory: float
    power: float
    """Of k in front of the law, held fixed in the fit."""
    degree: np.ndarray
    log_square: np.ndarray

    def row(self) -> dict:
        """What is printed and written."""
        plain = {key: value for key, value in asdict(self).items() if np.ndim(value) == 0}
        ends = {"k_first": int(self.degree[0]), "k_last": int(self.degree[-1])}
        return plain | {"ratio": self.slope / self.theory} | ends


def fitted(
    basis: str,
    what: str,
    activation: str,
    scale: float,
    against: Axis,
    law: tuple[float, float, float],
    spectrum: tuple[np.ndarray, np.ndarray],
    first: int,
) -> Cell:
    """The slope of a spectrum from degree `first` on, by its law: slope, power of k, its doubt."""
    theory, power, doubt = law
    keep = spectrum[0] >= first
    k, log_square = spectrum[0][keep], spectrum[1][keep]
    t = place(k, against)
    correction = 1 / t if against in ("sqrt", "cbrt") else 1 / k

    def slope(power: float, part: slice, *more: np.ndarray) -> float:
        design = np.stack([t, np.ones_like(t), *more], axis=1)[part]
        y = (log_square - power * np.log(k))[part]
        return float(np.linalg.lstsq(design, y, rcond=None)[0][0])

    everywhere, late, early = slice(None), slice(len(k) // 2, None), slice(len(k) // 2)
    if doubt:
        best = slope(power, everywhere)
        rivals = [slope(power + doubt, everywhere), slope(power, early), slope(power, late)]
    else:
        best = slope(power, everywhere, correction)
        later = slope(power, slice(len(k) // 3, None), correction)
        rivals = [slope(power, everywhere), slope(power, late), later]
    error = max(abs(rival - best) for rival in rivals)
    numbers = best, error, theory, power
    return Cell(basis, what, activation, scale, against, *numbers, k, log_square)


def place(k: np.ndarray, axis: Axis) -> np.ndarray:
    """`t(k)`, in which the law is a line."""
    function = {"sqrt": np.sqrt, "cbrt": np.cbrt, "log": np.log, "linear": np.asarray}[axis]
    return function(np.asarray(k, float))


def tail(
    name: str, coefficients: np.ndarray, floor: float = 1e-280
) -> tuple[np.ndarray, np.ndarray]:
    """Degrees (of the activation's parity) and `log c_k²` above a floor."""
    c = np.abs(np.asarray(coefficients))
    k = np.arange(len(c))
    keep = (k % 2 == ACTIVATIONS[name].parity) & (k > 1)
    # from the first that is lost in round-off on, all are
    lost = np.flatnonzero(keep & (c <= floor))
    keep &= k < (lost[0] if len(lost) else len(c))
    return k[keep], 2 * np.log(c[keep])


def kink(basis: str, measure: bx.AbstractMeasure, name: str, fn: Callable, order: int) -> Cell:
    """A unit with a kink: many nodes, since the rules are for smooth functions."""
    c = np.asarray(measure.basis().coefficients(fn, 403 if basis == "fourier" else 202, order))
    c = cosines(c) if basis == "fourier" else c
    kind = {"hermite": "gaussian", "fourier": "circle", "legendre": "interval"}[basis]
    law = bx.theory.power_law_exponent(name, kind), 0.0, 0.0
    return fitted(basis, "unit", name, 1.0, "log", law, tail(name, c), 20)


def hermite(options: Options, name: str, scales: tuple[float, ...], net: Net) -> list[Cell]:
    """Spectra under N(0, 1)."""
    act, measure = ACTIVATIONS[name], bx.GaussianMeasure(1)
    if name in bx.theory.KINKS:
        return [kink("hermite", measure, name, lambda x: act.fn(x[0]), 16001)]
    pole, cells = bx.theory.POLES[name], []
    for what, w, fn in functions(act, scales, net):
        count = options.count if what == "unit" else min(options.count, 202)
        c = measure.basis().analytic_coefficients(lambda x, f=fn: f(x[0]), count, pole / w)
        law = bx.theory.hermite_slope(pole, w), *prefactor(-0.5 - act.branch, what, 0.5)
        cells.append(fitted("hermite", what, name, w, "sqrt", law, tail(name, c), count // 4))
    return cells


def fourier(options: Options, name: str, scales: tuple[float, ...], net: Net) -> list[Cell]:
    """Spectra of `f(cos θ)` on the circle."""
    act, measure = ACTIVATIONS[name], bx.CircleMeasure()
    if name in bx.theory.KINKS:
        return [kink("fourier", measure, name, lambda x: act.fn(jnp.cos(x[0])), 16384)]
    cells, count = [], min(2 * options.count, 401)
    for what, w, fn in functions(act, scales, net):
        half = bx.theory.circle_half_width(bx.theory.POLES[name], w)
        c, error = measure.basis().analytic_coefficients(
            lambda x, f=fn: f(jnp.cos(x[0])), count, 0.9 * half, errors=True
        )
        c = np.where(np.asarray(error) < 1e-6 * np.abs(c), c, 0.0)  # the tail ends at the first 0
        law = bx.theory.fourier_slope(half), *prefactor(-2.0 * act.branch, what, 1.0)
        k, log_square = tail(name, cosines(c))
        # relative precision: round-off is felt in what is beyond the decay taken out by hand
        beyond = log_square + 1.8 * half * k
        keep = beyond > np.max(beyond) - 2 * math.log(1e10)
        spectrum = k[keep], log_square[keep]
        cells.append(
            fitted("fourier", what, name, w, "linear", law, spectrum, int(k[keep][-1] / 4))
        )
    return cells


def cosines(c: np.ndarray) -> np.ndarray:
    """Coefficients of 1, cos θ, cos 2θ, ... among those of the whole Fourier basis."""
    return np.concatenate([np.asarray(c)[:1], np.asarray(c)[1::2]])


def legendre(options: Options, name: str, scales: tuple[float, ...], net: Net) -> list[Cell]:
    """Spectra on [-1, 1], as far down as float64 sees them."""
    act, measure = ACTIVATIONS[name], bx.IntervalMeasure()
    if name in bx.theory.KINKS:
        return [kink("legendre", measure, name, lambda x: act.fn(x[0]), 2001)]
    cells = []
    for what, w, fn in functions(act, scales, net):
        c = measure.basis().coefficients(lambda x, f=fn: f(x[0]), 80)
        slope = bx.theory.legendre_slope(bx.theory.POLES[name], w)
        law = slope, *prefactor(-2.0 * act.branch, what, 1.0)
        k, log_square = tail(name, c, 1e-13)
        cells.append(
            fitted("legendre", what, name, w, "linear", law, (k, log_square), int(k[-1] / 4))
        )
    return cells


def walsh(options: Options, name: str) -> Cell:
    """`act(Σ_i x_i/√dim)` on cubes: `Σ_{|S| = s} c_S²` by degree s, in the limit of large dim.

    The limit is the Hermite spectrum of `act` (central limit), and the slopes over degrees up to 5
    are compared. A polynomial in 1/dim through all cubes goes there; the error is its distance
    from the one that leaves out the smallest.
    """
    act, degrees, logs = ACTIVATIONS[name], np.arange(1, 6), []
    degrees = degrees[(degrees % 2 == act.parity)]
    for dim in options.cube:
        basis = bx.CubeMeasure(dim).basis()
        count = sum(math.comb(dim, size) for size in range(degrees[-1] + 1))
        c = basis.coefficients(lambda x, d=dim: act.fn(jnp.sum(x) / math.sqrt(d)), count)
        weight = np.bincount(basis.degrees(count), np.asarray(c) ** 2)[degrees]
        logs.append(np.log(weight))
    inverse, against = 1 / np.array(options.cube), "log" if name in bx.theory.KINKS else "sqrt"
    limit = bx.GaussianMeasure(1).basis().coefficients(lambda x: act.fn(x[0]), 8, 16001)
    law = 2 * np.log(np.abs(np.asarray(limit)[degrees]))
    t = place(degrees, against)
    far = np.polyfit(inverse, np.array(logs), len(inverse) - 1)[-1]
    near = np.polyfit(inverse[1:], np.array(logs[1:]), len(inverse) - 2)[-1]
    slope, rival, theory = (float(np.polyfit(t, y, 1)[0]) for y in (far, near, law))
    error = abs(slope - rival)
    return Cell("walsh", "unit", name, 1.0, against, slope, error, theory, 0.0, degrees, far)


def ensembles(s: float) -> list[Cell]:
    """`E_b c_k(b)²` of tanh under N(0, 1) for b ~ U(-s, s) and N(0, s²), from exact coefficients.

    It is the mean spectrum of random nets, up to their width.
    """
    pole, cells = bx.theory.POLES["tanh"], []
    for prior in ("U(-s, s)", "N(0, s²)"):
        if prior == "U(-s, s)":
            k, u = np.arange(101, 1002, 50), np.geomspace(1e-4, 0.7, 80)
            # u = 1 - b/s; the spectrum at the edge lives on u of order 1/√k
            b, log_prior, against = s * (1 - u), np.log(u), "sqrt"
            law = bx.theory.hermite_slope(pole, s), -1.0, 0.0
        else:
            k = np.unique(2 * (np.geomspace(201, 20001, 20) // 2) + 1).astype(int)
            b, against = s * np.geomspace(0.4, 18.0, 80), "cbrt"
            log_prior = np.log(b) - b**2 / (2 * s**2)
            # Laplace: k^(-1/2) of a unit, k^(-1/3) for 1/b² and the width of the peak in log b
            slope = bx.theory.hermite_ensemble_log_decay(1, pole, s)
            law = float(slope), -0.5 - 1 / 3, 0.0
        log_unit = np.array([2 * bx.theory.tanh_hermite_log_magnitude(k, each) for each in b])
        mean = np.logaddexp.reduce(log_unit + log_prior[:, None], axis=0)
        what = f"mean over {prior}"
        cells.append(fitted("hermite", what, "tanh", s, against, law, (k, mean), 100))
    return cells


def prefactor(power: float, what: str, edge: float) -> tuple[float, float]:
    """The power of k in front of the exponential, and how far it is in doubt.

    A net follows its largest unit once that stands alone, and a continuum of units up to the edge
    of their distribution, which has a further `k^-edge`, before: half way, for a net of some width.
    """
    return (power - edge / 2, edge / 2) if what == "net" else (power, 0.0)


def functions(
    act: Activation, scales: tuple[float, ...], net: Net
) -> list[tuple[str, float, Callable]]:
    """Units and the random net, each with the scale that sets its decay."""
    readout, embedding = net
    units = [("unit", w, lambda x, w=w: act.fn(w * x)) for w in scales]
    whole = ("net", float(np.max(np.abs(embedding))), lambda x: readout @ act.fn(embedding * x))
    return [*units, whole]


def table(cells: list[Cell]) -> str:
    """Cells as text."""
    head = f"{'basis':9} {'activation':12} {'scale':>6} {'of':22} {'slope in':9}"
    lines = [head + f"{'fitted':>10} {'error':>8} {'theory':>9} {'ratio':>7}  degrees"]
    for cell in cells:
        row = cell.row()
        lines.append(
            f"{cell.basis:9} {cell.activation:12} {cell.scale:6.3f} {cell.what:22} "
            f"{cell.against:9}{cell.slope:10.4f} {cell.standard_error:8.4f} {cell.theory:9.4f} "
            f"{row['ratio']:7.4f}  {row['k_first']}-{row['k_last']}"
        )
    return "\n".join(lines)


def draw(cells: list[Cell], path: Path) -> None:
    """A panel for each basis and axis."""
    panels = sorted({(cell.basis, cell.against) for cell in cells})
    with bx.plot.panels(len(panels), path=path, height=3.4 * len(panels)) as grid:
        names = {"sqrt": "√k", "cbrt": "$k^{1/3}$", "log": "log k", "linear": "k"}
        for axes, panel in zip(grid, panels, strict=True):
            shown = [cell for cell in cells if (cell.basis, cell.against) == panel]
            for i, cell in enumerate(shown):
                t, y = place(cell.degree, cell.against), cell.log_square
                law = cell.theory * t + cell.power * np.log(cell.degree)
                law += np.mean((y - law)[len(t) // 2 :])
                label = f"{cell.activation}, {cell.what}, {cell.scale:.3g}"
                (line,) = axes.plot(t, y / math.log(10), ".x+1v"[i // 7 % 5], label=label)
                axes.plot(t, law / math.log(10), "--", lw=1, color=line.get_color())
            axes.set(title=f"{panel[0]}: law dashed", xlabel=names[panel[1]], ylabel="log₁₀ c²")
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def main(options: Options) -> None:
    """Fit every spectrum, print the table, write what was asked for."""
    began = time.time()
    scales, key = options.scales, jax.random.key(options.seed)
    if options.quick:
        options = replace(options, count=min(options.count, 202), width=min(options.width, 16))
        scales = scales[1:2] or scales
        if options.activations == Options.activations:
            options = replace(options, activations=("tanh", "relu"))
    keys = jax.random.split(key)
    s, shape = options.embedding_scale, (options.width,)
    net = Net(jax.random.normal(keys[0], shape), jax.random.uniform(keys[1], shape, float, -s, s))
    cells = []
    for name in options.activations:
        for spectra in (hermite, fourier, legendre):
            cells += spectra(options, name, scales, net)
        cells.append(walsh(options, name))
    if "tanh" in options.activations:
        cells += ensembles(options.embedding_scale)
    print(table(sorted(cells, key=lambda cell: cell.basis)))
    seconds = time.time() - began
    print(f"{seconds:.1f} s")
    save({"cells": [cell.row() for cell in cells], "seconds": seconds}, options.json)
    if options.figure is not None:
        draw(cells, options.figure)


if __name__ == "__main__":
    main(tyro.cli(Options))
