"""Speed of SGLD: chain-steps a second against hand-written loops, and what a step costs.

Ratios on one core are of processor time, which others on the machine hardly touch; all else
is by the clock.

- `bx.sample` as a user runs it (its full energies at each draw included, compilation not) on one
  core, and on two with its chains over two devices of the host, or over two processes of a core
  each (`two_processes_over_one`); against the SGLD kernel of blackjax
  in a hand-written scan and vmap, and a hand-written step in the same loop, on one core. All have
  the same model, a function of matrices `[in, out]`; `mlp` is `bx.models.MLP`, whose matrices are
  `[out, in]`. The others draw their batches with replacement (one `randint`); ours are of distinct
  data. A measurement has a process of its own, confined to its cores; the processes are asked in
  turns, so that all feel the same load, and the median over rounds is given.
- `step_over_gradient`: a step of the kernel against a step along the bare gradient of a minibatch,
  the batch chosen beforehand and no noise made, both in a compiled loop on one core, for nets of
  growing size.
- Where devinterp 1.3 and PyTorch are installed (the nox session `peers`), its SGLD on one core too,
  with a loader that cuts minibatches from a shuffled tensor (`over_devinterp`).
"""

import functools
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import tyro
from _common import Seeded, save


@dataclass
class Options(Seeded):
    """Sizes.

    Quick: fewer steps, rounds and sizes.
    """

    widths: tuple[int, ...] = (10, 64, 64, 1)
    """Widths of the net, input first."""
    data: int = 10_000
    """Number of data, n."""
    batch: int = 500
    """Size of minibatches."""
    chains: int = 4
    """Number of chains."""
    thin: int = 1_000
    """Steps a draw."""
    draws: int = 8
    """Draws a round."""
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Numbers of weights for `step_over_gradient`."""
    rounds: int = 7
    """Rounds of which the median is taken."""
    cores: tuple[int, int] = (0, 1)
    """The cores to run on; the first is the one core."""
    serve: int | None = None
    """(for the benchmark itself) be the process that measures on so many cores (0: the second)."""


STEP = 1e-7
IN_LOOP = 20
"""Steps of a call for `step_over_gradient`."""
OTHER = 0
"""The number of cores of the process that has the second core to itself."""


def problem(options: Options):
    """Inputs and labels of a smooth function, in float32."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(options.seed), 2)
    x = jax.random.normal(keys[0], (options.data, options.widths[0]))
    return x, jnp.sin(x[:, 0]) + 0.1 * jax.random.normal(keys[1], (options.data,))


