"""Random small graphs for laws: elementwise work, reductions, views, gathers and contractions.

`graphs()` draws a graph and arrays to run it on. Values that are exact whatever the order of summation are
known, and only those are compared or divided by: elsewhere a last digit could turn into another result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tracejit.ir import ArrayType, Builder, Graph, building, verify
from tracejit.ops import (
    Value,
    arithmetic,
    comparison,
    contraction,
    core,
    diagonal,
    gather,
    joining,
    reduction,
    scan,
    slicing,
    special,
    transcendental,
)

# Bits of precision that products and sums may use up before a value is no longer exact (float32 has 24).
EXACT_BITS = 22
SMOOTH = (
    transcendental.sin,
    transcendental.tanh,
    transcendental.arctan,
    special.sigmoid,
    arithmetic.negative,
)
COMPARISONS = (comparison.less, comparison.greater_equal, comparison.equal)
DTYPES = ("f8", "f8", "f8", "f4", "i8", "?")


@dataclass
class Item:
    """A value of the pool; `bits` bounds the precision it needs, None when it is rounded."""

    value: Value
    bits: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def dtype(self) -> Any:
        return self.value.dtype


def _exact(bits: int) -> int | None:
    return bits if bits <= EXACT_BITS else None


class RandomGraph:
    """A graph grown step by step from a pool of values."""

    def __init__(self, seed: int, special_values: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = Builder("random")
        self.arrays: list[Any] = []
        self.pool: list[Item] = []
        for _ in range(self.pick(1, 2, 3, 4)):
            self.add_input(special_values)

    # --- choices -----------------------------------------------------------------------------------------

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def shape(self) -> tuple[int, ...]:
        return tuple(self.pick(1, 2, 3, 4) for _ in range(self.pick(0, 1, 1, 2, 2, 2, 3)))

    def add_input(self, special_values: bool) -> None:
        shape = self.pick(self.shape(), (3,), (4, 3), (3, 4))
        dtype = np.dtype(self.pick(*DTYPES))
        array = np.asarray(
            self.rng.integers(-24, 25, shape) / 8 if dtype.kind == "f" else self.rng.integers(0, 5, shape)
        )
        if special_values and dtype.kind == "f":
            odd = self.rng.choice([np.nan, np.inf, -np.inf, -0.0], shape)
            array = np.where(self.rng.random(shape) < 0.15, odd, array)
        self.arrays.append(array.astype(dtype))
        var = self.builder.add_input(ArrayType(array.shape, dtype))
        self.pool.append(Item(Value(self.builder, var), 6))

    def any_item(self, wanted: Callable[[Item], bool] = lambda item: True) -> Item | None:
        found = [item for item in self.pool if wanted(item)]
        # Later values more often, so that graphs grow deep.
        return (
            found[max(int(self.rng.integers(len(found))), int(self.rng.integers(len(found))))]
            if found
            else None
        )

    def floats(self, exact: bool = False) -> Item | None:
        return self.any_item(lambda i: i.dtype.kind == "f" and (not exact or i.bits is not None))

    def like(self, item: Item) -> Item:
        """Another operand of the same shape and dtype: from the pool, broadcast, or a constant."""
        same = self.any_item(lambda i: i.dtype == item.dtype and i.shape == item.shape)
        small = self.any_item(lambda i: i.dtype == item.dtype and self._fits(i.shape, item.shape))
        choice = self.pick("same", "same", "small", "constant")
        if choice == "same" and same is not None:
            return same
        if choice == "small" and small is not None:
            return Item(core.broadcast_to(small.value, item.shape), small.bits)
        number = (
            self.pick(0, 1, 1, 2)
            if item.dtype.kind != "f"
            else self.pick(0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0)
        )
        return Item(arithmetic.full(item.shape, number, item.dtype), 2)

    @staticmethod
    def _fits(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
        try:
            return np.broadcast_shapes(small, large) == large
        except ValueError:
            return False

    def push(self, value: Value, bits: int | None) -> None:
        if value.size <= 400:
            self.pool.append(Item(value, bits))

    # --- steps -------------------------------------------------------------------------------------------

    def linear(self) -> None:
        x = self.any_item(lambda i: i.dtype.kind in "fi")
        if x is not None:
            y = self.like(x)
            bits = None if x.bits is None or y.bits is None else _exact(max(x.bits, y.bits) + 1)
            self.push(self.pick(arithmetic.add, arithmetic.subtract)(x.value, y.value), bits)

    def product(self) -> None:
        x = self.any_item()
        if x is not None:
            y = self.like(x)
            bits = None if x.bits is None or y.bits is None else _exact(x.bits + y.bits)
            self.push(arithmetic.multiply(x.value, y.value), bits)

    def negate(self) -> None:
        x = self.any_item(lambda i: i.dtype.kind in "fi")
        if x is not None:
            self.push(arithmetic.negative(x.value), x.bits)

    def divide(self) -> None:
        x = self.floats()
        if x is not None:
            y = self.like(x)
            if y.bits is not None:
                one = arithmetic.full(x.shape, 1, x.dtype)
                safe = arithmetic.select(comparison.equal(y.value, 0), one, y.value)
                self.push(arithmetic.divide(x.value, safe), None)

    def smooth(self) -> None:
        x = self.floats()
        if x is not None:
            self.push(self.pick(*SMOOTH)(x.value), None)

    def kink(self) -> None:
        x = self.floats(exact=True)
        if x is not None:
            y = self.like(x)
            if y.bits is not None:
                kinks = (comparison.maximum, comparison.minimum, lambda a, b: arithmetic.absolute(a))
                self.push(self.pick(*kinks)(x.value, y.value), max(x.bits or 0, y.bits))

    def compare(self) -> None:
        x = self.any_item(lambda i: i.bits is not None and i.dtype.kind in "fi")
        if x is not None:
            y = self.like(x)
            if y.bits is not None:
                self.push(self.pick(*COMPARISONS)(x.value, y.value), 1)

    def select(self) -> None:
        c = self.any_item(lambda i: i.dtype == np.bool_)
        x = None if c is None else self.any_item(lambda i: i.shape == c.shape)
        if c is not None and x is not None:
            y = self.like(x)
            bits = None if x.bits is None or y.bits is None else max(x.bits, y.bits)
            condition = self.pick(c.value, comparison.logical_not(c.value))
            self.push(arithmetic.select(condition, x.value, y.value), bits)

    def convert(self) -> None:
        x = self.any_item()
        if x is not None:
            wide = {"?": ("i8", "f4", "f8"), "i": ("f8", "i4"), "f": ("f8", "f4")}[
                "?" if x.dtype == np.bool_ else x.dtype.kind
            ]
            target = np.dtype(self.pick(*wide))
            # Rounding to float32 may turn a last digit of float64 into one of float32.
            if x.bits is not None or target != np.float32:
                self.push(core.convert(x.value, target), x.bits)

    def reduce(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0 and i.dtype.kind in "fi")
        if x is not None:
            axes = tuple(k for k in range(len(x.shape)) if self.rng.random() < 0.6)
            bits = None if x.bits is None else _exact(x.bits + math.ceil(math.log2(max(1, x.value.size))) + 1)
            if x.bits is not None and x.value.size and self.rng.random() < 0.3:
                extremum = self.pick(reduction.reduce_max, reduction.reduce_min)
                self.push(extremum(x.value, axes=axes), x.bits)
            else:
                self.push(core.reduce_sum(x.value, axes), bits)

    def accumulate(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0 and i.dtype.kind in "fi")
        if x is not None:
            bits = None if x.bits is None else _exact(x.bits + 3)
            self.push(scan.running_sum(x.value, axis=len(x.shape) - 1, reverse=self.pick(True, False)), bits)

    def broadcast(self) -> None:
        x = self.any_item(lambda i: len(i.shape) < 3)
        if x is not None:
            rank = len(x.shape) + self.pick(1, 1, 2)
            dims = tuple(int(d) for d in self.rng.permutation(rank)[: len(x.shape)])
            dims = dims if self.rng.random() < 0.3 else tuple(sorted(dims))
            shape = [self.pick(1, 2, 3) for _ in range(rank)]
            for d, n in zip(dims, x.shape, strict=True):
                shape[d] = n
            self.push(core.broadcast(x.value, tuple(shape), dims), x.bits)

    def move(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0)
        if x is not None:
            self.push(core.permute(x.value, self.rng.permutation(len(x.shape))), x.bits)

    def regroup(self) -> None:
        x = self.any_item()
        if x is not None:
            n = x.value.size
            halves = [(n // k, k) for k in (2, 3, 4) if n % k == 0]
            with_one = list(x.shape)
            with_one.insert(self.pick(*range(len(with_one) + 1)), 1)
            without = tuple(s for s in x.shape if s != 1)
            self.push(core.reshape(x.value, self.pick((n,), with_one, without, *halves)), x.bits)

    def cut(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0)
        if x is not None:
            pieces = [self._piece(n) for n in x.shape]
            self.push(slicing.take_slices(x.value, pieces), x.bits)

    def _piece(self, n: int) -> tuple[int, int, int]:
        key = slice(self.pick(None, 0, 1, -2), self.pick(None, None, -1, n), self.pick(1, 1, 1, 2, -1))
        key = slice(None, None, -1) if key.step == -1 else key
        start, _, step = key.indices(n)
        return start, len(range(*key.indices(n))), step

    def pad(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0 and i.value.size)
        if x is not None:
            shape, starts, steps = [], [], []
            for n in x.shape:
                before, after, step = self.pick(0, 0, 1), self.pick(0, 0, 2), self.pick(1, 1, 1, 2)
                shape.append(before + step * (n - 1) + 1 + after)
                starts.append(before)
                steps.append(step)
            padded = slicing.unslice(x.value, shape=tuple(shape), starts=tuple(starts), steps=tuple(steps))
            self.push(padded, x.bits)

    def join(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0)
        if x is not None:
            axis = self.pick(*range(len(x.shape)))
            y = self.like(x)
            bits = None if x.bits is None or y.bits is None else max(x.bits, y.bits)
            self.push(joining.join([x.value, y.value], axis), bits)

    def diagonals(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0 and i.dtype.kind in "fi")
        if x is not None:
            offset = self.pick(0, 0, 1, -1)
            if len(x.shape) == 1 or self.rng.random() < 0.3:
                self.push(diagonal.matrix_of_diagonal(x.value, offset), x.bits)
            else:
                self.push(diagonal.matrix_diagonal(x.value, offset), x.bits)

    def take(self) -> None:
        x = self.any_item(lambda i: len(i.shape) > 0 and i.shape[0] > 0)
        if x is not None:
            shape = self.pick((), (2,), (5,), (2, 2))
            index = core.convert(
                core.iota(shape, 0) if shape == (2,) else arithmetic.full(shape, 0, np.int64), "i8"
            )
            if self.rng.random() < 0.7 and shape:
                known = self.rng.integers(0, x.shape[0], shape)
                index = Value(self.builder, self.builder.add_input(ArrayType(shape, np.dtype("i8"))))
                self.arrays.append(known)
            self.push(gather.gather(x.value, self._within(index, x.shape[0])), x.bits)

    @staticmethod
    def _within(index: Value, n: int) -> Value:
        return arithmetic.remainder(index, n)

    def contract(self) -> None:
        x = self.any_item(lambda i: 0 < len(i.shape) <= 2 and i.dtype.kind == "f")
        y = None if x is None else self.any_item(lambda i: 0 < len(i.shape) <= 2 and i.dtype == x.dtype)
        if x is None or y is None:
            return
        pairs = [(a, b) for a, n in enumerate(x.shape) for b, m in enumerate(y.shape) if n == m]
        if pairs:
            a, b = self.pick(*pairs)
            rest = [(p, q) for p, q in pairs if p != a and q != b]
            batch = self.pick((), *rest)
            both = ((batch[0],), (batch[1],)) if batch else ((), ())
            self.push(contraction.dot_general(x.value, y.value, ((a,), (b,)), both), None)

    # --- the graph ---------------------------------------------------------------------------------------

    STEPS = (
        *(linear, product, product, negate, divide, smooth, smooth, kink, compare, select, convert),
        *(reduce, reduce, accumulate, broadcast, broadcast, move, move, regroup, regroup, cut, cut),
        *(pad, pad, join, diagonals, take, contract, contract),
    )

    def finish(self, steps: int) -> tuple[Graph, list[Any]]:
        with building(self.builder):
            for _ in range(steps):
                self.pick(*self.STEPS)(self)
        count = self.pick(1, 1, 2)
        outputs = [item.value.atom for item in self.pool[-count:]]
        return verify(self.builder.finish(outputs)), self.arrays


def random_graph(seed: int, steps: int, special_values: bool = True) -> tuple[Graph, list[Any]]:
    """A graph of about `steps` operations, and arrays for its inputs (NaN, infinities and -0.0 if asked)."""
    return RandomGraph(seed, special_values).finish(steps)


def graphs(special_values: bool = True, most: int = 16) -> st.SearchStrategy[tuple[Graph, list[Any]]]:
    """Random graphs with arrays; a failing one shrinks to fewer steps."""
    seeds = st.integers(0, 2**32 - 1)
    return st.builds(
        lambda steps, seed: random_graph(seed, steps, special_values), st.integers(1, most), seeds
    )
