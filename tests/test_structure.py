"""The shape of the code base: imports point down, files and functions stay small, importing stays cheap."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "tracejit"

# From the bottom to the top. Modules of one row are siblings and do not import one another.
LAYERS: list[tuple[str, ...]] = [
    ("errors",),
    ("config", "costs", "pytree", "figures", "progress", "tables"),
    ("ir",),
    ("ops",),
    ("frontend", "transforms", "passes"),
    ("schedule",),
    ("codegen",),
    ("runtime",),
    ("compile",),
    ("interop",),
    ("api",),
    ("roofline",),
    ("nn", "inspection", "drawing", "comparison", "check", "c_function"),
    ("tuning",),
    ("__init__",),
    ("__main__",),
]

# (importer, imported) -> why these siblings may be joined.
SIBLINGS_ALLOWED: dict[tuple[str, str], str] = {}

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60  # without its docstring: documentation is not what makes a function hard to follow

# "path" or "path:function" -> (ceiling, why it is raised).
RAISED_CEILINGS: dict[str, tuple[int, str]] = {}

HEAVY_MODULES = ("numba", "llvmlite", "scipy")
# Only the compiling path imports these, inside a function; they subclass classes of Numba.
COMPILING_MODULES = (
    *[f"tracejit.runtime.{name}" for name in ("instructions", "intrinsics", "numba_pipeline")],
    *[f"tracejit.interop.{name}" for name in ("numba_lowering", "numba_types")],
)


@dataclass(frozen=True)
class Import:
    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.imported}"


@cache
def package_modules() -> dict[str, Path]:
    """Dotted name -> file, for every module of the library; a package goes by its own name."""
    found: dict[str, Path] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


@cache
def python_files() -> tuple[Path, ...]:
    folders = (PACKAGE, "tests", "examples", "benchmarks")
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def walk_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """Every node inside `node`, functions included, except what stands under `if TYPE_CHECKING`."""
    yield node
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children: list[ast.AST] = list(node.orelse)
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from walk_runtime(child)


def resolve(name: str) -> str | None:
    """The module of the library that the dotted `name` lies in, if any."""
    parts = name.split(".")
    while parts and ".".join(parts) not in package_modules():
        parts.pop()
    return ".".join(parts) if parts and parts[0] == PACKAGE else None


def imported_names(node: ast.AST, package: str) -> list[str]:
    """The dotted names that one statement imports; `package` is where relative imports start."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    start = node.module or ""
    if node.level:
        base = package.split(".")[: len(package.split(".")) - node.level + 1]
        start = ".".join([*base, *([node.module] if node.module else [])])
    return [f"{start}.{alias.name}" for alias in node.names]


@cache
def all_imports() -> tuple[Import, ...]:
    found: list[Import] = []
    for importer, path in package_modules().items():
        package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
        for node in walk_runtime(parse(path)):
            for name in imported_names(node, package):
                imported = resolve(name)
                if imported is not None:
                    found.append(Import(importer, imported, getattr(node, "lineno", 0)))
    return tuple(found)


def part_of(module: str) -> str:
    """The name by which LAYERS knows a module: `ops` for `tracejit.ops.math`, `__init__` for `tracejit`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def layer_of(module: str) -> int:
    return next((i for i, row in enumerate(LAYERS) if part_of(module) in row), -1)


def is_downward(step: Import) -> bool:
    upper, lower = part_of(step.importer), part_of(step.imported)
    if upper == lower or (upper, lower) in SIBLINGS_ALLOWED:
        return True
    return layer_of(step.imported) < layer_of(step.importer)


def find_cycle(edges: dict[str, set[str]]) -> list[str]:
    """Some cycle of the graph as a list of nodes, or an empty list."""
    done: set[str] = set()
    path: list[str] = []

    def visit(node: str) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        path.append(node)
        for target in sorted(edges.get(node, ())):
            cycle = visit(target)
            if cycle:
                return cycle
        path.pop()
        done.add(node)
        return []

    for start in sorted(edges):
        cycle = visit(start)
        if cycle:
            return cycle
    return []


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_module_has_a_layer() -> None:
    missing = sorted({part_of(module) for module in package_modules() if layer_of(module) < 0})
    assert not missing, f"say in LAYERS where these belong: {missing}"


def test_imports_only_point_down() -> None:
    wrong = [str(step) for step in all_imports() if not is_downward(step)]
    assert not wrong, "imports that point up or sideways:\n" + "\n".join(wrong)


def test_no_modules_import_one_another_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for step in all_imports():
        # A package that names one of its own modules only re-exports it.
        if step.importer != step.imported:
            edges.setdefault(step.importer, set()).add(step.imported)
    cycle = find_cycle(edges)
    assert not cycle, "import cycle: " + " -> ".join(cycle)


def test_every_exception_to_the_layers_is_still_used() -> None:
    used = {(part_of(step.importer), part_of(step.imported)) for step in all_imports()}
    assert set(SIBLINGS_ALLOWED) <= used


def test_a_cycle_is_found_where_there_is_one() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}}) == []


def test_imports_inside_functions_count_and_those_for_type_checkers_do_not() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import tracejit.hidden
else:
    import tracejit.shown
def f():
    from ..ir import graph
    from . import sibling
"""
    names = [
        name for node in walk_runtime(ast.parse(source)) for name in imported_names(node, "tracejit.passes")
    ]
    assert names == [
        "typing.TYPE_CHECKING",
        "tracejit.shown",
        "tracejit.ir.graph",
        "tracejit.passes.sibling",
    ]


