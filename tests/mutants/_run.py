"""Test mutants, each in the tree of one of the processes."""

import argparse
import ast
import concurrent.futures
import difflib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from shutil import copytree, ignore_patterns

from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import TestOutcome, WorkItem, WorkResult

from ._child import LIBRARIES, pytest_in
from ._tests import Reached, upto

ROOT = Path(__file__).parents[2]
OPTIONS = ["-x", "-q", "-n", "0", "--durations", "0", "-rfE", "-p", "no:cacheprovider"]
LEAVE = (".git", ".venv", ".nox", ".coverage*", "_build", "*.sqlite", ".pytest_cache")
FAILED = (1, 2)
"""Statuses of pytest: a test failed, or could not be imported. Others but 0 are our mistakes."""


def run(database: WorkDB, arguments: argparse.Namespace) -> None:
    """Test what the session has not tested yet, and keep each result in it."""
    reached = Reached(arguments.coverage, arguments.times, ROOT)
    again = [item for item, result in database.completed_work_items if result.test_outcome is None]
    items = [*database.pending_work_items, *again]
    random.Random(arguments.seed).shuffle(items)  # a run that is cut has tested a sample too
    jobs = [(item, *_tests(item, reached, arguments.seconds)) for item in items]
    with tempfile.TemporaryDirectory() as folder, _workers(arguments.jobs, folder) as pool:
        tasks = {pool.submit(_test, *job): job[0] for job in jobs}
        count = Counter()
        for task in concurrent.futures.as_completed(tasks):
            item, result = tasks[task], task.result()
            database.set_result(item.job_id, result)
            count[result.test_outcome.value] += 1
            done = f"{count.total()}/{len(jobs)} {result.test_outcome.value}"
            print(f"{done}: {item.job_id}", flush=True)


def _workers(count: int, folder: str) -> concurrent.futures.ProcessPoolExecutor:
    spawned = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(
        count, mp_context=spawned, initializer=_own_tree, initargs=(folder,)
    )


def _tests(item: WorkItem, reached: Reached, seconds: float) -> tuple[list[str], float]:
    spec = item.mutations[0]
    rows = range(spec.start_pos[0], spec.end_pos[0] + 1)
    found = reached.tests(spec.module_path, rows)
    # a default value is read at import: the tests of its function; a constant of the file: all
    # tests of the files with a test that reads a line of it
    found = found or reached.tests(spec.module_path, _rows_of_function(spec.module_path, rows[0]))
    found = found or reached.files(spec.module_path)
    tests = upto(found, seconds, reached)
    return tests, 120.0 + 5 * sum(map(reached.time, tests))


def _rows_of_function(path: Path, row: int) -> range:
    """The lines of the function of a line, none outside all."""
    nodes = ast.walk(ast.parse((ROOT / path).read_text()))
    spans = [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in nodes
        if isinstance(node, ast.FunctionDef)
    ]
    return min((span for span in spans if row in span), key=len, default=range(0))


def _own_tree(folder: str) -> None:
    """A copy of the tree for this process, which mutants may change.

    Byte code is compared by hash, since a mutant, which is written into its file, can have the size
    and, to the second, the time of the file before it.
    """
    own = Path(folder) / str(os.getpid())
    copytree(ROOT, own, ignore=ignore_patterns(*LEAVE))
    os.chdir(own)
    import tests.conftest  # noqa: F401, puts the flags of XLA into the environment of what starts here

    os.environ["PYTHONPATH"] = str(own / "src")
    os.environ["PYTHONHASHSEED"] = "0"
    command = (sys.executable, "-m", "compileall", "-q", "-f", "--invalidation-mode")
    os.spawnv(os.P_WAIT, sys.executable, [*command, "checked-hash", "src"])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(own / ".jax-cache")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    multiprocessing.get_context("forkserver").set_forkserver_preload([*LIBRARIES])


def _test(item: WorkItem, tests: list[str], timeout: float) -> WorkResult:
    spec = item.mutations[0]
    operator = get_operator(spec.operator_name)()
    with use_mutation(spec.module_path, operator, spec.occurrence) as (before, after):
        outcome, output = _outcome(tests, timeout)
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=0)
    return WorkResult("normal", output, outcome, "\n".join(lines))


def _outcome(tests: list[str], timeout: float) -> tuple[TestOutcome, str]:
    if not tests:
        return TestOutcome.SURVIVED, "no test reads this line"
    tree, output = os.getcwd(), Path("mutant.log")
    forked = multiprocessing.get_context("forkserver")
    process = forked.Process(target=pytest_in, args=(tree, [*OPTIONS, *tests], str(output)))
    process.start()
    process.join(timeout)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return TestOutcome.KILLED, "timeout"
    text = output.read_text(errors="replace")
    if process.exitcode == 0:
        return TestOutcome.SURVIVED, text
    failed = process.exitcode in FAILED or process.exitcode < 0 or "ERROR collecting" in text
    return (TestOutcome.KILLED if failed else TestOutcome.INCOMPETENT), text
