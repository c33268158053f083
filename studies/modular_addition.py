"""Modular addition: theory of a wide net, against sampled nets.

A two-layer net with quadratic units learns to add modulo `P` from the whole table. As the noise
falls, neurons leave the Gaussian-process-like minimum of their law for Fourier features: a mixed
phase, in which the residual follows the lever rule.

1. Residual and fraction of specialised modes: theory, and nets of several widths run by
   underdamped Langevin dynamics from the prior and from a net of features only.
2. Sweeps of the noise down and up, at several rates: how much of the hysteresis is left.
3. A part of the table only: the residual on held-out pairs, against the theory that replaces sums
   over data by their means, and against the Gaussian process of the prior. Square units memorise
   by functions of one number alone; product units, which have none, are run beside them.
"""

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import tyro

import boltzax as bx
from boltzax.core import mean_estimate
from examples._cli import Drawn, save, table


@dataclass
class Options(Drawn):
    """The net, the noises, and how long to run.

    Quick: one small net, two noises, one sweep, one fraction.
    """

    modulus: int = 11
    """P, odd."""
    gamma: float = 1.0
    """Strength of the sixth powers in the prior."""
    strength: float = 0.05
    """σ_a P, scale of the readout times P."""
    noises: tuple[float, ...] = (0.12, 0.06, 0.05, 0.04, 0.03)
    """Noises s²; the data of a net of N neurons have noise of variance s²/N."""
    widths: tuple[int, ...] = (64, 256, 1024)
    """Numbers of neurons."""
    steps: tuple[int, ...] = (8000, 6000, 3000)
    """Steps of each width; the first half is forgotten."""
    dt: float = 0.1
    """Step of Langevin dynamics."""
    rates: tuple[int, ...] = (20, 100, 400)
    """Steps at each noise of a sweep; multiples of the first."""
    levels: int = 22
    """Noises of a sweep."""
    fractions: tuple[float, ...] = (0.6, 0.8, 0.9, 0.97)
    """Fractions of the table to learn from."""
    part_noise: float = 0.6
    """Noise of the runs on a part of the table, in units of the onset on all of it."""
    part_moduli: tuple[int, ...] = (11, 23, 11, 23, 31)
    """Moduli of these runs; γ goes with their square, so that P/√γ is the same for all."""
    part_strengths: tuple[float, ...] = (0.05, 0.05, 0.5, 0.5, 0.5)
    """σ_a P of these runs at γ = 1; it is scaled with the power 3/4 of γ, as theory is."""
    part_steps: int = 3000
    """Steps of these runs."""
    part_width: int = 256
    """Neurons of these runs. Wider nets memorise where nets of 256 do not."""


FRAMES = 100


def main(options: Options) -> None:
    """Compare, sweep, hold out; print, write what was asked for."""
    if options.quick:
        options = replace(
            options,
            noises=(0.06, 0.03),
            widths=(32,),
            steps=(1000,),
            rates=(20,),
            levels=6,
            fractions=(0.8,),
            part_moduli=(11,),
            part_strengths=(0.5,),
            part_steps=1000,
            part_width=32,
        )
    began = time.time()
    scales = {"readout_scale": options.strength / options.modulus, "gamma": options.gamma}
    results: dict = {"options": vars(options) | {"json": None, "figure": None}}
    results["diagram"] = diagram(options)
    results["nets"] = nets(options, scales)
    print(table(results["nets"]))
    results["coefficients"] = coefficients(options, scales)
    print(table(results["coefficients"]))
    results["sweeps"] = sweeps(options, scales)
    results["parts"] = parts(options)
    print(table(results["parts"]))
    results["seconds"] = time.time() - began
    print(f"{results['seconds']:.0f} s")
    save(results, options.json)
    if options.figure is not None:
        draw(results, options.figure)


def diagram(options: Options) -> dict:
    """The residual over noise and modulus, at the same `σ_a P`, with the closed forms."""
    moduli = (options.modulus,) if options.quick else (3, options.modulus, 41, 161)
    noises = np.linspace(0.02, 0.1, 9 if options.quick else 33)
    found = {
        p: [
            bx.cases.modular_exact(p, s2, readout_scale=options.strength / p, gamma=options.gamma)
            for s2 in noises
        ]
        for p in moduli
    }
    phases = found[options.modulus][0].phases
    print(f"s²_I = {phases.onset:.5f}, s²_II = {phases.completion:.5f}")
    return {
        "noise": noises,
        "moduli": moduli,
        "residual": [[m.residual for m in row] for row in found.values()],
        "specialised": [[m.specialised for m in row] for row in found.values()],
        "residual_limit": [phases.residual(s2) for s2 in noises],
        "specialised_limit": [phases.specialised(s2) for s2 in noises],
        "onset": phases.onset,
        "completion": phases.completion,
    }


