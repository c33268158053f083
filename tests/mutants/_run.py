"""Test mutants, each in the tree of one of the processes."""

import argparse
import concurrent.futures
import multiprocessing
import os
import shlex
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkItem, WorkResult

from ._tests import Reached, upto

ROOT = Path(__file__).parents[2]
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "--durations", "0", "-rfE")
LEAVE = (".git", ".venv", ".nox", ".coverage*", "_build", "*.sqlite", ".pytest_cache")


def run(database: WorkDB, arguments: argparse.Namespace) -> None:
    reached = Reached(arguments.coverage, arguments.times, ROOT)
    again = [item for item, result in database.completed_work_items if result.test_outcome is None]
    items = [*database.pending_work_items, *again]
    jobs = [(item, *_tests(item, reached, arguments.seconds)) for item in items]
    with tempfile.TemporaryDirectory() as folder, _workers(arguments.jobs, folder) as pool:
        tasks = {pool.submit(_test, *job): job[0] for job in jobs}
        count = Counter()
        for task in concurrent.futures.as_completed(tasks):
            item, result = tasks[task], task.result()
            database.set_result(item.job_id, result)
            count[result.test_outcome.value] += 1
            print(
                f"{count.total()}/{len(jobs)} {result.test_outcome.value}: {item.job_id}",
                flush=True,
            )


def _workers(count: int, folder: str) -> concurrent.futures.ProcessPoolExecutor:
    spawned = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(
        count, mp_context=spawned, initializer=_own_tree, initargs=(folder,)
    )


def _tests(item: WorkItem, reached: Reached, seconds: float) -> tuple[list[str], float]:
    spec = item.mutations[0]
    rows = range(spec.start_pos[0], spec.end_pos[0] + 1)
    tests, _ = upto(reached.tests(spec.module_path, rows), seconds, reached)
    return tests, 120.0 + 5 * sum(map(reached.time, tests))


def _own_tree(folder: str) -> None:
    """A copy of the tree for this process, which mutants may change.

    cosmic-ray writes each mutant into the file. Byte code is compared by hash, since a mutant can
    have the size and, to the second, the time of the file before it.
    """
    own = Path(folder) / str(os.getpid())
    shutil.copytree(ROOT, own, ignore=shutil.ignore_patterns(*LEAVE))
    os.chdir(own)
    import tests.conftest  # noqa: F401, puts the flags of XLA into the environment of what starts here

    os.environ["PYTHONPATH"] = str(own / "src")
    os.environ["PYTHONHASHSEED"] = "0"
    command = (sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode")
    os.spawnv(os.P_WAIT, sys.executable, [*command, "checked-hash", "src"])
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(own / ".jax-cache")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def _test(item: WorkItem, tests: list[str], timeout: float) -> WorkResult:
    if not tests:
        return WorkResult("normal", "no test reads this line", TestOutcome.SURVIVED)
    return mutate_and_test(item.mutations, shlex.join([*PYTEST, *tests]), timeout)
