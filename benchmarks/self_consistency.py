"""Solvers of the self-consistent field: damped Newton on the convex dual against plain iterations.

All solve `f = E_ρ[h]`, `g = (y - f)/T`, on the same nodes, from no field, to the same relative
residual. Colder problems are stiffer: the plain loop returns an error in the field `λ_max(Cov h)/T`
times larger. Cost is counted in steps (one law of the neuron over all nodes; Newton's have a
covariance and a law for each trial step besides) and in seconds of compiled code.
"""

import functools
from dataclasses import dataclass, field, replace

import jax

jax.config.update("jax_enable_x64", True)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import tyro
from _common import Seeded, save, seconds

import boltzax as bx
from boltzax.numerics import convex_minimum


@dataclass
class Options(Seeded):
    """What to run.

    Quick: two stiffnesses, one problem.
    """

    stiffnesses: list[float] = field(default_factory=lambda: [0.7, 3.0, 10.0, 100.0, 1e3, 1e4, 1e5])
    """Stiffness of the problems at their solution, by choice of T."""
    data: int = 12
    """Data of a problem."""
    problems: int = 5
    """Random data sets at each stiffness."""
    nodes: int = 1024
    """Nodes of the neuron's law."""
    tolerance: float = 1e-9
    """Of the residual, relative to the target."""
    budget: int = 2000
    """Most steps of an iteration."""
    rounds: int = 3
    """Rounds of timing."""


def problem_of(key, data: int, temperature: float = 1.0) -> bx.meanfield.SelfConsistency:
    """Random inputs and targets in two dimensions, and a tanh unit with a bias."""
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (data, 2))
    y = jnp.sin(2 * x[:, 0]) * x[:, 1] + 0.1 * jax.random.normal(key_y, (data,))
    neuron = bx.meanfield.Neuron(bx.meanfield.Unit(jnp.tanh, dim=2, bias=True), bx.Normal())
    measure = bx.Empirical((x, y), weights=jnp.full(data, 1 / data))
    return bx.meanfield.SelfConsistency(neuron, None, measure, temperature)


class Dual(eqx.Module):
    """`D(g) = (T/2)|g|² + Ψ(g) - ⟨y, g⟩`, whose minimum is the self-consistent field."""

    cumulant: bx.meanfield.AbstractCumulant
    target: jax.Array
    temperature: jax.Array

    def value(self, g):
        return 0.5 * self.temperature * jnp.sum(g**2) + self.cumulant.value(g) - self.target @ g

    def residual(self, g):
        """`∇D = T g + E_ρ[h] - y`."""
        return self.temperature * g + self.cumulant.mean(g) - self.target

    def hessian(self, g):
        return self.cumulant.covariance(g) + self.temperature * jnp.eye(len(g))


@eqx.filter_jit
def newton(dual: Dual, goal, steps: int):
    """The library's minimiser, as `bx.meanfield.solve` calls it: field, residual, steps."""
    return convex_minimum(
        dual.value,
        dual.residual,
        dual.hessian,
        jnp.zeros_like(dual.target),
        goal,
        steps,
        lambda g, value: jnp.abs(value) + jnp.abs(dual.target) @ jnp.abs(g),
    )


def step_of(dual: Dual, g):
    """What the plain loop makes of a field: `(y - E_ρ[h])/T`."""
    return (dual.target - dual.cumulant.mean(g)) / dual.temperature


@eqx.filter_jit
def damped(dual: Dual, goal, budget: int, damping):
    """Picard's loop, `g <- g + damping (step(g) - g)`: field, residual, steps."""

    def go_on(carry):
        _, r, count = carry
        return (r > goal) & (count < budget) & (r < 1e12)

    def step(carry):
        g, _, count = carry
        move = step_of(dual, g) - g
        return g + damping * move, dual.temperature * jnp.linalg.norm(move), count + 1

    start = jnp.zeros_like(dual.target)
    return jax.lax.while_loop(go_on, step, (start, jnp.asarray(1e9), 0))


@eqx.filter_jit
def anderson(dual: Dual, goal, budget: int, memory: int = 6, mixing: float = 0.5):
    """Anderson's acceleration (1965) in the form of Walker & Ni 2011, with a regularised fit."""
    n = dual.target.size

    def go_on(carry):
        _, _, _, r, count = carry
        return (r > goal) & (count < budget) & (r < 1e12)

    def step(carry):
        g, places, moves, _, count = carry
        move = step_of(dual, g) - g
        places = jnp.roll(places, 1, 0).at[0].set(g)
        moves = jnp.roll(moves, 1, 0).at[0].set(move)
        used = (jnp.arange(memory) < count + 1) & (jnp.arange(memory) > 0)
        change = jnp.where(used[:, None], moves - move, 0.0)
        shift = jnp.where(used[:, None], places - g, 0.0)
        gram = change @ change.T
        gram = gram + (1e-12 * jnp.trace(gram) + 1e-300) * jnp.eye(memory)
        part = -jnp.linalg.solve(gram, change @ move)
        new = g + mixing * move + part @ (shift + mixing * change)
        return new, places, moves, dual.temperature * jnp.linalg.norm(move), count + 1

    empty = jnp.zeros((memory, n))
    out = jax.lax.while_loop(go_on, step, (jnp.zeros(n), empty, empty, jnp.asarray(1e9), 0))
    return out[0], out[3], out[4]


