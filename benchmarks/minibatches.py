"""Standard errors of local learning coefficients from minibatches, at equal cost.

All methods sample `exp(-nβ L(w) - γ/2 |w - w*|²)` by SGLD at the same step, in minibatches of the
same size, and estimate `λ̂ = nβ (⟨L⟩ - L(w*))`:

- `hand-written`: SGLD in plain JAX; the loss of a draw is that of the minibatch of its step, less
  the loss at w* over all data (as devinterp does);
- `blackjax`: the same with the kernel of blackjax;
- `devinterp`: its own sampler in PyTorch, where it is installed, at the same weights;
- `pairs`: `bx.SGLD` with the energies of `gibbs.relative_to()`, from minibatches at w and w*;
- `control variates`: `gibbs.with_control_variates()`;
- `moving anchor`: `bx.SVRG(bx.SGLD())`;
- `control variates, underdamped`: at the step `h = √ε`;
- `pairs, RMSprop`: `bx.RMSpropSGLD`, whose metric has the mean 1, so that ε means the same.

A gradient is one pass over a minibatch at one place; energies count as half. `cost` is what a
standard error of 1% of λ̂ takes, by the run's own error: gradients, and CPU seconds without
compilation. The exact λ̂ of the zoo is beside it: a step that is too long is cheap and wrong.
"""

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _common import Flags, save
from _problems import problem
from _setting import Setting, draw
from _text_net import loss, trained

import boltzax as bx
from boltzax.sample import Chains

N, CHAINS, THIN = 10_000, 4, 4
ZOO = {
    "quadratic": {"kind": "quadratic", "dim": 10},
    "logistic": {"kind": "logistic", "dim": 3},
    "reduced-rank": {"kind": "reduced-rank", "widths": (5, 3, 5), "rank": 1},
}


@dataclass
class Options(Flags):
    """Problems and length of the runs.

    Quick: two problems, one step, short chains.
    """

    problems: tuple[str, ...] = (*ZOO, "transformer")
    """Names of the zoo here, or `transformer`."""
    steps: tuple[float, ...] = (1e-5, 3e-5, 1e-4, 3e-4)
    """Steps of SGLD for the zoo."""
    length: int = 8000
    """Steps of a chain on the zoo; a twentieth of them on the transformer."""
    batch: int = 500
    """Data of a minibatch; 16 sequences on the transformer."""
    localisations: tuple[float, ...] = (300.0, 3000.0)
    """γ of the transformer."""
    training: int = 600
    """Steps of Adam for the transformer."""
    width: int = 32
    """Width of the transformer."""


@dataclass(frozen=True)
class Task:
    """A posterior, in 64 bits for the zoo."""

    name: str
    gibbs: bx.Gibbs
    nbeta: float
    n: int
    batch: int
    exact: float | None
    gamma: float
    torch: Callable
    """devinterp's module and its loader of minibatches, from the weights by path."""


def localised(energy, beta: float, gamma: float) -> bx.Gibbs:
    """The posterior about the weights of the declared model."""
    centre = bx.Localisation(energy.model, gamma)
    wide = bx.Normal(0.0, 1e6)
    return bx.compile(energy + centre, wide, beta=beta, marginalise=False)


def zoo(name: str, batch: int) -> Task:
    """A problem of the zoo with label noise, γ = 1 and β = 1/log n."""
    noise = 1.0
    chosen = problem(**ZOO[name], n=N, noise=noise, seed=0, localisation=1.0)
    data = bx.Subsampled(chosen.energy.measure, batch)
    energy = eqx.tree_at(lambda e: e.measure, chosen.energy, data)
    values = {"powers": (), "dim": 0, "widths": (), "rank": 0, "width": 0} | ZOO[name]
    setting = Setting(**values, n=N, noise=noise, seed=0, localisation=1.0)
    gibbs = localised(energy, 1 / math.log(N), 1.0)

    def torch(named):
        import _devinterp as devinterp

        model = devinterp.Net(setting.kind, setting.powers, named)
        return model, devinterp.Batches(*draw(setting), batch, False)

    exact = chosen.exact().value
    return Task(chosen.name, gibbs, N / math.log(N), N, batch, exact, 1.0, torch)


