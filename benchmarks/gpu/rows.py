"""The workloads of the check, at the sizes of a device, and their arguments on the host."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.workload import Workload, get_workload, normal

Shape = tuple[int, ...]
Array = np.ndarray[Any, Any]

# By dtype: the relative norm of what two variants may differ by. Another dtype is one more entry.
CLOSE = {"float32": 2e-4, "float64": 1e-9}
DTYPES = tuple(CLOSE)

MADE = 2**23  # elements of an argument that are made on the host; longer ones repeat their first rows
REPEATED = 2**21  # elements of which those consist
TIMES_FLOOR = 10  # of the least bytes that a row moves must be free, for the temporaries of eager libraries


def distance(found: Any, expected: Any) -> float:
    """How far a result on the host is from another, over the norm of that; nan where either has one."""
    x, y = np.ravel(np.asarray(found, np.float64)), np.ravel(np.asarray(expected, np.float64))
    return float(np.linalg.norm(x - y)) / (float(np.linalg.norm(y)) or 1.0)


def _bce(z: Any, y: Any) -> Any:
    return (np.logaddexp(0.0, z) - y * z).mean()


def _bce_by_hand(z: Any, y: Any) -> tuple[Any, tuple[Any, ...]]:
    return (np.logaddexp(0.0, z) - y * z).mean(), ((1.0 / (1.0 + np.exp(-z)) - y) / z.size,)


def _bce_torch() -> Any:
    from torch.nn.functional import binary_cross_entropy_with_logits

    return binary_cross_entropy_with_logits


def _bce_workload() -> Workload:
    return Workload(
        "binary cross-entropy with logits",
        _bce,
        _bce_by_hand,
        lambda n: (normal(n), (normal(n, seed=1) > 0) * 1.0),
        (),
        {"torch": _bce_torch},
    )


@dataclass(frozen=True)
class Row:
    """A workload of the table and its sizes, small to large.

    make: the arguments on the host, by shape; None: those of the workload
    grows: whether the first axis of every argument that has it may be repeated where the arrays are
    """

    workload: Callable[[], Workload]
    on_device: tuple[Shape, ...]
    emulated: tuple[Shape, ...]
    grows: bool = True
    make: Callable[..., tuple[Any, ...]] | None = None

    def sizes(self, is_device: bool) -> tuple[Shape, ...]:
        """The shapes that `arguments_of` takes."""
        return self.on_device if is_device else self.emulated


@dataclass(frozen=True)
class Arguments:
    """Arguments on the host, and how often those of `rows` rows are repeated along their first axis."""

    arrays: tuple[Array, ...]
    rows: int
    times: int = 1

    def shape(self, k: int) -> Shape:
        """Of an argument as the step takes it."""
        shape = self.arrays[k].shape
        return (shape[0] * self.times, *shape[1:]) if self.is_repeated(k) else shape

    def is_repeated(self, k: int) -> bool:
        shape = self.arrays[k].shape
        return self.times > 1 and bool(shape) and shape[0] == self.rows


def _row(name: str, on_device: Any, emulated: Shape, **options: Any) -> Row:
    return Row(lambda: get_workload(name), tuple(on_device), (emulated,), **options)


LINE = ((10**4,), (2**20,), (2**24,), (2**27,))
ROWS: dict[str, Row] = {
    "bce": Row(_bce_workload, LINE, ((300,), (2100,))),
    "chain": _row("chain", LINE, (300,)),
    "black_scholes": _row("black_scholes", LINE, (300,)),
    "logistic_regression": _row("logistic_regression", ((10**4, 16), (2**20, 16), (2**24, 16)), (70, 5)),
    "softmax_cross_entropy": _row("softmax_cross_entropy", ((10**4, 128), (2**20, 128)), (33, 10)),
    "layer_norm": _row("layer_norm", ((10**4, 512), (2**18, 512)), (20, 33)),
    "stencil": _row(
        "stencil",
        ((100, 100), (1024, 1024), (16384, 8192)),
        (17, 19),
        make=lambda rows, columns: (normal(rows, columns),),
    ),
    "mlp": _row("mlp", ((1024,), (2**16,)), (8,)),
    "attention": _row("attention", ((256, 64), (4096, 64)), (9, 4), grows=False),
}


def arguments_of(name: str, shape: Shape, dtype: str) -> Arguments:
    """The arguments on the host, floats in one dtype; long ones as a part and how often it is repeated."""
    row = ROWS[name]
    first, rest = shape[0], math.prod(shape[1:])
    if row.grows and first * rest > MADE:
        largest = max(1, REPEATED // rest)
        first = math.gcd(first, 2 ** (largest.bit_length() - 1))
    make = row.make or row.workload().inputs
    arrays = [np.asarray(x) for x in make(first, *shape[1:])]
    cast = tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays)
    return Arguments(cast, first, shape[0] // first)


def bytes_floor(workload: Workload, arguments: Arguments) -> int:
    """Bytes that any program moves: every argument is read and every gradient written once."""
    arrays = arguments.arrays
    sizes = [math.prod(arguments.shape(k)) * arrays[k].dtype.itemsize for k in range(len(arrays))]
    return sum(sizes) + sum(sizes[k] for k in workload.argnums)


@cache
def floor_of(name: str, shape: Shape, dtype: str) -> int:
    """`bytes_floor` of a row at one size."""
    return bytes_floor(ROWS[name].workload(), arguments_of(name, shape, dtype))


def fitted(name: str, shape: Shape, dtype: str, free: float) -> Shape | None:
    """The shape with half the rows as often as memory needs; None where it cannot be made small enough."""
    row = ROWS[name]
    while floor_of(name, shape, dtype) * TIMES_FLOOR > free:
        if not row.grows or shape[0] % 2 or shape[0] < 2048:
            return None
        shape = (shape[0] // 2, *shape[1:])
    return shape
