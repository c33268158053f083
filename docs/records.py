"""Recorded results: which command made each file of `docs/figures`, at which commit.

    python docs/records.py                 every record, and whether its program has changed since
    python docs/records.py NAME ...        run the programs again and store what they give

Runs that take minutes to hours are not repeated when the documentation is built. Their results lie
in `docs/figures`, and `records.json` there says how they were made. A record is stale if its
program, or a file of the same folder that the program imports, has changed since its commit. As an
extension of Sphinx this file ends each page that reads a record with a table of them.
"""

import ast
import datetime
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

TREE = Path(__file__).parents[1]
FIGURES = TREE / "docs" / "figures"
MANIFEST = FIGURES / "records.json"
LIBRARIES = ("jax", "equinox", "numpyro", "numpy")
PROGRAMS = ("examples", "studies")


class Record(TypedDict):
    """How the files of one record were made; `versions` is empty where it was not noted."""

    command: str
    files: list[str]
    commit: str
    date: str
    versions: dict[str, str]


def records() -> dict[str, Record]:
    """All records by name."""
    return json.loads(MANIFEST.read_text())


def sources(command: str) -> set[str]:
    """The program of a command, and the files of the tree that it imports, but for the library."""
    words = shlex.split(command)
    module = words[1] == "-m"
    program = words[2].replace(".", "/") if module else words[1]
    if (TREE / program).is_dir():
        new = {str(path.relative_to(TREE)) for path in (TREE / program).glob("*.py")}
    else:
        new = {program + ".py" if module else program}
    if program == "docs/gallery.py":
        new |= {
            str(p.relative_to(TREE)) for folder in PROGRAMS for p in TREE.glob(f"{folder}/*.py")
        }
    found: set[str] = set()
    while new:
        found |= new
        new = {other for file in new for other in _imported(file)} - found
    return found


def _imported(file: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((TREE / file).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            *folder, stem = name.split(".")
            for home in [Path(file).parent, *map(Path, folder[:1])]:
                if (TREE / home / f"{stem}.py").exists():
                    yield str(home / f"{stem}.py")


def changed(record: Record) -> list[str] | None:
    """Files of the program that changed since the record's commit; None where git cannot tell."""
    files = sorted(sources(record["command"]))
    told = _git("diff", "--name-only", record["commit"], "--", *files)
    return None if told is None else told.split()


def _git(*arguments: str) -> str | None:
    try:
        made = subprocess.run(["git", *arguments], cwd=TREE, capture_output=True, text=True)
    except OSError:
        return None
    return made.stdout.strip() if made.returncode == 0 else None


def status(record: Record) -> str:
    """In words, for the command line."""
    files = changed(record)
    if files is None:
        return "unknown: its commit is not in this copy"
    return f"stale: {', '.join(files)} changed" if files else "as recorded"


def record_again(name: str) -> None:
    """Run the command of a record, and note the commit, the date and the versions."""
    if _git("status", "--porcelain", "--untracked-files=no"):
        raise SystemExit("commit first: a record names the commit that it was made at")
    everything = records()
    record = everything[name]
    print(record["command"], flush=True)
    subprocess.run([sys.executable, *shlex.split(record["command"])[1:]], cwd=TREE, check=True)
    everything[name] = record | {
        "commit": _git("rev-parse", "--short=10", "HEAD"),
        "date": datetime.date.today().isoformat(),
        "versions": {library: version(library) for library in LIBRARIES},
    }
    MANIFEST.write_text(json.dumps(everything, indent=1) + "\n")


def table(text: str) -> list[str]:
    """The section on records that ends a page, or nothing."""
    named = set(re.findall(r"figures/((?:\w+/)?\w+\.(?:json|png))", text))
    rows = [record for record in records().values() if named & set(record["files"])]
    if not rows:
        return []
    lines = ["", "## Recorded results", ""]
    lines += ["| made by | commit | date |", "|---|---|---|"]
    for record in rows:
        lines.append(f"| `{record['command']}` | `{record['commit'][:7]}` | {record['date']} |")
    return [*lines, ""]


def _append(app, docname: str, source: list[str]) -> None:
    if docname != "gallery":
        source[0] += "\n".join(table(source[0]))


def setup(app) -> dict[str, bool]:
    """As an extension of Sphinx."""
    app.connect("source-read", _append)
    return {"parallel_read_safe": True}


def main(arguments: list[str]) -> None:
    """The command line."""
    for name in arguments:
        record_again(name)
    if not arguments:
        for name, record in records().items():
            print(f"{name:20} {record['commit'][:7]} {record['date']} {status(record)}")


if __name__ == "__main__":
    main(sys.argv[1:])
