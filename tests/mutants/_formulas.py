"""The places of a file that compute numbers, and the mutants made of them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.work_item import MutationSpec

FOLDERS = ("compile", "observe", "theory", "channels", "degrade")

OPERATORS = {
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Pow_Mul", "FloorDiv_Mul", "Mod_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("BitAnd_BitOr", "BitOr_BitAnd")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "GtE_Lt", "Gt_LtE", "LtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot")),
    *("ReplaceComparisonOperator_IsNot_Is", "ReplaceAndWithOr", "ReplaceOrWithAnd", "AddNot"),
    *(f"ReplaceUnaryOperator_Delete_{sign}" for sign in ("USub", "Not", "Invert")),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "NumberReplacer"),
    *("ZeroIterationForLoop", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
}
"""One opposite, or one neighbour, of each operator. cosmic-ray would put every other in its place:
of real numbers most of these (`<<`, `^`, `|`) raise at once, and only raise the rate of kills."""

EFFORT = {"memory", "batch", "chunk", "progress", "throw", "max_points"}
"""Arguments that set how much is held at once, or what is shown: no number depends on them."""

WORDS = ("None", "str", "list[str]", "str | None")
"""A function that returns one of these checks something, or words a result."""

METHODS = ("__repr__", "__check_init__", "__post_init__", "__dir__")
CALLS = ("isinstance", "field", "zip")

Span = tuple[tuple[int, int], tuple[int, int]]


def mutants(path: Path) -> list[MutationSpec]:
    """The mutants of the formulas of a file, in the order of its text."""
    text = path.read_text()
    lines, tree = text.split("\n"), ast.parse(text)
    inside = [_span(node, lines) for node in ast.walk(tree) if _is_formula(node)]
    outside = [_span(node, lines) for node in _not_formulas(tree)]
    kept = []
    for item in _all_work_items([path], {}):
        spec = item.mutations[0]
        known = spec.operator_name.removeprefix("core/") in OPERATORS
        if known and _within(spec, inside) and not _within(spec, outside):
            kept.append(spec)
    return sorted(kept, key=lambda spec: (spec.start_pos, spec.operator_name, spec.occurrence))


def _within(spec: MutationSpec, spans: list[Span]) -> bool:
    return any(start <= spec.start_pos and spec.end_pos <= end for start, end in spans)


def _span(node: ast.AST, lines: list[str]) -> Span:
    """From where to where, in characters (`ast` counts bytes, and lines hold Greek letters)."""
    ends = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)
    start, end = ((row, len(lines[row - 1].encode()[:byte].decode())) for row, byte in ends)
    return start, end


def _is_formula(node: ast.AST) -> bool:
    """Expressions and statements of control; the bare `*` between parameters is none."""
    return isinstance(node, ast.expr | ast.If | ast.For | ast.While | ast.Break | ast.Continue)


def _not_formulas(tree: ast.Module) -> Iterator[ast.AST]:
    """Annotations, decorators, text, checks of arguments, messages and settings of effort."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef():
                yield from node.decorator_list
                yield from [node.returns] if node.returns else []
                if (node.returns and ast.unparse(node.returns) in WORDS) or node.name in METHODS:
                    yield node
                yield from _defaults_of_effort(node.args)
            case ast.ClassDef():
                yield from node.decorator_list
            case (
                ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation)
            ):
                yield annotation
            case ast.JoinedStr() | ast.Raise() | ast.Assert():
                yield node
            case ast.Subscript(value=ast.Name(id="Annotated")):
                yield node
            case ast.If() if any(isinstance(part, ast.Raise) for part in node.body):
                yield node.test
            case ast.Call() if ast.unparse(node.func).split(".")[-1] in CALLS:
                yield node
            case ast.keyword() if node.arg in EFFORT:
                yield node.value


def _defaults_of_effort(arguments: ast.arguments) -> Iterator[ast.expr]:
    positional = arguments.posonlyargs + arguments.args
    last = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(last, arguments.defaults), *zip(arguments.kwonlyargs, arguments.kw_defaults)]
    for argument, default in pairs:
        if default is not None and argument.arg in EFFORT:
            yield default