def calls(options: Options, devices: int) -> dict:
    """What a process on so many devices can be asked to do, by name; each runs to its end."""
    import jax

    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)
    import jax.numpy as jnp
    from _plain_sgld import predict, runner, start

    import boltzax as bx

    x, y = problem(options)
    key, chains = jax.random.key(options.seed), options.chains
    params = start(options.widths, key)
    measure = bx.Subsampled(bx.Empirical((x, y)), options.batch)
    placement = None
    if devices > 1:
        placement = bx.Placement(jax.make_mesh((devices,), ("chain",)))

    def boltzax(model, chains=chains):
        gibbs = bx.compile(bx.SquaredError(model, measure), bx.Normal())
        run = functools.partial(
            bx.sample, gibbs, bx.SGLD(STEP), key=key, chains=chains, warmup=0, draws=options.draws,
            thin=options.thin, start=gibbs.position(), keep=False, throw=False, placement=placement,
        )  # fmt: skip
        return gibbs, lambda: run().energy

    gibbs, same = boltzax(bx.models.Function(predict, params))
    if devices == 1:
        half = boltzax(bx.models.Function(predict, params), chains // 2)[1]
        if options.serve == OTHER:
            return {"half": half}
    begin = gibbs.position()
    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (chains, *leaf.shape)), begin)
    energies = jax.jit(lambda gibbs, many: jax.vmap(gibbs.moments)(many))
    found = {
        "boltzax": same,
        "boltzax_mlp": boltzax(bx.models.MLP(options.widths, key=key))[1],
        "energies": lambda: [energies(gibbs, many) for _ in range(options.draws)],
    }
    if devices == 1:
        found["half"] = half
    params = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (chains, *leaf.shape)), params)
    for name in ("blackjax", "raw") if devices == 1 else ():
        run = runner((x, y), options.batch, options.draws * options.thin, STEP, name)
        keys = jax.random.split(key, chains)
        found[name] = lambda run=run, keys=keys: run(params, keys, (x, y))
    if devices == 1 and importlib.util.find_spec("devinterp"):
        import _devinterp as devinterp
        import numpy as np

        loader = devinterp.Batches(np.array(x), np.array(y)[:, None], options.batch, False)
        found["devinterp"] = functools.partial(
            devinterp.run,
            devinterp.Mlp(options.widths),
            loader,
            optimizer={"lr": 1e-9, "nbeta": 1.0, "localization": 1.0},
            chains=chains,
            draws=max(options.draws * options.thin // 20, 50),
            burn_in=0,
            init_loss=1.0,
            seed=0,
        )
    return found


def steps(options: Options) -> dict:
    """Steps of SGLD and along gradients, by number of weights."""
    import jax
    import jax.numpy as jnp

    import boltzax as bx

    x, y = problem(options)
    key, found = jax.random.key(options.seed), {}
    kernel = bx.SGLD(STEP)
    for size in options.sizes:
        into = options.widths[0]
        hidden = round((-(into + 3) + ((into + 3) ** 2 + 4 * size) ** 0.5) / 2)
        net = bx.models.MLP((into, hidden, hidden, 1), key=key)
        measure = bx.Subsampled(bx.Empirical((x, y)), options.batch)
        gibbs = bx.compile(bx.SquaredError(net, measure), bx.Normal())
        points, weights = measure.batch(key)
        bare = bx.compile(
            bx.SquaredError(net, bx.Empirical(points, weights=weights)),
            bx.Normal(),
            integral="declared",
        )
        w = gibbs.position()
        state = kernel.init(gibbs, w, key, 0)

        def step(gibbs, state, key):
            return kernel.step(gibbs, state, key, jnp.zeros(()), 0)[0]

        def gradient(gibbs, w, _):
            g = jax.grad(gibbs.log_prob)(w)
            return jax.tree.map(lambda w, g: w + STEP * g, w, g)

        found[f"step {gibbs.dim}"] = functools.partial(repeated(step), gibbs, state)
        found[f"gradient {gibbs.dim}"] = functools.partial(repeated(gradient), bare, w)
    return found


def repeated(step):
    """`IN_LOOP` steps in a compiled loop."""
    import jax

    @jax.jit
    def run(gibbs, state, keys):
        return jax.lax.scan(lambda s, key: (step(gibbs, s, key), None), state, keys)[0]

    return lambda gibbs, state: run(gibbs, state, jax.random.split(jax.random.key(0), IN_LOOP))


def serve(options: Options) -> None:
    """Answer names of calls on stdin by their seconds, after a first call to compile each."""
    assert options.serve is not None
    os.sched_setaffinity(0, options.cores[: options.serve] or options.cores[1:])
    import jax

    found = calls(options, max(options.serve, 1))
    if options.serve == 1:
        found |= steps(options)
    repeats = {}
    for name, call in found.items():
        jax.block_until_ready(call())
        began = time.perf_counter()
        jax.block_until_ready(call())
        repeats[name] = max(1, round(0.3 / (time.perf_counter() - began)))
    print("ready", *[name.replace(" ", ":") for name in found], flush=True)
    for line in sys.stdin:
        name = line.strip().replace(":", " ")
        began = time.perf_counter(), time.process_time()
        for _ in range(repeats[name]):
            jax.block_until_ready(found[name]())
        taken = time.perf_counter() - began[0], time.process_time() - began[1]
        print(*[each / repeats[name] for each in taken], flush=True)


class Server:
    """A process on some cores."""

    def __init__(self, cores: int):
        command = [sys.executable, *sys.argv, "--serve", str(cores)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        first, *self.names = self._line().split()
        assert first == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def send(self, name: str) -> None:
        """Have it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()

    def ask(self, name: str | None) -> tuple[float, float]:
        """Seconds by the clock, and seconds of processor (of what it was sent, if None)."""
        if name is not None:
            self.send(name)
        clock, processor = self._line().split()
        return float(clock), float(processor)


def main(options: Options) -> None:
    """Ask both processes in turns, print a table, write what was asked for."""
    if options.quick:
        options = replace(options, thin=250, draws=4, rounds=3, sizes=options.sizes[:2])
    if options.serve is not None:
        return serve(options)
    load = os.getloadavg()[0]
    servers = {1: Server(1), 2: Server(2), OTHER: Server(OTHER)}
    asked = [(1, name) for name in servers[1].names] + [(2, "boltzax"), (OTHER, "half")]
    clock: dict[tuple[int, str], list[float]] = {pair: [] for pair in asked}
    processor: dict[tuple[int, str], list[float]] = {pair: [] for pair in asked}
    for _ in range(options.rounds):
        for cores, name in asked:
            if cores == OTHER:
                servers[1].send(name)
            seconds = servers[cores].ask(name)
            if cores == OTHER:
                seconds = tuple(map(max, seconds, servers[1].ask(None)))
            clock[cores, name].append(seconds[0])
            processor[cores, name].append(seconds[1])
    for server in servers.values():
        server.process.communicate()
    taken = options.chains * options.draws * options.thin
    fewer = options.chains * max(options.draws * options.thin // 20, 50)

    def rate(cores: int, name: str) -> float:
        steps = fewer if name == "devinterp" else taken
        return statistics.median(steps / each for each in clock[cores, name])

    def ratio(above: str, below: str, of: dict = processor, cores: int = 1) -> float:
        pairs = zip(of[1, above], of[cores, below], strict=True)
        return statistics.median(a / b for a, b in pairs)

    sizes = [name.split(":")[1] for name in servers[1].names if name.startswith("step")]
    results = {
        "chain_steps_per_second": rate(1, "boltzax"),
        "chain_steps_per_second_two_cores": rate(2, "boltzax"),
        "blackjax_chain_steps_per_second": rate(1, "blackjax"),
        "raw_chain_steps_per_second": rate(1, "raw"),
        "over_blackjax": ratio("blackjax", "boltzax"),
        "mlp_over_blackjax": ratio("blackjax", "boltzax_mlp"),
        "over_raw": ratio("raw", "boltzax"),
        "two_cores_over_one": ratio("boltzax", "boltzax", clock, 2),
        "two_processes_over_one": statistics.median(
            a / b for a, b in zip(clock[1, "boltzax"], clock[OTHER, "half"], strict=True)
        ),
        "processor_time_of_two_cores_over_one": 1 / ratio("boltzax", "boltzax", cores=2),
        "share_of_full_energies": ratio("energies", "boltzax"),
        "step_over_gradient": {s: ratio(f"step:{s}", f"gradient:{s}") for s in sizes},
        "gradient_milliseconds": {
            s: 1e3 / IN_LOOP * statistics.median(processor[1, f"gradient:{s}"]) for s in sizes
        },
        "share_of_core_had": statistics.median(
            p / c for p, c in zip(processor[1, "boltzax"], clock[1, "boltzax"], strict=True)
        ),
        "load_at_start": load,
        "cores_of_machine": os.cpu_count(),
    }
    if "devinterp" in servers[1].names:
        results["devinterp_chain_steps_per_second"] = rate(1, "devinterp")
        results["over_devinterp"] = ratio("devinterp", "boltzax") * taken / fewer
    for name, value in results.items():
        if isinstance(value, dict):
            for size, number in value.items():
                print(f"{name + ' ' + size:36} {number:.4g}")
        else:
            print(f"{name:36} {value:.4g}")

    save(results, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