def transformer(net, gamma: float) -> Task:
    """128 sequences at nβ = 30, the setting of much work on language models."""
    model, rows = net
    energy = bx.PerDatum(model, bx.Subsampled(bx.Empirical(rows[:128]), 16), loss)
    gibbs = localised(energy, 30 / 128, gamma)

    def torch(named):
        import _devinterp as devinterp

        ids = np.asarray(rows[:128], np.int64)
        loader = devinterp.Batches(ids[:, :-1], ids[:, 1:], 16, False)
        return devinterp.Transformer(named), loader

    return Task(f"transformer, γ {gamma:g}", gibbs, 30.0, 128, 16, None, gamma, torch)


def row(task: Task, method: str, step: float, series, gradients: float, seconds: float) -> dict:
    """One line of the table; `series` is nβ (L - L(w*)), `[chain, draw]`."""
    found = bx.mean_estimate(jnp.asarray(series))
    value, error = float(found.value), float(found.standard_error)
    share = (error / (0.01 * value)) ** 2
    off = {} if task.exact is None else {"exact": task.exact, "bias": value / task.exact - 1}
    return {
        "problem": task.name, "method": method, "step": step, "value": value,
        "standard_error": error, "gradients_for_1_percent": gradients * share,
        "seconds_for_1_percent": seconds * share, "gradients": gradients, "seconds": seconds,
    } | off  # fmt: skip


def timed(call):
    """The result of a second call, and the CPU seconds that it took."""
    jax.block_until_ready(call())
    began = time.process_time()
    result = jax.block_until_ready(call())
    return result, time.process_time() - began


