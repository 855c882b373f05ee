"""One tiny case of each shape that kernels have, for tools that look at every access: compute-sanitizer.

`python -m benchmarks.gpu.cases` runs all on a device and prints a line each; `--emulate` on this processor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import tracejit as tj
from benchmarks.gpu.libraries import Library, open_library
from benchmarks.gpu.rows import distance
from tracejit.ir import evaluate

INDEX = np.arange(2500, dtype="i4") % 7


def _tutorial(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = x @ w + b
    return np.mean(np.logaddexp(0.0, z) - z * y)


def _softmax(x: Any, w: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.sum(w * e / e.sum(axis=1, keepdims=True))


def _normed(x: Any, gain: Any) -> Any:
    d = x - x.mean(axis=1, keepdims=True)
    return np.sum((d / np.sqrt((d * d).mean(axis=1, keepdims=True) + 1e-5) * gain) ** 3)


def _stencil(u: Any) -> Any:
    r = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1]
    return 0.5 * np.sum(r**2)


# By the shape of the kernel: a function, and the shapes of its arguments. Each has several blocks.
CASES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "map and sum": (lambda x, y: np.sum(np.tanh(x) * y + np.exp(-x * x)), ((3001,), (3001,))),
    "rows of a thread": (_tutorial, ((5, 3), (3,), (900, 5), (900, 3))),
    "rows of a warp": (_softmax, ((40, 70), (40, 70))),
    "rows of a block": (_normed, ((3, 1100), (1100,))),
    "rows and columns": (lambda w, x: np.mean(np.logaddexp(0.0, x @ w)), ((40,), (70, 40))),
    "stencil": (_stencil, ((50, 47),)),
    "scatter": (lambda table: np.sum(table[INDEX] ** 2), ((7,),)),
    "position": (lambda x: x[np.argmax(x)], ((2500,),)),
}


def run_case(name: str, dtype: str, library: Library) -> None:
    """Value and gradients against those of the evaluator in float64; AssertionError where they differ."""
    function, shapes = CASES[name]
    rng = np.random.default_rng(0)
    arguments = [rng.normal(size=shape).astype(dtype) for shape in shapes]
    argnums = tuple(range(len(arguments)))
    step = tj.value_and_grad(function, argnums=argnums, target=library.target)
    with library.poisoned():
        value, gradients = step(*map(library.array, arguments))
    wide: Any = [x.astype(np.float64) for x in arguments]
    lowered, call = tj.value_and_grad(function, argnums=argnums).lower(*wide)
    expected = evaluate(lowered.graph, [np.asarray(x) for x in (*call.leaves, *lowered.captures)])
    limit = 1e-11 if dtype == "float64" else 1e-4
    for x, y in zip((value, *gradients), expected, strict=True):
        away = distance(library.to_numpy(x), y)
        assert away <= limit, f"off by {away:.1e} of its norm"


def main() -> int:
    """Run all; 0 where every result is right."""
    library, wrong = open_library("cupy", "--emulate" in sys.argv), 0
    for name in CASES:
        for dtype in ("float32", "float64"):
            try:
                run_case(name, dtype, library)
                print(f"case {name} {dtype}: ok", flush=True)
            except Exception as error:
                wrong += 1
                print(f"case {name} {dtype}: {type(error).__name__}: {error}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
