"""What is made in one place only: estimates in `core`, stochastic loops in `sample`.

Each list below holds the places that are still elsewhere. It may only become shorter.
"""

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from .._source import ROOT, Source, dotted, planted, read_package, shrinking

ESTIMATES: dict[str, int] = {}
"""How often each module builds an `Estimate` by hand."""

LOOPS = {
    "boltzax.declare._empirical.permuted": 2,
    "boltzax.testing._stochastic._batches": 2,
}
"""The functions outside `sample` that loop over random numbers, and how many loops each holds."""

PRIMITIVES = {"scan", "while_loop", "fori_loop"}


def folder(module: str) -> str:
    """The folder of the package that a module lies in."""
    return ".".join(module.split(".")[1:2])


def full_name(source: Source, module: str, node: ast.AST) -> str:
    """What the name in a call stands for, through imports: `jax.lax.scan`."""
    head, _, rest = dotted(node).partition(".")
    origin, name = source.names[module].get(head, (head, None))
    return ".".join(part for part in (origin, name, rest) if part)


def calls(source: Source, module: str, node: ast.AST) -> Iterator[str]:
    """The full names of all that is called in a piece of a module."""
    inner = (part for part in ast.walk(node) if isinstance(part, ast.Call))
    yield from (full_name(source, module, part.func) for part in inner)


def estimates(source: Source) -> Counter:
    """How often each module outside `core` calls the class `Estimate`."""
    found = Counter()
    for module, tree in source.trees.items():
        if folder(module) != "core":
            names = [name.split(".")[-1] for name in calls(source, module, tree)]
            found[module] += names.count("Estimate")
    return +found


def outermost(node: ast.AST, path: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions and methods that lie in no other function, by their full names."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.FunctionDef):
            yield f"{path}.{part.name}", part
        elif isinstance(part, ast.ClassDef):
            yield from outermost(part, f"{path}.{part.name}")


def is_stochastic(source: Source, module: str, function: ast.FunctionDef) -> bool:
    """Whether a function, or one inside it, takes a key or draws random numbers."""
    inner = [part for part in ast.walk(function) if isinstance(part, ast.arg)]
    keys = [arg for arg in inner if arg.arg in ("key", "keys") or arg.arg.endswith("_key")]
    typed = [arg for arg in inner if arg.annotation and "Key" in ast.unparse(arg.annotation)]
    random = [n for n in calls(source, module, function) if n.startswith("jax.random.")]
    return bool(keys or typed or random)


def loops(source: Source) -> Counter:
    """How many loops each stochastic function outside `sample` holds."""
    found = Counter()
    for module, tree in source.trees.items():
        for name, function in outermost(tree, module):
            if folder(module) != "sample" and is_stochastic(source, module, function):
                held = [n.split(".")[-1] for n in calls(source, module, function)]
                found[name] += sum(n in PRIMITIVES for n in held)
    return +found


@pytest.fixture(scope="module")
def package() -> Source:
    return read_package(ROOT)


def test_estimates_are_built_in_core(package):
    assert list(shrinking(estimates(package), ESTIMATES)) == []


def test_stochastic_loops_are_in_sample(package):
    assert list(shrinking(loops(package), LOOPS)) == []


def test_a_list_tells_what_is_added_and_what_has_gone():
    assert list(shrinking({"a": 1}, {"a": 1})) == []
    assert list(shrinking({"a": 2}, {"a": 1})) == ["a: 2, and 1 at most"]
    assert list(shrinking({"b": 1}, {})) == ["b: 1, and 0 at most"]
    assert list(shrinking({}, {"a": 1})) == ["a: 0 are left of 1; make the list shorter"]


BUILT = {
    "by its name": "from ..core import Estimate\ndef f(): return Estimate(1, 2)\n",
    "by another name": "from ..core import Estimate as E\nx = E(1, 2)\n",
    "through the folder": "from .. import core\nx = core.Estimate(1, 2)\n",
}


@pytest.mark.parametrize("name", BUILT)
def test_an_estimate_built_elsewhere_is_caught(name):
    source = planted(core="", core___a="x = Estimate(1)\n", observe="", observe___a=BUILT[name])
    assert estimates(source) == {"p.observe._a": 1}


LOOPED = {
    "a function": "import jax\ndef f(x, *, key): return jax.lax.scan(g, x, None)\n",
    "a key by its type": "import jax\ndef f(x, k: PRNGKeyArray): jax.lax.while_loop(g, h, x)\n",
    "several keys": "from jax import lax\ndef f(keys): return lax.fori_loop(0, 9, g, keys)\n",
    "an inner function": "from jax.lax import scan\ndef f(x):\n"
    "    def step(x, key): return x, None\n    return scan(step, x, None)\n",
    "draws without a key of its own": "import jax\nfrom jax import random\ndef f(state):\n"
    "    return jax.lax.scan(lambda s, _: (random.split(s)[0], None), state, None)\n",
}


@pytest.mark.parametrize("name", LOOPED)
def test_a_stochastic_loop_elsewhere_is_caught(name):
    source = planted(sample="", sample___a=LOOPED[name], observe="", observe___a=LOOPED[name])
    assert loops(source) == {"p.observe._a.f": 1}


def test_a_loop_without_random_numbers_is_allowed():
    text = "import jax\ndef f(x): return jax.lax.scan(g, x, None)\n"
    assert loops(planted(observe="", observe___a=text)) == {}
    text = "import jax\nclass A:\n    def f(self, key): return jax.lax.scan(g, key, None)\n"
    assert loops(planted(observe="", observe___a=text)) == {"p.observe._a.A.f": 1}