@eqx.filter_jit
def kernel_regression(dual: Dual, goal, budget: int):
    """`f <- Q (Q + T)⁻¹ y`, `Q` the second moment of the features in the field that `f` leaves."""
    nodes, t = dual.cumulant, dual.temperature

    def go_on(carry):
        _, r, count = carry
        return (r > goal) & (count < budget) & (r < 1e12)

    def step(carry):
        g, _, count = carry
        q = jnp.einsum("j,jnr,jmr->nm", nodes.law(g), nodes.design, nodes.design)
        # f = Q g, so that the residual of the field is (Q + T) g - y
        r = jnp.linalg.norm(q @ g + t * g - dual.target)
        return jnp.linalg.solve(q + t * jnp.eye(len(g)), dual.target), r, count + 1

    start = jnp.zeros_like(dual.target)
    return jax.lax.while_loop(go_on, step, (start, jnp.asarray(1e9), 0))


def methods(goal, budget: int, stiffness: float) -> dict:
    """Each takes a dual problem and gives back field, residual, steps."""
    return {
        "newton": lambda dual: newton(dual, goal, 200),
        "picard": lambda dual: damped(dual, goal, budget, jnp.asarray(1.0)),
        "picard, damping 0.1": lambda dual: damped(dual, goal, budget, jnp.asarray(0.1)),
        "picard, best damping": lambda dual: damped(
            dual, goal, budget, jnp.asarray(2 / (2 + stiffness))
        ),
        "anderson": lambda dual: anderson(dual, goal, budget),
        "kernel regression": lambda dual: kernel_regression(dual, goal, budget),
    }


def temperature_for(dual: Dual, stiffness: float) -> float:
    """T of a stiffness: bisection in log T."""
    low, high = 1e-9, 1e3
    goal = 1e-9 * jnp.linalg.norm(dual.target)
    for _ in range(25):
        t = (low * high) ** 0.5
        at = Dual(dual.cumulant, dual.target, jnp.asarray(t))
        g, *_ = newton(at, goal, 300)
        top = float(jnp.linalg.eigvalsh(at.cumulant.covariance(g))[-1]) / t
        low, high = (low, t) if top < stiffness else (t, high)
    return (low * high) ** 0.5


def main(options: Options) -> None:
    """Solve, count, time, print, write."""
    if options.quick:
        options = replace(options, stiffnesses=[0.7, 100.0], problems=1, nodes=256, rounds=1)
        options = replace(options, budget=500)
    keys = jax.random.split(jax.random.key(options.seed), options.problems)
    duals = []
    for key in keys:
        problem = problem_of(key, options.data)
        hot = bx.meanfield.solve(
            problem, order=options.nodes, refinements=0, replicates=0, throw=False
        )
        duals.append(Dual(hot.law.nodes, problem.to_vector(problem.targets()), problem.temperature))
    rows = []
    for stiffness in options.stiffnesses:
        cold = [
            Dual(d.cumulant, d.target, jnp.asarray(temperature_for(d, stiffness))) for d in duals
        ]
        found = {}
        for dual in cold:
            goal = options.tolerance * jnp.linalg.norm(dual.target)
            for name, method in methods(goal, options.budget, stiffness).items():
                g, _, count = method(dual)
                # the residual of the answer itself, the same for all
                size = float(jnp.linalg.norm(dual.residual(g)))
                good = np.isfinite(size) and size <= 10 * float(goal)
                found.setdefault(name, []).append((good, int(count), dual))
        goal = options.tolerance * jnp.linalg.norm(cold[0].target)
        calls = {
            name: functools.partial(method, next(dual for good, _, dual in found[name] if good))
            for name, method in methods(goal, options.budget, stiffness).items()
            if any(good for good, *_ in found[name])
        }
        times = seconds(calls, options.rounds)
        base = times.get("newton", float("nan"))
        row = {
            "stiffness": stiffness,
            "temperature": float(np.median([d.temperature for d in cold])),
        }
        for name, runs in found.items():
            steps = [count for good, count, _ in runs if good]
            row[name] = {
                "converged": sum(good for good, *_ in runs),
                "out_of_steps": sum(
                    not good and count >= options.budget for good, count, _ in runs
                ),
                "of": len(runs),
                "median_steps": float(np.median(steps)) if steps else float("nan"),
                "seconds_over_newton": times[name] / base if name in times else float("nan"),
            }
        row["newton_seconds"] = base
        rows.append(row)
        print(f"stiffness {stiffness:g}, median T {row['temperature']:.3g}")
        for name in found:
            cell = row[name]
            print(
                f"  {name:22s} {cell['converged']}/{cell['of']} converged, "
                f"{cell['out_of_steps']} out of steps, "
                f"{cell['median_steps']:.0f} steps, {cell['seconds_over_newton']:.2f} of Newton"
            )
    save({"rows": rows, "tolerance": options.tolerance, "budget": options.budget}, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
