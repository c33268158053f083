"""The house rules, read from the source; each rule is shown to catch a planted violation."""

import ast
import builtins
import dis
import importlib
import inspect
import re
import types
from collections.abc import Callable, Iterator

import pytest

import boltzax

from ._source import ROOT, Source, dotted, planted, read_package

MAY_OVERRIDE = {"__init__", "__post_init__", "__check_init__", "__repr__"}
HOMES = {
    "numpyro.infer": "sample",
    "numpyro.diagnostics": "core",
    "numpyro.distributions": "declare",
    "flint": "numerics",
    "tqdm": "sample",
    "xarray": "report",
    "orbax": "sample",
    "blackjax": "sample",
    "zarr": "report",
    "optax": "numerics",
    "optimistix": "numerics",
    "matfree": "numerics",
}
"""Outside libraries, and the one folder that imports each."""


def _methods(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}


def _is_abstract(function: ast.FunctionDef) -> bool:
    return any(dotted(mark).split(".")[-1] == "abstractmethod" for mark in function.decorator_list)


def _abstract_members(node: ast.ClassDef) -> set[str]:
    methods = {name for name, function in _methods(node).items() if _is_abstract(function)}
    fields = {
        part.target.id
        for part in node.body
        if isinstance(part, ast.AnnAssign)
        and isinstance(part.target, ast.Name)
        and re.match(r"(eqx\.|equinox\.)?Abstract(Class)?Var\b", ast.unparse(part.annotation))
    }
    return methods | fields


def _named_abstract(node: ast.ClassDef) -> bool:
    return node.name.lstrip("_").startswith("Abstract")


def abstract_or_final(source: Source) -> Iterator[str]:
    """A class is `Abstract...` and has abstract members, or is never subclassed."""
    for module, node in source.classes():
        if source.is_exception(module, node):
            continue
        for _, base in source.bases(module, node):
            if not _named_abstract(base):
                yield f"{module}.{node.name} subclasses {base.name}, which is final"
        family = [(module, node), *source.ancestors(module, node)]
        has_abstract = any(_abstract_members(member) for _, member in family)
        if _named_abstract(node) and not has_abstract:
            yield f"{module}.{node.name} has no abstract member"
        if not _named_abstract(node) and _abstract_members(node):
            yield f"{module}.{node.name} has abstract members, but is not named Abstract..."


def no_override(source: Source) -> Iterator[str]:
    """A method that has a body is never written again in a subclass."""
    for module, node in source.classes():
        own = {n for n, function in _methods(node).items() if n not in MAY_OVERRIDE}
        for _, base in source.ancestors(module, node):
            written = {n for n, function in _methods(base).items() if not _is_abstract(function)}
            for name in sorted(own & written):
                yield f"{module}.{node.name}.{name} overrides {base.name}.{name}"


def no_cycles(source: Source) -> Iterator[str]:
    """No module imports itself by way of others, nor inside functions."""
    edges = {module: source.edges(module) for module in source.trees}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> Iterator[str]:
        if module in path:
            yield " -> ".join([*path[path.index(module) :], module])
        elif module not in done:
            for other in sorted(edges[module]):
                yield from visit(other, (*path, module))
            done.add(module)

    for module in sorted(edges):
        yield from visit(module, ())


def no_private_jax(source: Source) -> Iterator[str]:
    """`jax._src` is not ours to use."""
    for module, text in source.texts.items():
        if re.search(r"\bjax\._src\b|from\s+jax\s+import\s+_src\b", text):
            yield f"{module} uses jax._src"


def short_files(source: Source) -> Iterator[str]:
    """One idea a file, and at most 400 lines."""
    for module, text in source.texts.items():
        if len(text.splitlines()) > 400:
            yield f"{module} has {len(text.splitlines())} lines"


