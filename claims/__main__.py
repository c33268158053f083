"""Examine the claims, print their outcomes, and write the record, its page and its figure."""

import datetime
import math
import platform
import subprocess
import sys
import time
import traceback
import zlib
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro

import boltzax as bx

from . import ROWS
from ._page import forest, page
from ._record import Record, told
from ._row import Row

ROOT = Path(__file__).parents[1]


@dataclass
class Options:
    """What to examine, how hard, and what to write."""

    seed: int = 0
    """Seed of all measurements; the cases are the same for every seed."""
    quick: bool = True
    """`--no-quick`, or `--full`: four times as many cases, and four times the work in each."""
    full: bool = False
    """The opposite of `--quick`."""
    only: str = ""
    """Ids, such as A1,C5; a letter stands for all of its rows."""
    json: Path | None = None
    """Where to write the record, after each row. It keeps a quick and a full outcome of each."""
    resume: bool = False
    """Leave out the rows that the record has already, of this effort, seed and library."""
    page: Path | None = None
    """Where to write the page of the documentation."""
    figure: Path | None = None
    """Where to draw the outcomes."""


def main(options: Options) -> None:
    """Run the ledger."""
    effort = "full" if options.full or not options.quick else "quick"
    failed, record = [], Record.read(options.json)
    for row in ROWS:
        if not wanted(row.id, options.only):
            continue
        if options.resume and record.has(row.id, effort, options.seed, commit()):
            continue
        try:
            found = examined(row, options.seed, effort)
        except Exception:
            traceback.print_exc()
            print(f"{row.id:4} failed", flush=True)
            failed.append(row.id)
        else:
            print(line(found), flush=True)
            record = Record.read(options.json, record).plus(found)
            record.write(options.json)
    if options.page is not None:
        options.page.write_text(page(record.rows()))
    if options.figure is not None:
        forest(record.rows()).savefig(options.figure, dpi=120)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def wanted(name: str, only: str) -> bool:
    """Whether an id is asked for: "C5b" itself, "C5", or "C"."""
    asked = {each.strip() for each in only.split(",")}
    return not only or bool(asked & {name, name[:2], name[:1]})


def examined(row: Row, seed: int, effort: str) -> dict:
    """A row of the record. A full examination has random numbers of its own."""
    full = effort == "full"
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(row.id.encode()))
    key = jax.random.fold_in(key, 1) if full else key
    began, worked = time.perf_counter(), time.process_time()
    efforts = row.full if full else (1, 4)
    report = row.claim.examine(key=key, cases=row.cases * (4 if full else 1), efforts=efforts)
    numbers = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in report.row().items()
    }
    return {
        "id": row.id,
        **numbers,
        **told(row),
        "seed": seed,
        "effort": effort,
        "efforts": list(efforts),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "versions": f"boltzax {bx.__version__}, jax {jax.__version__}, "
        f"Python {platform.python_version()}",
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(time.process_time() - worked, 1),
    }


def line(row: dict) -> str:
    """A row as it is printed."""
    mark = "" if row["outcome"] == row["expected"] else f" (expected {row['expected']})"
    value, error, low, high = (
        math.nan if row[name] is None else row[name]
        for name in ("value", "standard_error", "low", "high")
    )
    return (
        f"{row['id']:4} {row['outcome']}{mark}: {value:.5g} ± {error:.2g} "
        f"in [{low:.4g}, {high:.4g}]; {row['case']}; {row['processor_seconds']:.0f} s"
    )


def commit() -> str:
    """The last commit that changed the library."""
    git = ("git", "-C", str(ROOT), "log", "-1", "--format=%h", "--", "src")
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main(tyro.cli(Options))
