"""Functions whose kernels are of one kind each, for all that is asked of every kind of kernel."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracejit as tj
from tests import golden_programs
from tests.codegen.cuda.corpus import tutorial
from tests.codegen.cuda.emulated import FLOATS, GRID, ONE_BLOCK, device_program, printed, traced
from tracejit.codegen.cuda.launches import Launch

INTEGERS = ("i8", "i4", "u1")

Argument = Callable[[str], Any]  # an array of a dtype


@dataclass(frozen=True)
class Skeleton:
    """A function whose kernels are of one kind; `small`: iterations that one block runs alone."""

    function: Callable[..., Any]
    arguments: tuple[Argument, ...]
    dtypes: tuple[str, ...] = FLOATS
    gradient: bool = True
    small: int = GRID


def of(*shape: int) -> Argument:
    return lambda dtype: np.ones(shape, dtype)


def index(_: str) -> Any:
    return np.arange(5000) % 7


def softmax_loss(x: Any, y: Any) -> Any:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.sum(y * (np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted))


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.sum((centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * scale + shift) ** 2)


def logistic(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return np.mean(np.logaddexp(0, z) - y * z)


def through_time(q: Any, p: Any, pushes: Any) -> Any:
    def step(state: Any, push: Any) -> Any:
        q, p = state
        p = p - q * push
        return (q + p, p), q * p

    (q, p), path = tj.scan(step, (q, p), pushes)
    return np.sum(q * p) + np.sum(path[-1])


def end_of_time(q: Any, p: Any, k: Any) -> Any:
    """Steps are joined, four to one, and run again on the way back."""

    def step(state: Any, _: Any) -> Any:
        q, p = state
        p = p - np.exp(-q) * k
        return (q + p, p), None

    (q, p), _ = tj.scan(step, (q, p), length=40)
    return np.sum(q * p)


def weights(x: Any) -> Any:
    e = np.exp(x - x.max())
    return np.sum(e / e.sum() * x)


def shares(x: Any) -> Any:
    return np.sum(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) * x)


def reductions(x: Any) -> Any:
    return [f(x) for f in (np.sum, np.prod, np.max, np.min, np.any, np.all, np.argmax)]


def plain(function: Callable[..., Any], *arguments: Argument, dtypes: tuple[str, ...] = FLOATS) -> Skeleton:
    """Without a derivative."""
    return Skeleton(function, arguments, dtypes, gradient=False)


X = of(5000)
SKELETONS: dict[str, Skeleton] = {
    "map": plain(lambda x, y: np.tanh(x) * y, X, X),
    "map of integers": plain(lambda x, y: x * y + y, X, X, dtypes=INTEGERS),
    "map of truth values": plain(lambda x, y: ((x & y) | ~x, x ^ y), X, X, dtypes=("?",)),
    "map and broadcast": plain(lambda x, y, z: np.exp(x) * y + z, of(50, 300), of(300), of(50, 1)),
    "map and sum": Skeleton(lambda x, y: np.sum(np.tanh(x) * y + np.exp(-x * x)), (X, X)),
    "divisions of integers": plain(lambda x, y: (x // y, x % y, np.gcd(x, y)), X, X, dtypes=("i4", "u1")),
    "choices": plain(lambda x, y: np.where(x > y, x, np.minimum(x, 3)), X, X, dtypes=FLOATS + INTEGERS),
    "stencil": Skeleton(golden_programs.five_points, (of(60, 70),)),
    "joined arrays": Skeleton(lambda x, y: np.sum(np.concatenate([x, y]) ** 2), (of(3000), X)),
    "transposed": plain(lambda x, y: np.exp(x.T) * y, of(60, 70), of(70, 60)),
    "rearranged": plain(lambda x: np.exp(x.T.reshape(35, -1)) * np.roll(x, 3).reshape(35, -1), of(60, 70)),
    "strided": Skeleton(shares, (lambda dtype: np.ones((80, 99), dtype)[::2, ::3],)),
    "reversed": plain(lambda x: np.exp(x), lambda dtype: np.ones((80, 99), dtype)[::-1, ::-1]),
    "columns first": plain(lambda x, y: np.exp(x) * y, lambda d: np.ones((60, 70), d, "F"), of(60, 70)),
    "rows of a thread": Skeleton(tutorial, (of(5, 3), of(3), of(3000, 5), of(3000, 3))),
    "rows of a warp": Skeleton(softmax_loss, (of(300, 300), of(300, 300))),
    "rows of a block": Skeleton(layer_norm, (of(30, 1100), of(1100), of(1100))),
    "rows and columns": Skeleton(logistic, (of(300), of(3000, 300), of(3000))),
    "rows of a thread, many numbers": Skeleton(logistic, (of(32), of(3000, 32), of(3000))),
    "rows of long arrays": Skeleton(layer_norm, (of(30, 9000), of(9000), of(9000))),
    "columns": plain(lambda x: (x.sum(axis=0), x.max(axis=0)), of(3000, 20), dtypes=FLOATS + INTEGERS),
    "wide columns": plain(lambda x: (x.sum(axis=0), x.min(axis=0)), of(300, 2000)),
    "small product": Skeleton(lambda w, x: np.sum(np.tanh(x @ w)), (of(4, 4), of(3000, 4))),
    "gather": plain(lambda x, k: np.exp(x[k]), of(7), index),
    "scatter": Skeleton(lambda x, k: np.sum(x[k] ** 2), (of(7), index)),
    "scatter to a large array": Skeleton(lambda x, k: np.sum(x[k] ** 2), (of(20000), index)),
    "position": Skeleton(lambda x: x[np.argmax(x)], (X,)),
    "positions": plain(
        lambda x: (np.argmax(x, axis=1), np.argmin(x, axis=0)), of(100, 50), dtypes=(*FLOATS, "i4", "?")
    ),
    "reductions": plain(reductions, X, dtypes=(*FLOATS, "i4", "?")),
    "cut": Skeleton(weights, (X,)),
    "time": Skeleton(through_time, (X, X, of(40, 5000))),
    "time, of few states": Skeleton(end_of_time, (X, X, X)),
    "one block": Skeleton(softmax_loss, (of(3, 100), of(3, 100)), small=ONE_BLOCK),
}
CASES = [(name, dtype) for name, s in SKELETONS.items() for dtype in s.dtypes]


@functools.cache
def launches(name: str, dtype: Any) -> list[Launch]:
    skeleton = SKELETONS[name]
    arrays = [argument(dtype) for argument in skeleton.arguments]
    graph, arrays = traced(skeleton.function, *arrays, gradient=skeleton.gradient)
    return printed(device_program(graph, skeleton.small), arrays)
