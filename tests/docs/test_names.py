"""What the namespaces export, and what the distribution says of itself."""

import ast
import importlib
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from beartype.door import is_bearable

import boltzax as bx
from boltzax.core import TYPED

ROOT = Path(__file__).parents[2]
NAMESPACES = [
    "boltzax", "boltzax.core", "boltzax.declare", "boltzax.compile", "boltzax.sample",
    "boltzax.observe", "boltzax.report", "boltzax.report.plot", "boltzax.interfaces",
    "boltzax.meanfield", "boltzax.models", "boltzax.numerics", "boltzax.temperature",
    "boltzax.theory", "boltzax.testing", "boltzax.cases", "boltzax.degrade",
    "boltzax.channels",
]  # fmt: skip
EXTRAS = {"plot", "to_xarray", "ZarrSink", "open_zarr", "load_trace"}
FOLDERS = {"cases", "channels", "degrade", "interfaces", "meanfield", "theory"}
LAZY = {*EXTRAS, *FOLDERS, "save", "load", "testing"}
"""Of the top level, beside the observables."""


def written(module) -> set[str]:
    """The names that a file exports in the source: `X as X`."""
    tree = ast.parse(Path(module.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    aliases = [alias for node in imports for alias in node.names]
    return {a.asname for a in aliases if a.asname == a.name and not a.asname.startswith("_")}


@pytest.mark.parametrize("name", NAMESPACES)
def test_all_and_dir_are_what_the_source_exports(name):
    module = importlib.import_module(name)
    lazy = {"boltzax": LAZY, "boltzax.report": EXTRAS}.get(name, set())
    assert set(module.__all__) == written(module) | lazy
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    assert not [each for each in dir(module) if each.startswith("_") and each != "__version__"]
    assert [each for each in module.__all__ if getattr(module, each, None) is None] == []


def test_star_import_gives_every_name():
    found: dict = {}
    exec("from boltzax import *", found)
    assert set(bx.__all__) <= set(found)


def test_the_version_and_the_addresses_are_told():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"Repository", "Documentation", "Changelog"} <= set(project["urls"])
    assert f"version: {bx.__version__}" in (ROOT / "CITATION.cff").read_text()


NOTEBOOK = """
import sys, types
shell = type("ZMQInteractiveShell", (), {})
sys.modules["ipykernel.zmqshell"] = types.ModuleType("ipykernel.zmqshell")
sys.modules["IPython"] = types.ModuleType("IPython")
sys.modules["IPython"].get_ipython = shell
sys.modules["ipywidgets"] = None
import boltzax
print(*boltzax.__all__)
print(*dir(boltzax))
print(*sys.modules)
"""
"""A notebook without ipywidgets, in which boltzax is imported and nothing of it used."""

SLOW = {"matplotlib", "xarray", "zarr", "orbax", "optax", "optimistix", "hypothesis"}
SLOW |= {"scipy.optimize", "scipy.stats", "scipy.integrate"}
SLOW |= {
    "beartype",
    "flint",
    "matfree",
    "boltzax.observe",
    *(f"boltzax.{folder}" for folder in FOLDERS),
}
"""What costs a good part of a second to import, and is used by few programs."""


def test_a_fresh_import_in_a_notebook_shows_every_name_and_no_warning():
    """What numpyro imports warns there, and the warning names a path of the machine."""
    run = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True)
    assert run.returncode == 0
    assert "Warning" not in run.stderr
    exported, shown, imported = (set(line.split()) for line in run.stdout.splitlines())
    assert exported == set(bx.__all__)
    assert {*LAZY, "__version__"} <= shown
    assert SLOW & imported == set()


BASE = """
import sys
sys.modules["matplotlib"] = sys.modules["xarray"] = sys.modules["zarr"] = None
import boltzax as bx
bx.save("kept.npz", bx.Estimate.exact(1.0))
print(float(bx.load("kept.npz").value))
for name in sorted({names}):
    try:
        getattr(bx, name)
    except bx.DeclarationError as error:
        print(name, "mends" if "pip install" in str(error) else error)
"""
"""A program in an environment without the extras."""


def test_a_base_without_extras_saves_and_says_what_to_install(tmp_path):
    code = BASE.replace("{names}", repr(EXTRAS))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.stdout.split("\n")[:-1] == ["1.0", *(f"{name} mends" for name in sorted(EXTRAS))]


def test_the_types_of_every_checked_function_can_be_checked():
    """The check of a function is written at its first call; what it cannot be written for is told
    here."""
    names = [each.name for each in pkgutil.walk_packages(bx.__path__, "boltzax.")]
    for name in names:
        if "__main__" not in name:
            importlib.import_module(name)
    assert len(TYPED) > 50
    for rules in list(TYPED.values()):
        is_bearable(None, rules().returns)