def private_modules(source: Source) -> Iterator[str]:
    """A module whose name has no leading underscore only re-exports."""
    for module, tree in source.trees.items():
        if module.rpartition(".")[2].startswith("_"):
            continue
        for node in tree.body:
            assigned = node.targets if isinstance(node, ast.Assign) else []
            names = {dotted(target) for target in assigned} or {getattr(node, "name", "")}
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            allowed = names <= {"__all__", "__version__", "__getattr__", "__dir__"}
            imports = node.body if isinstance(node, ast.If) else [node]  # for type checkers alone
            if not (
                text or allowed or all(isinstance(n, ast.Import | ast.ImportFrom) for n in imports)
            ):
                yield f"{module} line {node.lineno} defines something: put it into a _file.py"


def private_imports(source: Source) -> Iterator[str]:
    """A `_file.py` is imported from its own folder only."""
    for module in source.trees:
        folder = module if module in source.packages else module.rpartition(".")[0]
        for other in sorted(source.edges(module)):
            home, _, name = other.rpartition(".")
            if name.startswith("_") and home != folder:
                yield f"{module} imports {other}: import it from {home}"


def documented(source: Source) -> Iterator[str]:
    """Every module, and every class and function that an `__init__` exports, has a docstring."""
    for module, tree in source.trees.items():
        if not ast.get_docstring(tree):
            yield f"{module} has no docstring"
    for package in sorted(source.packages):
        for name in source.names[package]:
            found = source.definition(package, name)
            if found and not name.startswith("_") and not ast.get_docstring(found[1]):
                yield f"{package}.{name} has no docstring"


def one_home(source: Source) -> Iterator[str]:
    """An outside library is imported in one folder, behind our types."""
    for library, folder in HOMES.items():
        users = sorted(
            module
            for module in source.trees
            if any(f"{name}.".startswith(f"{library}.") for name in source.imported(module))
        )
        for user in users:
            if user.split(".")[1:2] != [folder]:
                yield f"{library} is imported in {user}, not in {folder}"
    for module in source.trees:
        if "numpyro" in source.imported(module):
            yield f"{module} imports all of numpyro"


RULES: list[Callable[[Source], Iterator[str]]] = [
    abstract_or_final,
    no_override,
    no_cycles,
    no_private_jax,
    short_files,
    private_modules,
    private_imports,
    documented,
    one_home,
]


@pytest.fixture(scope="module")
def package() -> Source:
    return read_package(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule, package):
    assert list(rule(package)) == []


def test_public_names_have_docstrings():
    """Also the names that are loaded when first used; what is not ours is documented elsewhere."""
    public = {name: getattr(boltzax, name) for name in dir(boltzax) if not name.startswith("_")}
    homes = {name: getattr(value, "__module__", None) or "" for name, value in public.items()}
    ours = {n: value for n, value in public.items() if homes[n].startswith("boltzax")}
    assert [name for name, value in ours.items() if not inspect.getdoc(value)] == []


CLEAN = planted(
    init='"""P."""\nfrom .core import Thing as Thing\n',
    core='"""C."""\nfrom ._base import AbstractThing as AbstractThing\n'
    "from ._thing import Thing as Thing\n",
    core___base='"""B."""\nclass AbstractThing:\n    """A."""\n    size: eqx.AbstractVar[int]\n'
    "    @abc.abstractmethod\n    def act(self): ...\n    def twice(self): return self.act() * 2\n",
    core___thing='"""T."""\nfrom numpyro import diagnostics\nfrom ._base import AbstractThing\n'
    'class Thing(AbstractThing):\n    """T."""\n    def act(self): return 1\n'
    "class ThingError(ValueError):\n    pass\nclass WorseError(ThingError):\n    pass\n",
)

