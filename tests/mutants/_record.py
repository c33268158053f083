"""The record of a session: rates of each folder with intervals, and the survivors with reasons."""

import datetime
import importlib.metadata
import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from cosmic_ray.work_item import TestOutcome, WorkItem, WorkResult
from scipy.stats import binomtest

INTERVAL = 0.95
KINDS = ("equivalent", "tolerance", "gap")
"""What a survivor is: the same function of its inputs; a setting whose exact value is a choice; or
a formula that no test guards."""


def write(done: Iterable[tuple[WorkItem, WorkResult]], file: Path, page: Path, seed: int) -> None:
    """Write the record, and the page about it.

    Kept of the file at hand: the samples of other seeds; of this seed the folders that the session
    does not hold, what was killed when drawn, and the reasons.
    """
    done = sorted((pair for pair in done if _told(pair[1])), key=lambda pair: pair[0].job_id)
    samples = json.loads(file.read_text()) if file and file.exists() else []
    old = next((one for one in samples if one["seed"] == seed), {"rates": {}, "survivors": []})
    reasons = {_place(row): (row["kind"], row["reason"]) for row in old["survivors"]}
    survivors = [_survivor(*pair) for pair in done if _lived(pair[1])]
    for row in survivors:
        row["kind"], row["reason"] = reasons.get(_place(row), ("", ""))
    first = {name: rate["first"] for name, rate in old["rates"].items()}
    folders = {item.mutations[0].module_path.parts[2] for item, _ in done}
    rates = old["rates"] | {name: _rate(name, done, survivors, first) for name in folders}
    others = [row for row in old["survivors"] if row["file"].split("/")[0] not in folders]
    record = {
        "date": datetime.date.today().isoformat(),
        "commit": _commit(),
        "tool": f"cosmic-ray {importlib.metadata.version('cosmic-ray')}",
        "seed": seed,
        "rates": dict(sorted(rates.items())),
        "survivors": sorted([*others, *survivors], key=lambda row: row["file"]),
    }
    for folder, rate in record["rates"].items():
        low, high = rate["interval"]
        print(f"{folder}: {rate['killed']} of {rate['mutants']}; first {low:.0%} to {high:.0%}")
    samples = sorted([*(one for one in samples if one["seed"] != seed), record], key=_seed)
    if file:
        file.write_text(json.dumps(samples, indent=1, ensure_ascii=False) + "\n")
    if page:
        before, _, _ = page.read_text().partition(MARK)
        page.write_text(before + "\n".join([f"{MARK}\n", *map(table, samples)]))


def _seed(record: dict) -> int:
    return record["seed"]


MARK = "<!-- written by `nox -s mutants` -->"


def table(record: dict) -> str:
    """The rates and the survivors of a record, in Markdown."""
    lines = [
        f"{record['date']}, commit `{record['commit']}`, {record['tool']}, seed {record['seed']}.",
        "",
        "| folder | changes | killed when drawn (95%) | killed now | of those not equivalent |",
        "|---|---|---|---|---|",
    ]
    for folder, rate in record["rates"].items():
        low, high = rate["interval"]
        total, killed, first = rate["mutants"], rate["killed"], rate["first"]
        of_others = killed / (total - rate["equivalent"])
        lines.append(
            f"| `{folder}` | {total} | {first}, {first / total:.0%} ({low:.0%} to {high:.0%}) "
            f"| {killed}, {killed / total:.0%} | {of_others:.0%} |"
        )
    lines += ["", "| survivor | becomes | kind | reason |", "|---|---|---|---|"]
    for row in record["survivors"]:
        before, after = (f"`` {row[side]} ``".replace("|", "\\|") for side in ("before", "after"))
        where = f"`{row['file']}`, `{row['definition']}`"
        lines.append(f"| {where}: {before} | {after} | {row['kind']} | {row['reason']} |")
    return "\n".join(lines) + "\n"


def _told(result: WorkResult) -> bool:
    """Whether tests could be run: else nothing is known, and the mutant is not counted."""
    return result.test_outcome in (TestOutcome.SURVIVED, TestOutcome.KILLED)


def _lived(result: WorkResult) -> bool:
    return result.test_outcome == TestOutcome.SURVIVED


def _survivor(item: WorkItem, result: WorkResult) -> dict[str, str]:
    """What was changed, as the lines of the difference that the tool gives."""
    spec = item.mutations[0]
    lines = (result.diff or "").split("\n")
    before, after = (
        next(
            (line[1:].strip() for line in lines if re.match(rf"\{sign}(?!\{sign}\{sign})", line)),
            "",
        )
        for sign in "-+"
    )
    name = "/".join(spec.module_path.parts[2:])
    return {
        "file": name,
        "definition": spec.definition_name or "",
        "before": before,
        "after": after,
    }


def _place(row: dict[str, str]) -> tuple[str, ...]:
    return row["file"], row["definition"], row["before"], row["after"]


def _rate(folder: str, done: list, survivors: list[dict[str, str]], first: dict) -> dict:
    """Counts of a folder. The interval is of `first`, the kills before tests were added for the
    survivors: those of a later run over the same sample are no estimate for other mutants."""
    of_folder = [
        result for item, result in done if item.mutations[0].module_path.parts[2] == folder
    ]
    lived = [row for row in survivors if row["file"].startswith(f"{folder}/")]
    killed = len(of_folder) - len(lived)
    before = first.get(folder, killed)
    interval = binomtest(before, len(of_folder)).proportion_ci(INTERVAL)
    counts = {kind: sum(row["kind"] == kind for row in lived) for kind in KINDS}
    return {
        "mutants": len(of_folder),
        "first": before,
        "killed": killed,
        "interval": [round(interval.low, 3), round(interval.high, 3)],
        **counts,
    }


def _commit() -> str:
    command = ("git", "describe", "--always", "--dirty")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
