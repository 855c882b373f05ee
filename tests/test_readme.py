"""The code in the README and in docs/ runs, and the commands that they name exist."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGE_IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]

SHELL_LANGUAGES = ("sh", "bash", "shell", "console")
# Programs that a reader has, or installs, without this repository.
OUTSIDE_PROGRAMS = {
    "cd",
    "export",
    "git",
    "pip",
    "pre-commit",
    "nvidia-smi",
    "source",
    "ruff",
    "basedpyright",
}


@dataclass(frozen=True)
class Block:
    language: str
    words: tuple[str, ...]
    line: int  # of its first line of code, counted from 1
    text: str


def code_blocks(text: str) -> list[Block]:
    """The fenced blocks of a page; what follows the language on the fence is `words`."""
    blocks: list[Block] = []
    fence = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```\s*$", re.M | re.S)
    for match in fence.finditer(text):
        line = text.count("\n", 0, match.start(3)) + 1
        blocks.append(Block(match[1].lower(), tuple(match[2].split()), line, match[3]))
    return blocks


def python_program(text: str) -> str:
    """The page's Python blocks as one program, each on the lines where it stands in the page.

    A block marked `no-run` (it needs a device, say) and blocks of `>>>` examples are left out.
    """
    lines: list[str] = []
    for block in code_blocks(text):
        if block.language in ("python", "py") and not is_session(block) and "no-run" not in block.words:
            lines.extend([""] * (block.line - 1 - len(lines)))
            lines.extend(block.text.splitlines())
    return "\n".join(lines) + "\n"


def is_session(block: Block) -> bool:
    return block.text.lstrip().startswith(">>>")


def shell_commands(text: str) -> list[str]:
    """The lines of the page's shell blocks, without prompts, comments and continuation marks."""
    commands: list[str] = []
    for block in code_blocks(text):
        if block.language not in SHELL_LANGUAGES:
            continue
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "console":
            lines = [line for line in lines if line.startswith("$ ")]
        commands += [line.removeprefix("$ ").strip() for line in lines]
    return [command for command in commands if command and not command.startswith("#")]


def problem_with(command: str) -> str | None:
    """What a command names that does not exist, or None."""
    words = [
        word for word in shlex.split(command, comments=True) if not re.match(r"^[A-Z_][A-Z0-9_]*=", word)
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not words:
        return None
    extras = [
        extra for word in words for group in re.findall(r"\[(.+?)\]", word) for extra in group.split(",")
    ]
    unknown = [extra for extra in extras if extra not in project["optional-dependencies"]]
    if unknown and "pip" in words:
        return f"no such extra: {unknown}"
    program, rest = words[0], words[1:]
    if program.startswith("python") and rest:
        return problem_with_python(rest)
    if program in project["scripts"]:
        return missing_module(project["scripts"][program].partition(":")[0])
    if "/" in program:
        return None if os.access(ROOT / program, os.X_OK) else f"no such program: {program}"
    return None if program in OUTSIDE_PROGRAMS or missing_module(program) is None else f"unknown: {program}"


def problem_with_python(words: list[str]) -> str | None:
    if words[0] == "-m":
        return missing_module(words[1])
    if words[0].startswith("-"):
        return None
    return None if (ROOT / words[0]).is_file() else f"no such script: {words[0]}"


def missing_module(name: str) -> str | None:
    return None if importlib.util.find_spec(name) is not None else f"no such module: {name}"


def test_there_is_a_readme() -> None:
    assert (ROOT / "README.md").is_file()


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8") if page.exists() else ""


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_the_python_blocks_run_in_order(page: Path, tmp_path: Path) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(python_program(read(page)), encoding="utf-8")
    environment = dict(os.environ, MPLBACKEND="Agg", TRACEJIT_EXAMPLE_FAST="1", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_the_sessions_print_what_they_say(page: Path) -> None:
    names: dict[str, Any] = {}
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for block in code_blocks(read(page)):
        if is_session(block) and "no-run" not in block.words:
            case = doctest.DocTestParser().get_doctest(
                block.text, names, page.name, str(page), block.line - 1
            )
            runner.run(case, out=report.append, clear_globs=False)
            names = case.globs
    assert not report, "".join(report)


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_the_commands_exist(page: Path) -> None:
    problems = [(command, problem_with(command)) for command in shell_commands(read(page))]
    assert not [entry for entry in problems if entry[1] is not None]


PAGE = """Some text
```python
import math
```
```python no-run
raise SystemExit(1)
```
```py
math.sqrt(
    4.0)
```
```python
>>> 1 + 1
2
```
```bash
# a comment
$ pip install -e ".[test]"
python -m tests.nowhere
```
```console
$ .ci/run
output
```
"""


def test_blocks_keep_their_line_numbers() -> None:
    program = python_program(PAGE)
    assert program.splitlines()[2] == "import math"
    assert program.splitlines()[8:] == ["math.sqrt(", "    4.0)"]
    assert "SystemExit" not in program


def test_commands_are_read_without_prompts_and_output() -> None:
    assert shell_commands(PAGE) == ['pip install -e ".[test]"', "python -m tests.nowhere", ".ci/run"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ('pip install -e ".[test]"', None),
        ('pip install -e ".[nonsense]"', "no such extra: ['nonsense']"),
        ("CI=true .ci/run", None),
        (".ci/walk", "no such program: .ci/walk"),
        ("python -m pytest -q", None),
        ("pytest", None),
        ("python -m tests.nowhere", "no such module: tests.nowhere"),
        ("python tests/nowhere.py", "no such script: tests/nowhere.py"),
        ("frobnicate --all", "unknown: frobnicate"),
    ],
)
def test_a_command_that_names_nothing_is_found(command: str, problem: str | None) -> None:
    assert problem_with(command) == problem
