"""A package as text, for rules that are read from the source."""

import ast
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import boltzax

ROOT = Path(boltzax.__file__).parent


@dataclasses.dataclass(frozen=True)
class Source:
    """A package as text: module name -> source. `__init__` modules bear their package's name."""

    texts: dict[str, str]
    packages: frozenset[str]

    def __post_init__(self):
        trees = {name: ast.parse(text) for name, text in self.texts.items()}
        object.__setattr__(self, "trees", trees)
        object.__setattr__(self, "walked", {name: tuple(ast.walk(t)) for name, t in trees.items()})
        names = {name: dict(self._names(name)) for name in trees}
        object.__setattr__(self, "names", names)
        full = {name: frozenset(self._imported(name)) for name in trees}
        object.__setattr__(self, "full", full)

    def _names(self, module: str) -> Iterator[tuple[str, tuple[str, str | None]]]:
        """What each imported name of a module stands for: (module, name in it or None)."""
        for node in self.walked[module]:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname:
                        yield alias.asname, (alias.name, None)
                    else:
                        yield alias.name.split(".")[0], (alias.name.split(".")[0], None)
            elif isinstance(node, ast.ImportFrom):
                origin = self.origin(module, node)
                for alias in node.names:
                    whole = f"{origin}.{alias.name}"
                    target = (whole, None) if whole in self.trees else (origin, alias.name)
                    yield alias.asname or alias.name, target

    def origin(self, module: str, node: ast.ImportFrom) -> str:
        """The absolute name of the module in `from X import ...`."""
        if not node.level:
            return node.module or ""
        parts = module.split(".")
        up = node.level - (module in self.packages)
        parts = parts[: len(parts) - up]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def definition(self, module: str, path: str) -> tuple[str, ast.AST] | None:
        """Where a name seen in a module is defined in this package, through all re-exports."""
        head, _, rest = path.partition(".")
        if module not in self.trees:
            return None
        for node in self.trees[module].body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == head and not rest:
                return module, node
        if head not in self.names[module]:
            return None
        origin, name = self.names[module][head]
        full = ".".join(part for part in (name, rest) if part)
        while full.partition(".")[0] and f"{origin}.{full.partition('.')[0]}" in self.trees:
            step, _, full = full.partition(".")
            origin = f"{origin}.{step}"
        return self.definition(origin, full) if full else None

    def classes(self) -> Iterator[tuple[str, ast.ClassDef]]:
        for module, nodes in self.walked.items():
            yield from ((module, node) for node in nodes if isinstance(node, ast.ClassDef))

    def bases(self, module: str, node: ast.ClassDef) -> list[tuple[str, ast.ClassDef]]:
        """The direct bases that this package defines."""
        found = [self.definition(module, dotted(base)) for base in node.bases]
        return [f for f in found if f and isinstance(f[1], ast.ClassDef)]

    def ancestors(self, module: str, node: ast.ClassDef) -> list[tuple[str, ast.ClassDef]]:
        direct = self.bases(module, node)
        return direct + [more for base in direct for more in self.ancestors(*base)]

    def is_exception(self, module: str, node: ast.ClassDef) -> bool:
        family = [(module, node), *self.ancestors(module, node)]
        outer = [dotted(base) for _, member in family for base in member.bases]
        return any(re.search(r"(Error|Exception|Warning)$", base) for base in outer)

    def imported(self, module: str) -> frozenset[str]:
        """Full names of all that a module imports, wherever in it the import stands."""
        return self.full[module]

    def _imported(self, module: str) -> Iterator[str]:
        for node in self.walked[module]:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self.origin(module, node)
                yield from (f"{origin}.{alias.name}" for alias in node.names)

    def edges(self, module: str) -> set[str]:
        """The modules of this package that a module imports."""
        found = set()
        for name in self.imported(module):
            while name and name not in self.trees:
                name = name.rpartition(".")[0]
            found.add(name)
        return found - {"", module}


def dotted(node: ast.AST) -> str:
    node = node.value if isinstance(node, ast.Subscript) else node
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@functools.cache
def read_package(root: Path) -> Source:
    texts, packages = {}, set()
    for path in sorted(root.rglob("*.py")):
        name = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
        if path.stem == "__init__":
            name = name.removesuffix(".__init__")
            packages.add(name)
        texts[name] = path.read_text()
    return Source(texts, frozenset(packages))


def planted(**modules: str) -> Source:
    """A package `p`; `a__b` names the module p.a.b, and `a` is a package if anything lies in it."""
    texts = {"p": '"""P."""\n'}
    for name, text in modules.items():
        texts["p" if name == "init" else f"p.{name.replace('__', '.')}"] = text
    inner = {name.rpartition(".")[0] for name in texts} - {""}
    return Source({**dict.fromkeys(inner, '"""X."""\n'), **texts}, frozenset(inner | {"p"}))


def shrinking(found: Mapping[str, int], allowed: Mapping[str, int]) -> Iterator[str]:
    """Where the numbers found are not those of a list that may only become shorter."""
    for place in sorted({*found, *allowed}):
        now, before = found.get(place, 0), allowed.get(place, 0)
        if now > before:
            yield f"{place}: {now}, and {before} at most"
        elif now < before:
            yield f"{place}: {now} are left of {before}; make the list shorter"
