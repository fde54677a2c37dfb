"""Changes one thing at a time in a module: what is changed, and how the statement reads before and after.

Operators, each as in mutmut or cosmic-ray unless said otherwise:
    compare: `<` and `<=`, `>` and `>=`, `==` and `!=`, `is` and `is not`, `in` and `not in` for each other.
    arithmetic: `+ -`, `* /`, `// *`, `% *`, `** *`, `& |`, `^ &`, `<< >>`, in assignments too.
    boolean: `and` and `or` for each other; a `not` or a unary minus goes.
    condition: of `if`, `while`, a conditional expression, a comprehension: negated.
    number: one more; True and False for each other. Defaults of arguments and constants of the module are numbers, too.
    argument: a `name=value` of a call goes.
    return: None instead of what is returned.
    statement: a call, a raise, a yield, `del`, an assignment to a part of something (`a.b = c`, `a[b] = c`, `a += b`)
        goes; `break` and `continue` for each other.

Left alone: texts (docstrings, f-strings, string constants), all within a `raise` (its message; that it is raised is a
statement), annotations, decorators, imports, `__all__`, and `strict=` of zip, which is a guard.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_NEGATED_ALREADY = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)  # the compare operator does the same
_SKIPPED = {"annotation", "returns", "decorator_list", "type_comment", "type_params"}
Put = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """One change; `lines` are those of the statement (the head of it where it has a body)."""

    number: int
    operator: str
    function: str
    lines: tuple[int, int]
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.lines[0]} {self.function}: {self.before}  ->  {self.after}"


@dataclass(frozen=True)
class _Site:
    operator: str
    function: str
    statement: ast.stmt
    put: Put
    back: Put
    instead: ast.stmt | None = None
    """Of a whole statement."""


class Module:
    """A parsed module and the places where it can be changed."""

    def __init__(self, source: str, functions: tuple[str, ...] | None = None) -> None:
        """`functions`: qualified names; only changes in these; None: anywhere."""
        self.tree = ast.parse(source)
        sites = _body_sites(self.tree, "body", "", None)
        self._sites = [site for site in sites if functions is None or _belongs(site.function, functions)]
        self.mutants = [self._describe(number) for number in range(len(self._sites))]

    @contextmanager
    def changed(self, number: int) -> Iterator[ast.Module]:
        """The tree with one change, within the block."""
        site = self._sites[number]
        site.put()
        try:
            yield self.tree
        finally:
            site.back()

    def _describe(self, number: int) -> Mutant:
        site = self._sites[number]
        before = _head(site.statement)
        with self.changed(number):
            after = _head(site.instead or site.statement)
        end = max([site.statement.lineno, *(_end(part) for part in _head_parts(site.statement))])
        return Mutant(number, site.operator, site.function or "(module)", (site.statement.lineno, end), before, after)


def _belongs(function: str, functions: tuple[str, ...]) -> bool:
    return any(function == name or function.startswith(f"{name}.") for name in functions)


def _end(node: ast.AST) -> int:
    return int(getattr(node, "end_lineno", 0) or 0)


def _head_parts(statement: ast.stmt) -> list[ast.AST]:
    """A statement's own parts, without the statements in it; a function is one: its defaults are seen inside."""
    if not hasattr(statement, "body") or isinstance(statement, ast.FunctionDef):
        return [statement]
    within = ("body", "orelse", "finalbody", "handlers")
    return [node for name, value in ast.iter_fields(statement) if name not in within
            for node in (value if isinstance(value, list) else [value]) if isinstance(node, ast.AST)]  # fmt: skip


def _head(statement: ast.stmt) -> str:
    text = ast.unparse(statement)
    return text.split("\n")[0] if hasattr(statement, "body") else " ".join(text.split())


def _body_sites(owner: ast.AST, field: str, function: str, above: ast.stmt | None) -> Iterator[_Site]:
    """Changes of the statements in a list of statements."""
    body: list[ast.stmt] = getattr(owner, field)
    for index, statement in enumerate(body):
        new = _instead(statement)
        if new is not None:
            operator, other = new
            ast.copy_location(other, statement)
            ast.fix_missing_locations(other)
            put, back = _in_list(body, index, other, statement)
            yield _Site(operator, function, statement, put, back, other)
        yield from _statement_sites(statement, function)