VIOLATIONS = {
    "final class subclassed": (
        abstract_or_final,
        planted(_a="class A: pass\n", _b="from ._a import A\nclass B(A): pass\n"),
    ),
    "final class subclassed through a re-export": (
        abstract_or_final,
        planted(
            core="from ._a import A as A\n",
            core___a="class A: pass\n",
            _b="from p import core\nclass B(core.A): pass\n",
        ),
    ),
    "final generic class subclassed": (
        abstract_or_final,
        planted(_a="class A: pass\nclass B(A[int]): pass\n"),
    ),
    "abstract in name only": (abstract_or_final, planted(_a="class AbstractA: pass\n")),
    "abstract but for the name": (
        abstract_or_final,
        planted(_a="class A:\n    x: AbstractVar[int]\n"),
    ),
    "method overridden": (
        no_override,
        planted(
            _a="class AbstractA:\n    def go(self): return 1\n",
            _b="from ._a import AbstractA\nclass B(AbstractA):\n    def go(self): return 2\n",
        ),
    ),
    "grandparent's method overridden": (
        no_override,
        planted(
            _a="class AbstractA:\n    def go(self): return 1\nclass AbstractB(AbstractA): pass\n"
            "class C(AbstractB):\n    @property\n    def go(self): return 2\n",
        ),
    ),
    "two modules in a cycle": (no_cycles, planted(_a="from . import _b\n", _b="import p._a\n")),
    "a cycle hidden in a function": (
        no_cycles,
        planted(_a="def f():\n    from ._b import g\n", _b="from ._a import f\n"),
    ),
    "a module that imports from its own package": (
        no_cycles,
        planted(core="from ._a import x as x\n", core___a="from p.core import x\n"),
    ),
    "jax._src imported": (no_private_jax, planted(_a="from jax._src import core\n")),
    "jax._src from jax": (no_private_jax, planted(_a="from jax import _src\n")),
    "jax._src as an attribute": (no_private_jax, planted(_a="import jax\njax._src.core\n")),
    "401 lines": (short_files, planted(_a="x = 1\n" * 401)),
    "public module with a function": (private_modules, planted(a='"""A."""\ndef f(): pass\n')),
    "public module with a constant": (private_modules, planted(a='"""A."""\nX = 1\n')),
    "private module of another folder": (
        private_imports,
        planted(core="", core___a="x = 1\n", other="", other___b="from p.core._a import x\n"),
    ),
    "module without docstring": (documented, planted(_a="x = 1\n")),
    "export without docstring": (
        documented,
        planted(init='"""P."""\nfrom ._a import f as f\n', _a='"""A."""\ndef f(): pass\n'),
    ),
    "library in two folders": (
        one_home,
        planted(sample="", sample___a="import tqdm\n", core="", core___b="from tqdm import tqdm\n"),
    ),
    "library in the wrong folder": (
        one_home,
        planted(core="", core___a="from numpyro.infer.hmc import hmc\n"),
    ),
    "library inside a function": (
        one_home,
        planted(declare="", declare___a="def f():\n    from xarray import Dataset\n"),
    ),
    "all of numpyro": (one_home, planted(_a="import numpyro\n")),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_clean_package_passes(rule):
    assert list(rule(CLEAN)) == []


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_planted_violation_is_caught(name):
    rule, source = VIOLATIONS[name]
    assert list(rule(source))


def test_every_rule_has_a_planted_violation():
    assert {rule for rule, _ in VIOLATIONS.values()} == set(RULES)


def undefined_names(code: types.CodeType, known: set[str]) -> set[str]:
    """Names that functions look up as globals, and that are none."""
    found = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL" and instruction.argval not in known:
            found.add(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found |= undefined_names(inner, known)
    return found


def test_every_global_name_is_defined(package):
    """The words of shapes in annotations keep linters from saying so."""
    planted = compile("def f(x):\n    return lambda: sin(x)", "planted", "exec")
    assert undefined_names(planted, {"cos"}) == {"sin"}
    for module in package.texts:
        loaded = importlib.import_module(module)
        code = compile(package.texts[module], module, "exec")
        missing = undefined_names(code, set(vars(loaded)) | set(vars(builtins)))
        assert not missing, f"{module}: {missing}"