def by_hand(task: Task, step: float, length: int, kernel: str) -> dict:
    """SGLD written in plain JAX, or with the kernel of blackjax."""
    gibbs, start = task.gibbs, task.gibbs.position()

    def estimate(w, key):
        return gibbs.log_prob_estimate(w, key)

    theirs = blackjax.sgld(lambda w, key: jax.grad(estimate)(w, key)).step

    def chain(key):
        def one(w, key):
            key_batch, key_noise = jax.random.split(key)
            if kernel == "blackjax":
                # its noise has twice the variance
                new = theirs(key_noise, w, key_batch, step / 2)
                return new, gibbs.energy_estimate(w, key_batch)
            value, slope = jax.value_and_grad(estimate)(w, key_batch)
            keys = dict(zip(w, jax.random.split(key_noise, len(w)), strict=True))
            new = {
                path: w[path] + 0.5 * step * slope[path]
                + step**0.5 * jax.random.normal(keys[path], w[path].shape, w[path].dtype)
                for path in w
            }  # fmt: skip
            return new, (gibbs.log_prior(w) - value) / gibbs.beta

        return jax.lax.scan(one, start, jax.random.split(key, length))[1]

    run = jax.jit(jax.vmap(chain))
    keys = jax.random.split(jax.random.key(0), CHAINS)
    energy, seconds = timed(lambda: run(keys))
    series = float(gibbs.beta) * (np.asarray(energy, float) - float(gibbs.energy(start)))
    return row(task, kernel, step, series[:, length // 5 :], CHAINS * length, seconds)


def ours(task: Task, method: str, step: float, length: int) -> dict:
    """The kernels of boltzax; energies of two minibatches every fourth step."""
    gibbs, passes = task.gibbs.relative_to(), 1
    if method.startswith("control"):
        gibbs, passes = task.gibbs.with_control_variates(), 2
    kernel = (bx.RMSpropSGLD if method.endswith("RMSprop") else bx.SGLD)(step_size=step)
    if method == "moving anchor":
        kernel = bx.SVRG(kernel)
    if method.endswith("underdamped"):
        kernel = bx.Underdamped(step_size=step**0.5, preconditioner=bx.Identity())
    place = gibbs.position()
    start = {path: jnp.broadcast_to(leaf, (CHAINS, *leaf.shape)) for path, leaf in place.items()}
    dynamics = Chains(gibbs, kernel, False, energy_key=jax.random.key(1))
    warmup = length // 5
    counts = {"warmup": warmup, "draws": (length - warmup) // THIN, "thin": THIN}
    run, seconds = timed(lambda: bx.run(dynamics, start, key=jax.random.key(0), **counts))
    series = float(gibbs.beta) * np.asarray(run.records["energy"], float).T
    steps = float(np.sum(run.state.move.gradients)) * passes
    energies = passes * CHAINS * counts["draws"]
    return row(task, method, step, series, steps + energies, seconds)


def by_devinterp(task: Task, step: float, length: int) -> dict:
    """devinterp's sampler, with the loss at w* over all data."""
    import _devinterp as devinterp

    named = {path: np.asarray(w) for path, w in task.gibbs.position().items()}
    model, loader = task.torch(named)
    right = {"nbeta": task.nbeta, "localization": task.gamma, "lr": step}
    began = time.process_time()
    base = float(task.gibbs.energy(task.gibbs.position())) / task.n
    found = devinterp.run(
        model, loader, optimizer=right, chains=CHAINS, draws=length - length // 5,
        burn_in=length // 5, init_loss=base, seed=0,
    )  # fmt: skip
    seconds = time.process_time() - began
    series = task.nbeta * (np.asarray(found["loss/trace"], float) - base)
    return row(task, "devinterp", step, series, CHAINS * length, seconds)


def cells(task: Task, step: float, length: int) -> list[dict]:
    """All methods at one step."""
    rows = [by_hand(task, step, length, kernel) for kernel in ("hand-written", "blackjax")]
    if importlib.util.find_spec("devinterp"):
        rows.append(by_devinterp(task, step, length))
    methods = (
        "pairs", "control variates", "moving anchor", "control variates, underdamped",
        "pairs, RMSprop",
    )  # fmt: skip
    rows += [ours(task, method, step, length) for method in methods]
    for each in rows:
        for cost in ("gradients", "seconds"):
            share = rows[0][f"{cost}_for_1_percent"] / each[f"{cost}_for_1_percent"]
            each[f"times_fewer_{cost}"] = share
        bias = f"{100 * each['bias']:+7.1f}%" if "bias" in each else ""
        print(
            f"{each['problem']:34} {step:7.0e} {each['method']:30} {each['value']:8.3f} ± "
            f"{each['standard_error']:.3f} {bias}  1%: {each['gradients_for_1_percent']:9.3g} "
            f"gradients, {each['seconds_for_1_percent']:8.3g} s;  "
            f"× {each['times_fewer_gradients']:.2f}, {each['times_fewer_seconds']:.2f}",
            flush=True,
        )
    return rows


def main(options: Options) -> None:
    """Run the problems, print the rows, write what was asked for."""
    if options.quick:
        options.problems, options.steps, options.length = (
            ("quadratic", "transformer"),
            (1e-4,),
            1000,
        )
        options.localisations, options.training = (3000.0,), 20
    rows: list[dict] = []
    with jax.enable_x64(True):
        for name in options.problems:
            if name in ZOO:
                task = zoo(name, options.batch)
                for step in options.steps:
                    rows += cells(task, step, options.length)
                    save(rows, options.json)
    if "transformer" in options.problems:
        net = trained(options.training, width=16 if options.quick else options.width)
        for gamma in options.localisations:
            step = min(3e-4, 0.1 / gamma)
            rows += cells(transformer(net, gamma), step, options.length // 20)
            save(rows, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
