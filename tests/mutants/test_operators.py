"""What mutation testing changes, and what it leaves alone."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent))
    import operators

    return operators


def changes(operators: ModuleType, source: str) -> set[tuple[str, str]]:
    """(operator, statement afterwards) of all mutants."""
    return {(mutant.operator, mutant.after) for mutant in operators.Module(source).mutants}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = b < c", {("compare", "a = b <= c")}),
        ("a = b is None", {("compare", "a = b is not None")}),
        ("a = b + c", {("arithmetic", "a = b - c")}),
        ("a += b", {("arithmetic", "a -= b"), ("statement", "pass")}),
        ("a = b and c", {("boolean", "a = b or c")}),
        ("a = not b", {("boolean", "a = b")}),
        ("a = -b", {("boolean", "a = b")}),
        ("a = 1", {("number", "a = 2")}),
        ("a = True", {("number", "a = False")}),
        ("a = f(b, c=d)", {("argument", "a = f(b)")}),
        ("f(b)", {("statement", "pass")}),
        ("a.b = c", {("statement", "pass")}),
        ("del a", {("statement", "pass")}),
        ("if a:\n    b = c", {("condition", "if not a:")}),
        ("if a == b:\n    b = c", {("compare", "if a != b:")}),
        ("a = [b for b in c if b]", {("condition", "a = [b for b in c if not b]")}),
        ("a = b if c else d", {("condition", "a = b if not c else d")}),
        ("for a in b:\n    break", {("statement", "continue")}),
        ("def f():\n    return a", {("return", "return None")}),
        ("def f():\n    raise E(1 + 2)", {("statement", "pass")}),
        ("def f(a=1):\n    yield a", {("number", "def f(a=2):"), ("statement", "pass")}),
        ("try:\n    a = b\nexcept E:\n    f(a)", {("statement", "pass")}),
        ("match a:\n    case b:\n        f(a)", {("statement", "pass")}),
    ],
)
def test_each_operator(operators: ModuleType, source: str, expected: set[tuple[str, str]]) -> None:
    assert changes(operators, source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring of 1 + 1."""', "a = 'text'", "a = f'{b + 1}'", "import a", "a: Annotated[int, f(b=1)]",
        "@f(a=1)\nclass A:\n    b: int", "__all__ = ['a']", "a = zip(b, c, strict=True)",
        "def f() -> A[1]:\n    return None", "def f(a: A[1]):\n    pass",
    ],
)  # fmt: skip
def test_texts_and_annotations_are_left_alone(operators: ModuleType, source: str) -> None:
    assert changes(operators, source) == set()


def test_one_change_at_a_time_and_back(operators: ModuleType) -> None:
    source = "class A:\n  def f(self, a=3):\n    if a > 1 and not self.b:\n      self.b = a * 2\n    return a"
    module = operators.Module(source)
    whole = ast.unparse(module.tree)
    seen = set()
    for mutant in module.mutants:
        with module.changed(mutant.number) as tree:
            compile(tree, "x", "exec")
            seen.add(ast.unparse(tree))
        assert ast.unparse(module.tree) == whole
    assert len(seen) == len(module.mutants) == 10
    assert whole not in seen
    assert {mutant.function for mutant in module.mutants} == {"A.f"}
    assert not operators.Module(source, ("B",)).mutants
    assert len(operators.Module(source, ("A",)).mutants) == 10


def test_the_lines_of_a_mutant_are_those_of_its_statement(operators: ModuleType) -> None:
    source = "a = (\n    b + c\n)\nif (\n    d\n):\n    e = f\n\n\ndef g(h=1):\n    i = h\n"
    lines = {mutant.operator: mutant.lines for mutant in operators.Module(source).mutants}
    assert lines == {"arithmetic": (1, 3), "condition": (4, 5), "number": (10, 11)}


def test_all_that_the_areas_name_is_there(operators: ModuleType) -> None:
    """Code that moves elsewhere would be left out without a word."""
    import areas

    root = Path(__file__).resolve().parents[2]
    for name, area in areas.AREAS.items():
        assert [test for test in area.tests if not (root / test).exists()] == [], name
        for module, functions in area.modules.items():
            source = (root / module).read_text()
            for function in (None,) if functions is None else functions:
                assert operators.Module(source, None if function is None else (function,)).mutants, (module, function)
