"""Which tests read a line, and how long each takes: from a run of the tests under coverage."""

import re
import xml.etree.ElementTree
from collections.abc import Iterable
from pathlib import Path

import coverage

SHORT = 1.0
"""Seconds of a test that the record does not know."""


class Reached:
    """The tests that read each line of the source.

    A program compiled once is traced once, so that only the first test to need it reads its lines:
    the list of a line can be too short, and then a mutant lives on that another test would kill.
    """

    def __init__(self, data: Path, times: Path, root: Path):
        self.data = coverage.CoverageData(str(data))
        self.data.read()
        self.names = {Path(name).resolve().as_posix(): name for name in self.data.measured_files()}
        self.root = root
        self.seconds: dict[str, float] = {}
        self.functions: dict[str, set[str]] = {}
        for case in xml.etree.ElementTree.parse(times).iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            self.seconds[name] = float(case.get("time") or 0.0)

    def _stands(self, test: str) -> bool:
        """Whether the function of a test is still there: the record can be older than the tests."""
        file, _, name = test.partition("::")
        if file not in self.functions:
            text = (self.root / file).read_text() if (self.root / file).exists() else ""
            self.functions[file] = set(re.findall(r"^ *def (test_?\w*)", text, re.MULTILINE))
        return name.partition("[")[0].rpartition("::")[2] in self.functions[file]

    def time(self, test: str) -> float:
        file, _, name = test.partition("::")
        module = file.removesuffix(".py").replace("/", ".")
        if not name:
            return sum(time for of, time in self.seconds.items() if of.startswith(f"{module}."))
        return self.seconds.get(f"{module}.{name}", SHORT)

    def files(self, path: Path) -> list[str]:
        """The files of tests of the same folder, one of which reads any line of this file."""
        tests = self.tests(path, None)
        return sorted({test.partition("::")[0] for test in tests if _own(test, path)})

    def tests(self, path: Path, rows: Iterable[int] | None) -> list[str]:
        """The tests that read any of these lines (all without), those of the folder first, then the
        short ones."""
        name = self.names.get((self.root / path).resolve().as_posix())
        if name is None:
            return []
        lines = self.data.contexts_by_lineno(name)
        found = {c for row in (lines if rows is None else rows) for c in lines.get(row, ()) if c}
        tests = {context.rpartition("|")[0] for context in found}
        tests = {test for test in tests if self._stands(test)}
        return sorted(tests, key=lambda test: (not _own(test, path), self.time(test), test))


def _own(test: str, path: Path) -> bool:
    return test.startswith(f"tests/{path.parent.name}/")


def upto(tests: list[str], seconds: float, reached: Reached) -> list[str]:
    """The first of the tests, for as long as their times sum to no more than this."""
    total = 0.0
    for i, test in enumerate(tests):
        total += reached.time(test)
        if i and total > seconds:
            return tests[:i]
    return tests