def _instead(statement: ast.stmt) -> tuple[str, ast.stmt] | None:
    """What a whole statement may be replaced by."""
    match statement:
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.Raise() | ast.AugAssign() | ast.Delete():
            return "statement", ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            return "statement", ast.Pass()
        case ast.Continue():
            return "statement", ast.Break()
        case ast.Break():
            return "statement", ast.Continue()
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            return "return", ast.Return(value=ast.Constant(None))
    return None


def _statement_sites(statement: ast.stmt, function: str) -> Iterator[_Site]:
    if isinstance(statement, (ast.Raise, ast.Import, ast.ImportFrom)) or _is_all(statement):
        return
    inner = function
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        inner = f"{function}.{statement.name}".lstrip(".")
    if isinstance(statement, (ast.If, ast.While)) and _can_be_negated(statement.test):
        yield _negated(statement, "test", None, inner, statement)
    for field, value in ast.iter_fields(statement):
        if field in _SKIPPED:
            continue
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield from _body_sites(statement, field, inner, statement)
        elif isinstance(value, list):
            for index, node in enumerate(value):
                if isinstance(node, (ast.ExceptHandler, ast.match_case)):
                    yield from _body_sites(node, "body", inner, statement)
                elif isinstance(node, ast.AST):
                    yield from _sites(statement, field, index, node, inner, statement)
        elif isinstance(value, ast.AST):
            yield from _sites(statement, field, None, value, inner, statement)


def _is_all(statement: ast.stmt) -> bool:
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    return isinstance(target, ast.Name) and target.id == "__all__"


def _sites(
    owner: ast.AST, field: str, index: int | None, node: ast.AST, function: str, statement: ast.stmt
) -> Iterator[_Site]:
    """Changes of an expression and of what is in it."""
    if isinstance(node, ast.JoinedStr):
        return

    def site(operator: str, other: object, where: ast.AST = owner, name: str = field, at: int | None = index) -> _Site:
        return _Site(operator, function, statement, *_in_place(where, name, at, other))

    match node:
        case ast.Compare():
            for at, op in enumerate(node.ops):
                yield site("compare", _COMPARE[type(op)](), node, "ops", at)
        case ast.BoolOp():
            yield site("boolean", ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node, "op", None)
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield site("arithmetic", _ARITHMETIC[type(node.op)](), node, "op", None)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield site("boolean", node.operand)
        case ast.Constant(value=bool() | int() | float()):
            other = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]
            yield site("number", other, node, "value", None)
        case ast.IfExp() if _can_be_negated(node.test):
            yield _negated(node, "test", None, function, statement)
        case ast.comprehension():
            for at, test in enumerate(node.ifs):
                if _can_be_negated(test):
                    yield _negated(node, "ifs", at, function, statement)
        case ast.Call():
            for keyword in node.keywords:
                if keyword.arg and keyword.arg != "strict" and not _is_bool(keyword.value):
                    others = [other for other in node.keywords if other is not keyword]
                    yield site("argument", others, node, "keywords", None)
        case ast.operator() if type(node) in _ARITHMETIC and isinstance(owner, ast.AugAssign):
            yield site("arithmetic", _ARITHMETIC[type(node)]())
    for name, value in ast.iter_fields(node):
        if name in _SKIPPED:
            continue
        for at, part in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(part, ast.AST) and not (isinstance(part, ast.keyword) and part.arg == "strict"):
                yield from _sites(node, name, at, part, function, statement)


def _is_bool(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _can_be_negated(test: ast.expr) -> bool:
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return not isinstance(test.ops[0], _NEGATED_ALREADY)
    return not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))


def _negated(owner: ast.AST, field: str, index: int | None, function: str, statement: ast.stmt) -> _Site:
    test = getattr(owner, field) if index is None else getattr(owner, field)[index]
    other = ast.copy_location(ast.UnaryOp(op=ast.Not(), operand=test), test)
    return _Site("condition", function, statement, *_in_place(owner, field, index, other))


def _in_place(owner: ast.AST, field: str, index: int | None, other: object) -> tuple[Put, Put]:
    if index is not None:
        values: list[object] = getattr(owner, field)
        return _in_list(values, index, other, values[index])
    original = getattr(owner, field)
    return lambda: setattr(owner, field, other), lambda: setattr(owner, field, original)


def _in_list(values: list, index: int, other: object, original: object) -> tuple[Put, Put]:  # type: ignore[type-arg]
    return lambda: values.__setitem__(index, other), lambda: values.__setitem__(index, original)
