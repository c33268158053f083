"""Draw mutants, run the tests of each, and record which lived.

    python -m tests.mutants --samples 60 --seed 0 --json docs/figures/mutants.json

A session that was cut is resumed from its file, one of each seed. The record keeps the samples of
other seeds and the folders that the session does not hold. Nothing is changed in the tree it is
started from.
"""

import argparse
import random
from pathlib import Path

import attrs
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkItem, WorkResult

from ._formulas import FOLDERS, mutants
from ._record import write
from ._run import ROOT, run

SOURCE = Path("src/boltzax")


def main() -> None:
    arguments = _arguments()
    session = arguments.session or f".mutants-{arguments.seed}.sqlite"
    with use_db(session, WorkDB.Mode.create) as database:
        _draw(database, arguments)
        if arguments.again:
            _forget_survivors(database)
        run(database, arguments)
        write(database.completed_work_items, arguments.json, arguments.page, arguments.seed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--session", help="resumed if it exists; by default .mutants-SEED.sqlite")
    parser.add_argument("--coverage", type=Path, default=Path(".coverage"))
    parser.add_argument("--times", type=Path, default=Path(".coverage.xml"))
    parser.add_argument("--folders", nargs="+", default=FOLDERS, choices=FOLDERS)
    parser.add_argument("--samples", type=int, default=60, help="mutants of each folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests for one mutant")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="test the survivors once more")
    parser.add_argument("--json", type=Path, help="record")
    parser.add_argument("--page", type=Path, help="table of the record")
    return parser.parse_args()


def _draw(database: WorkDB, arguments: argparse.Namespace) -> None:
    """At least one mutant of each file, and of each file in proportion to its mutants; of folders
    of which the session has none."""
    drawn = {item.mutations[0].module_path.parts[2] for item in database.work_items}
    for folder in arguments.folders:
        if folder in drawn:
            continue
        random_numbers = random.Random(arguments.seed)
        paths = sorted((ROOT / SOURCE / folder).glob("_[!_]*.py"))
        of_files = {path: found for path in paths if (found := mutants(path))}
        total = sum(map(len, of_files.values()))
        print(f"{folder}: {total} mutants of {len(of_files)} files", flush=True)
        for path, found in of_files.items():
            share = arguments.samples * len(found) / total
            count = max(1, int(share) + (random_numbers.random() < share % 1))
            for spec in random_numbers.sample(found, min(count, len(found))):
                own = attrs.evolve(spec, module_path=path.relative_to(ROOT))
                database.add_work_item(WorkItem.single(_name(own), own))


def _name(spec: MutationSpec) -> str:
    place = f"{spec.module_path.relative_to(SOURCE)}:{spec.start_pos[0]}"
    return f"{place}:{spec.start_pos[1]}:{spec.operator_name}:{spec.occurrence}"


def _forget_survivors(database: WorkDB) -> None:
    for item, result in database.completed_work_items:
        if result.test_outcome == TestOutcome.SURVIVED:
            database.set_result(item.job_id, WorkResult("no-test"))


if __name__ == "__main__":
    main()
