"""Examine the claims, print their outcomes, and write the record, its page and its figure."""

import datetime
import json
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
from ._row import Row

ROOT = Path(__file__).parents[1]


@dataclass
class Options:
    """What to examine, how hard, and what to write."""

    seed: int = 0
    """Seed of all measurements; the cases are the same for every seed."""
    quick: bool = True
    """`--no-quick`, or `--full`: four times as many cases, and more work where one is undecided."""
    full: bool = False
    """The opposite of `--quick`."""
    only: str = ""
    """Ids, such as A1,C5; a letter stands for all of its rows."""
    json: Path | None = None
    """Where to write the record. Rows that were not examined stay as they are in the file."""
    page: Path | None = None
    """Where to write the page of the documentation."""
    figure: Path | None = None
    """Where to draw the outcomes."""


def main(options: Options) -> None:
    """Run the ledger."""
    full = options.full or not options.quick
    failed, rows = [], {row["id"]: row for row in old_rows(options.json)}
    for row in ROWS:
        if not wanted(row.id, options.only):
            continue
        try:
            rows[row.id] = examined(row, options.seed, full)
        except Exception:
            traceback.print_exc()
            print(f"{row.id:4} failed", flush=True)
            failed.append(row.id)
        else:
            print(line(rows[row.id]), flush=True)
            record = {"rows": [rows[each.id] | told(each) for each in ROWS if each.id in rows]}
            write(record, options)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def write(record: dict, options: Options) -> None:
    """The files that were asked for: after each row, so that a run can be stopped."""
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    if options.page is not None:
        options.page.write_text(page(record))
    if options.figure is not None:
        forest(record["rows"]).savefig(options.figure, dpi=120)


def wanted(name: str, only: str) -> bool:
    """Whether an id is asked for: "C5b" itself, "C5", or "C"."""
    asked = {each.strip() for each in only.split(",")}
    return not only or bool(asked & {name, name[:2], name[:1]})


def examined(row: Row, seed: int, full: bool) -> dict:
    """A row of the record."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(row.id.encode()))
    began, worked = time.perf_counter(), time.process_time()
    efforts = (1, 4, 16) if full else (1, 4)
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
        "effort": "full" if full else "quick",
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "versions": f"boltzax {bx.__version__}, jax {jax.__version__}, "
        f"Python {platform.python_version()}",
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(time.process_time() - worked, 1),
    }


def told(row: Row) -> dict:
    """What is known of a row without a measurement."""
    return {"expected": row.expected, "page": row.page, "missing": row.missing}


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


def old_rows(path: Path | None) -> list[dict]:
    """The rows that a file holds already."""
    return json.loads(path.read_text())["rows"] if path and path.exists() else []


def commit() -> str:
    """The last commit that changed the library."""
    git = ("git", "-C", str(ROOT), "log", "-1", "--format=%h", "--", "src")
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main(tyro.cli(Options))