def ceiling(key: str, default: int) -> int:
    return RAISED_CEILINGS[key][0] if key in RAISED_CEILINGS else default


def file_sizes() -> Iterator[tuple[str, int]]:
    for path in python_files():
        yield relative(path), len(path.read_text(encoding="utf-8").splitlines())


def function_sizes() -> Iterator[tuple[str, int]]:
    for path in python_files():
        for node in ast.walk(parse(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
                size = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    docstring = node.body[0]
                    size -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
                yield f"{relative(path)}:{node.name}", size


def test_files_stay_below_their_ceiling() -> None:
    long = {name: n for name, n in file_sizes() if n > ceiling(name, MAX_FILE_LINES)}
    assert not long, f"split these, or raise the ceiling in a commit that says why: {long}"


def test_functions_stay_below_their_ceiling() -> None:
    long = {name: n for name, n in function_sizes() if n > ceiling(name, MAX_FUNCTION_LINES)}
    assert not long, f"split these, or raise the ceiling in a commit that says why: {long}"


def test_raised_ceilings_are_still_needed() -> None:
    sizes = {**dict(file_sizes()), **dict(function_sizes())}
    for key in RAISED_CEILINGS:
        usual = MAX_FUNCTION_LINES if ":" in key else MAX_FILE_LINES
        assert sizes.get(key, 0) > usual, f"{key} fits the usual ceiling of {usual}"


def test_no_notes_to_self_are_left_in_the_code() -> None:
    note = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    lines = [
        f"{relative(path)}:{number}"
        for path in python_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if note.search(line)
    ]
    assert not lines


def test_every_module_of_the_library_says_what_it_is_for() -> None:
    silent = [relative(path) for path in package_modules().values() if not ast.get_docstring(parse(path))]
    assert not silent


def test_no_module_has_a_name_that_says_nothing() -> None:
    vague = {"utils", "util", "helpers", "misc", "common", "manager", "handler", "base"}
    assert not [name for name in package_modules() if name.rpartition(".")[2] in vague]


def test_importing_the_library_loads_no_compiler_and_no_scipy() -> None:
    program = f"import json, sys, {PACKAGE}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert not loaded.intersection(HEAVY_MODULES)


def test_numba_and_scipy_are_never_imported_at_the_top_of_a_module_that_import_tracejit_loads() -> None:
    wrong = [
        f"{module}, line {node.lineno}"
        for module, path in package_modules().items()
        if module not in COMPILING_MODULES
        for node in parse(path).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in imported_names(node, "")
        if name.partition(".")[0] in HEAVY_MODULES
    ]
    assert not wrong


def needs_example(value: object) -> bool:
    """Functions and classes do; an error class shows itself in the examples of what raises it."""
    if inspect.ismodule(value) or isinstance(value, str):
        return False
    return not (isinstance(value, type) and issubclass(value, BaseException))


def test_every_public_name_is_documented_with_an_example() -> None:
    library = importlib.import_module(PACKAGE)
    assert library.__all__, "the library has no public names"
    silent = [name for name in library.__all__ if not inspect.getdoc(getattr(library, name))]
    bare = [
        name
        for name in library.__all__
        if needs_example(getattr(library, name))
        and ">>>" not in (inspect.getdoc(getattr(library, name)) or "")
    ]
    assert not silent, f"no docstring: {silent}"
    assert not bare, f"no example in the docstring: {bare}"


def test_the_version_is_the_one_of_the_project_file() -> None:
    library = importlib.import_module(PACKAGE)
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert version is not None
    assert library.__version__ == version[1]


@pytest.mark.parametrize("name", ["py.typed"])
def test_the_marker_for_type_checkers_is_there(name: str) -> None:
    assert (ROOT / PACKAGE / name).is_file()
