"""Runs that are killed at random moments, and what is lost of them: nothing past the last save.

A run that streams its draws to a Zarr store and is saved after every chunk is killed (SIGKILL) at a
random moment, begun again, killed again. Once it gets to its end its draws are compared, bit by
bit, with those of a run that nobody disturbed: energies, sums of a reduction, draws in the store.
Each process says what it has saved, so that it is also known what a kill has cost.
"""

import contextlib
import hashlib
import os
import random
import select
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint  # noqa: F401  (now, so that no process has to)
import tyro
from _common import Seeded, save

import boltzax as bx
import boltzax.report
from boltzax.sample import AbstractCheckpoints, AbstractSaver

warnings.filterwarnings("ignore", message="os.fork", category=RuntimeWarning)


@dataclass
class Options(Seeded):
    """How many kills.

    Quick: three kills.
    """

    kills: int = 30
    """Processes that are killed."""
    draws: int = 400
    """Draws a chain."""


@dataclass(frozen=True)
class Telling(AbstractCheckpoints):
    """Checkpoints that tell through a pipe what was resumed and what is saved."""

    inner: bx.Checkpoints
    pipe: int

    def part(self, name: str) -> "Telling":
        return replace(self, inner=self.inner.part(name))

    def tell(self, word: str, value: object) -> None:
        os.write(self.pipe, f"{word} {value}\n".encode())

    @contextlib.contextmanager
    def open(self, plan, state) -> Iterator["TellingSaver"]:
        with self.inner.open(plan, state) as saver:
            self.tell("resumed", saver.resumed[0] if saver.resumed else 0)
            yield TellingSaver(saver, self)


class TellingSaver(AbstractSaver):
    """The saver of `Telling`."""

    def __init__(self, inner: AbstractSaver, telling: Telling):
        self.inner, self.telling = inner, telling
        self.plan, self.resumed = inner.plan, inner.resumed

    def save(self, rows, state, record):
        self.inner.save(rows, state, record)
        self.telling.tell("saved", rows)


def measure() -> bx.Gibbs:
    """A small network on made-up data."""
    x = np.linspace(-2, 2, 40)[:, None]
    energy = bx.SquaredError(bx.models.TwoLayer(6), bx.Empirical((x, np.sin(2 * x[:, 0]))))
    return bx.compile(energy, bx.Independent(readout=bx.Normal(), embedding=bx.Normal()), beta=9.0)


def norm(model) -> jax.Array:
    """What the reduction averages."""
    return (model.embedding**2).sum()


def run(folder: Path, draws: int, pipe: int) -> None:
    """The whole program of a process that may be killed."""
    jax.config.update("jax_enable_x64", True)
    gibbs = measure()
    telling = Telling(bx.Checkpoints(folder / "saved", every=1), pipe)
    trace = bx.sample(
        gibbs,
        bx.RandomWalk(),
        key=jax.random.key(0),
        warmup=200,
        draws=draws,
        thin=40,
        throw=False,
        reduce={"norm": bx.Mean(norm, length=draws // 16, batches=16)},
        sink=bx.ZarrSink(folder / "draws.zarr"),
        checkpoints=telling,
    )
    stored = bx.load_trace(folder / "draws.zarr", gibbs)
    leaves = jax.tree.leaves((trace.energy, trace.divergent, trace.reduced, stored.w))
    digest = hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()
    telling.tell("digest", digest)


@dataclass
class Life:
    """One process: what it went on from, what it had saved, its digest, seconds to each."""

    pid: int
    pipe: int
    words: list[tuple[float, str, str]]
    rest: bytes = b""

    @classmethod
    def begin(cls, folder: Path, draws: int) -> "Life":
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                run(folder, draws, writer)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.close(writer)
        return cls(pid, reader, [])

    def listen(self, until: float = float("inf"), word: str = "") -> bool:
        """Take in what is said until a time, or a word; False once the process has ended."""
        while not (word and self.all(word)):
            left = min(until - time.monotonic(), 600.0)
            if left <= 0 or not select.select([self.pipe], [], [], left)[0]:
                return True
            heard = os.read(self.pipe, 4096)
            if not heard:
                return False
            *lines, self.rest = (self.rest + heard).split(b"\n")
            for line in lines:
                self.words.append((time.monotonic(), *line.decode().split(" ")))
        return True

    def all(self, word: str) -> list[str]:
        return [value for _, name, value in self.words if name == word]

    def end(self, kill: bool) -> None:
        if kill:
            os.kill(self.pid, signal.SIGKILL)
        self.listen()
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        if not kill and status != 0:
            raise SystemExit(f"a process ended with status {status}")


def undisturbed(folder: Path, draws: int) -> tuple[str, float]:
    """The digest of a run that nobody disturbs, and its seconds a chunk."""
    life = Life.begin(folder, draws)
    life.listen()
    life.end(kill=False)
    times = [when for when, word, _ in life.words if word == "saved"]
    return life.all("digest")[0], (times[-1] - times[0]) / (len(times) - 1)


def main(options: Options) -> None:
    """Kill, go on, compare, print, write what was asked for."""
    kills = min(options.kills, 3) if options.quick else options.kills
    chance = random.Random(options.seed)
    table: list[int] = []
    runs = same = lost = inside = 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        expected, chunk = undisturbed(Path(name) / "undisturbed", options.draws)
        folder, saved, resumes, done = Path(name) / "0", 0, 0, True
        while len(table) < kills or not done:
            resumes += not done
            life, born = Life.begin(folder, options.draws), time.monotonic()
            alive, early = True, chance.random() < 0.2
            if len(table) == kills:  # all are dead: this one may live
                alive = life.listen()
            elif early:  # before or while it goes on from where it was
                alive = life.listen(born + 2.5 * chance.random())
            else:
                alive = life.listen(word="saved")
                alive = alive and life.listen(time.monotonic() + 6 * chunk * chance.random())
            done = not alive
            life.end(kill=not done)
            if resumed := life.all("resumed"):
                # between a save and the word of it there is a moment: resumed can be more
                lost += max(0, saved - int(resumed[0]))
                saved = max(saved, int(resumed[0]))
            saved = max([saved, *map(int, life.all("saved"))])
            if done:
                runs, same = runs + 1, same + (life.all("digest") == [expected])
                folder, saved = Path(name) / str(runs), 0
            else:
                unfinished = sum(1 for _ in folder.rglob("unfinished-*"))
                inside += unfinished > 0
                table.append(saved)
                where = ", inside a save" if unfinished else ""
                begun = resumed[0] if resumed else "none"  # killed before it got there
                print(f"kill {len(table):2d}: run {runs}, from row {begun:>4}, ", end="")
                print(f"saved up to {saved:4d}{where}", flush=True)
    results = {
        "kills": len(table),
        "kills_inside_a_save": inside,
        "resumes": resumes,
        "runs": runs,
        "runs_bit_identical": same,
        "rows_lost_past_the_last_checkpoint": lost,
        "seconds_a_chunk": chunk,
        "seconds": time.monotonic() - began,
    }
    for name, value in results.items():
        print(f"{name.replace('_', ' '):>36}: {value:.4g}")
    save(results, options.json)
    assert same == runs and lost == 0


if __name__ == "__main__":
    main(tyro.cli(Options))
