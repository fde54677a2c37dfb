"""The house: what lies where, who imports whom, how long functions are. Read from the sources; nothing runs."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for package in ("augment", "reid_eval") for path in (ROOT / package).rglob("*.py"))
PACKAGES = sorted(path.parent for path in SOURCES if path.name == "__init__.py")
MOST_LINES, MOST_ARGUMENTS = 60, 10
REASON = re.compile(r"^\s*(Long|Many arguments) because \w", re.MULTILINE)

# Files of one name, and what all of them are; each in a package that says whose.
SAME_NAME = {
    "__init__.py": "what a package is for",
    "base.py": "the protocol of what its package holds",
    "build.py": "names to what its package holds",
    "generate.py": "a command and what it calls",
    "losses.py": "the losses of a training",
    "settings.py": "the settings of a training",
    "stream.py": "the endless stream: of people, and of pairs of them",
    "train.py": "a training; a command",
    "training.py": "a training",
}


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def too_large(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """More lines or arguments than is good, without a reason in the docstring; a command has one argument an option."""
    given = function.args
    count = sum(a.arg not in ("self", "cls") for a in (*given.posonlyargs, *given.args, *given.kwonlyargs))
    command = any("click" in ast.unparse(decorator) for decorator in function.decorator_list)
    lines = (function.end_lineno or 0) - function.lineno + 1
    large = lines > MOST_LINES or (count > MOST_ARGUMENTS and not command)
    return large and not REASON.search(ast.get_docstring(function) or "")


def test_functions_are_small_or_say_why_not() -> None:
    offenders = {f"{named(path)}: {one.name}" for path in SOURCES for one in functions(path) if too_large(one)}
    assert offenders == set(), "write 'Long because ...' or 'Many arguments because ...' into the docstring"


def test_what_too_large_means() -> None:
    def one(text: str) -> ast.FunctionDef:
        return next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))

    many = ", ".join(f"a{i}" for i in range(11))
    assert too_large(one("def f():\n" + "    x = 1\n" * 60))
    assert not too_large(one("def f():\n" + "    x = 1\n" * 59))
    assert not too_large(one('def f():\n    """F.\n\n    Long because the table is.\n    """\n' + "    x = 1\n" * 60))
    assert too_large(one(f"def f({many}): ..."))
    assert not too_large(one(f"def f({many[4:]}): ..."))
    assert not too_large(one(f"@click.command()\ndef f({many}): ..."))


def test_there_are_no_circles() -> None:
    graph = grimp.build_graph("augment", "reid_eval", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    assert circles(imports) == []


def circles(imports: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Groups of modules that each reach all others of the group, sorted."""
    reached = {}
    for start in imports:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            for following in imports[ahead.pop()] - seen:
                seen.add(following)
                ahead.append(following)
        reached[start] = seen
    groups = {tuple(sorted(b for b in reached[a] if a in reached[b])) for a in imports if a in reached[a]}
    return sorted(groups)


def test_circles_are_found() -> None:
    imports = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": set()}
    assert circles(imports) == [("a", "b", "c")]


def test_every_package_says_what_it_is_for() -> None:
    silent = [named(path) for path in PACKAGES if not ast.get_docstring(ast.parse((path / "__init__.py").read_text()))]
    assert silent == []
    layers = [path for path in PACKAGES if path.parent == ROOT / "augment" and path.name != "commands"]
    texts = {named(path): ast.get_docstring(ast.parse((path / "__init__.py").read_text())) or "" for path in layers}
    assert len(texts) > 8
    assert [name for name, text in texts.items() if not ("In: " in text and "Out: " in text)] == []


def test_few_modules_lie_beside_the_layers() -> None:
    top = [path.stem for path in SOURCES if path.parent == ROOT / "augment"]
    assert len(set(top) - {"__init__", "__main__"}) <= 3, top


def test_setup_lists_the_packages_that_are_there() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options"]["packages"].split()
    there = [named(path).replace("/", ".") for path in PACKAGES]
    assert sorted(listed) == sorted([*there, "augment.examples", "augment.recipes"])


def test_no_test_lies_where_its_folder_would_hide_the_package() -> None:
    """pytest and scripts put their own folder on the path, and in `tests` there is another folder named augment."""
    assert list((ROOT / "tests").glob("*.py")) == []


def test_files_of_one_name_mean_one_thing() -> None:
    places = defaultdict(list)
    for path in SOURCES:
        places[path.name].append(named(path))
    several = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert set(several) <= set(SAME_NAME), {name: several[name] for name in several.keys() - SAME_NAME.keys()}
    folders = {path.name for path in PACKAGES}
    modules = {path.stem for path in SOURCES if path.parent.name != "commands"}
    assert folders & modules <= {"table"}, "a module named as a package is, other than its command"


def option_names(path: Path) -> list[str]:
    """Options of the command line that errors of a module name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "InputError":
            texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            found += [word for text in texts if isinstance(text, str) for word in re.findall(r"(?<!-)--[a-z-]+", text)]
    return found


def test_errors_of_the_library_name_no_options() -> None:
    """Whoever calls it from Python has none; `InputError.argument` lets the command line name its option."""
    library = [path for path in SOURCES if "commands" not in path.parts]
    offenders = {named(path): option_names(path) for path in library if option_names(path)}
    assert offenders == {}


@pytest.mark.parametrize("module", ["augment", "augment.commands.main"])
def test_importing_is_light(module: str) -> None:
    heavy = {"torch", "torchvision", "pandas", "numpy", "matplotlib", "PIL", "cv2", "scipy", "pydantic"}
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
