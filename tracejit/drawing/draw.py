"""`draw`: the graph of a function as its user thinks of it, or as its kernels run it."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from tracejit.api.record import Record, record_call
from tracejit.drawing.figure import Figure
from tracejit.drawing.forward import forward_figure
from tracejit.drawing.kernels import kernels_figure
from tracejit.errors import UnsupportedError


class Drawing:
    """What `draw` made: `print` it for Mermaid text, which GitHub, GitLab and Jupyter draw.

    figure: nodes, arrows and groups as data
    """

    def __init__(self, figure: Figure, record: Record) -> None:
        self.figure = figure
        self._record = record

    def __str__(self) -> str:
        return self.figure.mermaid()

    @property
    def dot(self) -> str:
        """The figure in the language of Graphviz."""
        return self.figure.dot()

    @property
    def arrows(self) -> str:
        """The figure as lines of plain text: `x, w -> times`."""
        return self.figure.arrows()

    def svg(self, path: str | PathLike[str] | None = None) -> str:
        """The figure as SVG, drawn by Graphviz; also written to `path` where one is given.

        Raises UnsupportedError where Graphviz is not installed.
        """
        data = run_dot(self.dot, "svg")
        if path is not None:
            Path(path).write_bytes(data)
        return data.decode()

    def png(self, path: str | PathLike[str] | None = None) -> bytes:
        """The figure as PNG, drawn by Graphviz; also written to `path` where one is given.

        Raises UnsupportedError where Graphviz is not installed.
        """
        data = run_dot(self.dot, "png")
        if path is not None:
            Path(path).write_bytes(data)
        return data

    def kernels(self) -> Drawing:
        """What runs: the equations of function and derivative after the passes, a box for each kernel."""
        return Drawing(kernels_figure(self._record), self._record)

    def _repr_markdown_(self) -> str:
        return f"```mermaid\n{self}\n```"


def draw(f: Callable[..., Any]) -> Callable[..., Drawing]:
    """Draw the computational graph of a function: `draw(f)(*args)`, with arguments as for a call of `f`.

    f: a function made by `grad_jit`, `jit`, `grad` or `value_and_grad`, or a plain function
    Returns a `Drawing`: from left to right the arguments (those that are differentiated by in a box
    *Parameters*), one node for each operation that the user wrote, and the variables and results by name. The
    function is traced, not run.

    >>> @tj.grad_jit
    ... def loss(w, x):
    ...     return np.sum(w * x)
    >>> drawing = tj.draw(loss)(np.ones(3), np.ones(3))
    >>> print(drawing.arrows)
    Parameters: w
    w, x -> times
    times -> sum -> loss
    """

    @functools.wraps(f, updated=())
    def look(*args: Any, **kwargs: Any) -> Drawing:
        record = record_call(f, args, kwargs)
        return Drawing(forward_figure(record), record)

    return look


def run_dot(text: str, kind: str) -> bytes:
    """What Graphviz draws for DOT text, in the format `kind`."""
    program = shutil.which("dot")
    if program is None:
        raise UnsupportedError(
            f"{kind}(): the program `dot` of Graphviz is not installed",
            hint="install the package graphviz (with apt, brew or conda; pip's is not enough), or print the "
            "drawing: its text is Mermaid, which GitHub and Jupyter draw",
        )
    done = subprocess.run([program, f"-T{kind}"], input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise UnsupportedError(f"{kind}(): Graphviz failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