def features(problem, theory, width: int, key) -> dict:
    """A net in which every mode of every neuron is specialised, readouts from their law."""
    p, unit = theory.modulus, problem.problem.neuron.model
    x, y = bx.cases.modular_table(p)
    keys = jax.random.split(key, 3)
    modes = jnp.arange(1, (p + 1) // 2)

    def circle(key):
        phase = jax.random.uniform(key, (width, len(modes), 1)) * 2 * jnp.pi
        angle = 2 * jnp.pi * modes[:, None] * jnp.arange(p) / p
        return 2 * theory.phases.feature_size**0.5 * jnp.sum(jnp.cos(angle + phase), axis=1)

    left, right = circle(keys[0]), circle(keys[1])
    drive = (jnp.concatenate([left, right], axis=1) @ x.T) ** 2 @ y
    pull = unit.scale * theory.phases.residual(theory.noise) / theory.noise
    readout = pull * drive + jax.random.normal(keys[2], drive.shape)
    return {"left": left, "readout": readout, "right": right}


def restart(run, net: dict):
    """A run to go on from, at given weights; its momenta stay."""
    return eqx.tree_at(lambda r: r.state.weights["net"], run, net)


def measure(problem, frames: dict, threshold: float, rows=None):
    """Residual and specialised fraction of each frame (of a table, or rows of it)."""
    x, y = bx.cases.modular_table(problem.problem.neuron.model.left.shape[0])
    x, y = (x, y) if rows is None else (x[rows], y[rows])
    residual = read_all(problem, frames, x, y)
    size = bx.cases.modular_modes(frames["left"]) * bx.cases.modular_modes(frames["right"])
    return np.asarray(residual), np.asarray(jnp.mean(size > threshold**2, axis=(1, 2)))


@eqx.filter_jit
def read_all(problem, frames: dict, x, y):
    """The residual of every frame."""
    return jax.vmap(lambda w: bx.cases.modular_residual(problem.net(w), x, y))(frames)


def late(values: np.ndarray):
    """The mean of the second half, an `Estimate`."""
    return mean_estimate(jnp.asarray(values[len(values) // 2 :])[None])


def nets(options: Options, scales: dict) -> dict:
    """Nets of all widths at all noises from both starts, against theory."""
    columns: dict[str, list] = {}
    for width, steps in zip(options.widths, options.steps, strict=True):
        for noise in options.noises:
            theory = bx.cases.modular_exact(options.modulus, noise, **scales)
            problem = bx.cases.ModularEnsemble(
                bx.cases.modular_addition(options.modulus, noise, **scales)
            )
            arguments = {"steps": steps, "batch": None, "frames": FRAMES}
            dynamics = bx.meanfield.Langevin(dt=options.dt)
            for start in ("prior", "features"):
                key = jax.random.key(options.seed + 1000 * (start == "features"))
                run = None
                if start == "features":
                    full = features(problem, theory, width, jax.random.key(options.seed + 7))
                    run = restart(last, full)
                last = bx.meanfield.train(
                    problem, width, key=key, dynamics=dynamics, resume=run, **arguments
                )
                r, p = measure(problem, last.net_frames, theory.threshold)
                r, p = late(r), late(p)
                row = {
                    "width": width,
                    "noise": noise,
                    "from_features": start == "features",
                    "theory": theory.residual,
                    "residual": float(r.value),
                    "standard_error": float(r.standard_error),
                    "times_width": float(width * (r.value - theory.residual)),
                    "theory_specialised": theory.specialised,
                    "specialised": float(p.value),
                    "specialised_error": float(p.standard_error),
                }
                for name, value in row.items():
                    columns.setdefault(name, []).append(value)
                print(
                    f"N={width} s²={noise} from {start}: r = {row['residual']:.4f} ± "
                    f"{row['standard_error']:.4f}, theory {theory.residual:.4f}",
                    flush=True,
                )
    return columns


def coefficients(options: Options, scales: dict) -> dict:
    """What theory says of the gap times the width, at each noise."""
    draws = 2000 if options.quick else 40_000
    found = [
        bx.cases.modular_width(
            options.modulus, noise, key=jax.random.key(options.seed), draws=draws, **scales
        )
        for noise in options.noises
    ]
    return {
        "noise": list(options.noises),
        "value": [float(each.value) for each in found],
        "standard_error": [float(each.standard_error) for each in found],
    }


def sweeps(options: Options, scales: dict) -> list[dict]:
    """The residual while the noise falls and rises again, with few and with many steps."""
    width = options.widths[min(1, len(options.widths) - 1)]
    onset = bx.cases.modular_phases(options.modulus, **scales).onset
    down = np.linspace(1.3 * onset, 0.6 * onset, options.levels)
    path = np.concatenate([down, down[::-1]])
    exact = [bx.cases.modular_exact(options.modulus, s2, **scales).residual for s2 in down]
    first = bx.cases.ModularEnsemble(
        bx.cases.modular_addition(options.modulus, float(path[0]), **scales)
    )
    chunk, found = options.rates[0], []
    x, y = bx.cases.modular_table(options.modulus)
    read = jax.jit(lambda net: bx.cases.modular_residual(first.net(net), x, y))
    for rate in options.rates:
        run, values = None, []
        for noise in path:
            here, seen = first.at(float(noise)), []
            for _ in range(rate // chunk):
                run = bx.meanfield.train(
                    here,
                    width,
                    key=jax.random.key(options.seed + 1),
                    steps=chunk,
                    batch=None,
                    dynamics=bx.meanfield.Langevin(dt=options.dt),
                    resume=run,
                )
                seen.append(float(read(run.net)))
            values.append(np.mean(seen[len(seen) // 2 :]))
        fall, rise = np.array(values[: len(down)]), np.array(values[len(down) :])[::-1]
        area = float(np.trapezoid((fall - rise)[::-1], down[::-1]))
        print(f"{rate} steps a noise: area of the loop {area:.5f}", flush=True)
        found.append({"rate": rate, "noise": down, "down": fall, "up": rise, "area": area})
    return [each | {"theory": exact, "width": width} for each in found]


def parts(options: Options) -> dict:
    """Nets that learn a part of the table: what is left on it, and on the rest."""
    columns: dict[str, list] = {}
    width = options.part_width
    for p, strength in zip(options.part_moduli, options.part_strengths, strict=True):
        ratio = (p / options.modulus) ** 2
        scales = {
            "gamma": options.gamma * ratio,
            "readout_scale": strength * ratio**0.75 / p,
        }
        noise = options.part_noise * bx.cases.modular_phases(p, **scales).onset
        x, y = bx.cases.modular_table(p)
        for product, fraction in itertools.product((False, True), options.fractions):
            theory = bx.cases.modular_exact(p, noise, fraction=fraction, **scales)
            seen, held = bx.cases.modular_split(p, fraction, key=jax.random.key(options.seed + 3))
            problem = bx.cases.ModularEnsemble(
                bx.cases.modular_addition(p, noise, rows=seen, product=product, **scales)
            )
            run = bx.meanfield.train(
                problem,
                width,
                key=jax.random.key(options.seed + 2),
                steps=options.part_steps,
                batch=None,
                dynamics=bx.meanfield.Langevin(dt=options.dt),
                frames=FRAMES,
            )
            on_seen, share = measure(problem, run.net_frames, theory.threshold, seen)
            on_held, _ = measure(problem, run.net_frames, theory.threshold, held)
            trained, tested = late(on_seen), late(on_held)
            row = {
                "modulus": p,
                "strength": strength,
                "product": product,
                "noise": noise,
                "fraction": fraction,
                "theory": theory.residual,
                "theory_held_out": theory.held_out,
                "seen": float(trained.value),
                "seen_error": float(trained.standard_error),
                "held_out": float(tested.value),
                "held_out_error": float(tested.standard_error),
                "process": process(x, y, seen, held, noise, scales["readout_scale"]),
                "accuracy": accuracy(problem, run.net_frames, x[held], y[held]),
                "theory_specialised": theory.specialised,
                "specialised": float(late(share).value) if theory.specialised else np.nan,
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
            print(
                f"P={p} σ_a P={strength} {'product' if product else 'square'} fraction {fraction}: "
                f"seen {row['seen']:.3f}, held out {row['held_out']:.3f}, "
                f"theory {theory.residual:.3f}",
                flush=True,
            )
    return columns


def process(x, y, seen, held, noise: float, scale: float) -> float:
    """Residual on held-out pairs of the Gaussian process with `K = σ_a² (4 + 2 (x·x')²)`.

    Normal weights: `γ` is left out of the prior here.
    """
    kernel = scale**2 * (4 + 2 * np.asarray(x @ x.T) ** 2)
    gram = kernel[np.ix_(seen, seen)] + noise * np.eye(len(seen))
    f = kernel[np.ix_(held, seen)] @ np.linalg.solve(gram, np.asarray(y)[seen])
    target = np.asarray(y)[held]
    return float(1 - np.sum(f * target) / np.sum(target**2))


def accuracy(problem, frames: dict, x, y) -> float:
    """Part of the pairs on which the mean output of the late frames is largest at the answer."""
    tail = jax.tree.map(lambda leaf: leaf[len(leaf) // 2 :], frames)
    mean = jnp.mean(jax.vmap(lambda w: jax.vmap(problem.net(w))(x))(tail), axis=0)
    return float(jnp.mean(jnp.argmax(mean, axis=1) == jnp.argmax(y, axis=1)))


def draw(results: dict, path: Path) -> None:
    """Residual and specialised fraction; sweeps; parts of the table."""
    with bx.plot.panels(4, path=path) as axes:
        grid, found = results["diagram"], results["nets"]
        for ax, name in ((axes[0], "residual"), (axes[1], "specialised")):
            for p, curve, line in zip(
                grid["moduli"], grid[name], ("-", "-.", ":", "--"), strict=False
            ):
                ax.plot(grid["noise"], curve, ls=line, lw=1.2, label=f"theory, P = {p}")
            ax.plot(grid["noise"], grid[f"{name}_limit"], "k+", markevery=5, label="P → ∞")
            for edge in (grid["onset"], grid["completion"]):
                ax.axvline(edge, color="0.8", lw=1)
            for width, marker in zip(sorted(set(found["width"])), "os^Dv", strict=False):
                chosen = [
                    i
                    for i, w in enumerate(found["width"])
                    if w == width and found["noise"][i] < max(grid["noise"])
                ]
                error = "standard_error" if name == "residual" else "specialised_error"
                ax.errorbar(
                    [found["noise"][i] for i in chosen],
                    [found[name][i] for i in chosen],
                    [1.96 * found[error][i] for i in chosen],
                    fmt=marker,
                    label=f"nets, N = {width}, 95%",
                )
            ax.set(xlabel="noise s²", ylabel=name, xlim=(0.02, 0.1))
            ax.legend()
        ax = axes[2]
        for i, (sweep, line) in enumerate(zip(results["sweeps"], ("-", "--", "-.", ":"))):
            ax.plot(sweep["noise"], sweep["down"], f"C{i}v{line}", lw=0.8)
            label = f"{sweep['rate']} steps a noise"
            ax.plot(sweep["noise"], sweep["up"], f"C{i}^{line}", lw=0.8, label=label)
        ax.plot(sweep["noise"], sweep["theory"], "k", lw=1, label="theory")
        ax.set(xlabel="noise s²", ylabel="residual", title="noise down (▽) and up (△)")
        ax.legend()
        ax, parts = axes[3], results["parts"]
        kinds = list(zip(parts["modulus"], parts["strength"], parts["product"], strict=True))
        for i, (p, strength, product) in enumerate(sorted(set(kinds))):
            rows = [j for j, kind in enumerate(kinds) if kind == (p, strength, product)]
            name = f"P = {p}, σ_a P = {strength:.3g}, {'product' if product else 'square'}"
            pick = {key: [parts[key][j] for j in rows] for key in parts}
            style = {"color": f"C{i // 2}", "marker": "os^Dv"[i // 2 % 5], "label": name}
            style |= {"ls": ":", "mfc": "none"} if product else {"ls": "-"}
            ax.plot(pick["fraction"], pick["held_out"], **style)
            if not product:
                ax.plot(pick["fraction"], pick["theory"], f"C{i // 2}--", lw=0.8)
        ax.axhline(1, color="0.8", lw=1)
        ax.set(xlabel="fraction of the table", ylabel="residual on held-out pairs")
        ax.set_title("held-out pairs (dashed: theory without memorisation)")
        ax.legend()


if __name__ == "__main__":
    main(tyro.cli(Options))
