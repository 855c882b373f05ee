"""Random programs for the laws of schedule and code generation: a graph, and arrays in every kind of layout.

A program knows which of its values are exact (small multiples of a power of two that went through exact
operations only). What is not continuous (comparisons, floors, positions of extremes) is applied to exact
values alone, so that two right ways of computing agree.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.schedule.layouts import in_some_layout
from tracejit.ir import ArrayType, Builder, Graph, building, constant, evaluate, verify
from tracejit.ops import NUMPY, Value
from tracejit.ops.core import broadcast_to, convert, permute, reshape
from tracejit.ops.diagonal import matrix_of_diagonal
from tracejit.ops.gather import gather, scatter_add
from tracejit.ops.indexing import getitem
from tracejit.ops.slicing import unslice
from tracejit.transforms import vjp_graph

N = NUMPY
Choose = Callable[[int], int]

MOST_ELEMENTS = 240
INEXACT = 1000.0  # bits: more than any float has
FLOATS = (np.dtype("f8"), np.dtype("f4"))
INTEGERS = (np.dtype("i8"), np.dtype("i4"), np.dtype("u1"))
SIZES = (3, 5, 1, 2, 6, 8, 4, 12)
SPECIALS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])


@dataclass(frozen=True)
class Entry:
    """A value and the number of bits that hold each of its elements exactly (INEXACT: it was rounded)."""

    value: Value
    bits: float

    @property
    def is_exact(self) -> bool:
        return self.value.dtype.kind != "f" or self.bits <= (50 if self.value.dtype == np.float64 else 21)


@dataclass
class Program:
    """A graph with arguments; `tags` name what went into it, for whoever reads a failure."""

    graph: Graph
    arrays: list[np.ndarray[Any, Any]]
    tags: list[str] = field(default_factory=list)

    @functools.cached_property
    def scale(self) -> float:
        """The largest finite magnitude of any intermediate result, which rounding errors are relative to."""
        every = Graph(self.graph.inputs, self.graph.eqns, tuple(e.out for e in self.graph.eqns))
        finite = [np.abs(r[np.isfinite(r)]) for r in evaluate(every, self.arrays) if r.dtype.kind == "f"]
        return max([1.0, *(float(f.max()) for f in finite if f.size)])

    @property
    def is_tame(self) -> bool:
        """Are the numbers small enough for a comparison to say something?"""
        return self.scale < 1e6

    @property
    def tolerance(self) -> float:
        types = [v.type for v in (*self.graph.inputs, *(e.out for e in self.graph.eqns))]
        return 1e-4 if any(t.dtype == np.float32 for t in types) else 1e-9


def check_same(program: Program, results: list[Any], expected: list[Any]) -> None:
    """Equal shapes, dtypes and integers, and floats up to rounding."""
    tolerance = program.tolerance
    for number, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype), program.tags
        slack = tolerance * program.scale if wanted.dtype.kind == "f" else 0
        message = f"output {number} of {program.tags}"
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=slack, err_msg=message)


class Growing:
    """A program under construction: every choice is `choose(n)`, an integer below n."""

    def __init__(self, choose: Choose, specials: bool = False) -> None:
        self.choose = choose
        self.builder = Builder("program")
        self.specials = specials
        self.pool: list[Entry] = []
        self.arrays: list[np.ndarray[Any, Any]] = []
        self.tags: list[str] = []
        # Few sizes: arrays that share axes, and sizes that are equal by chance.
        self.sizes = SIZES if choose(3) == 0 else (SIZES[choose(8)], SIZES[choose(8)])

    # --- choices --------------------------------------------------------------------------------------

    def pick(self, options: Any) -> Any:
        return options[self.choose(len(options))]

    def chance(self, one_in: int) -> bool:
        return self.choose(one_in) == one_in - 1

    def entry(self, wanted: Callable[[Entry], bool] = lambda e: True) -> Entry | None:
        """A value of the pool, the later ones more often."""
        fitting = [e for e in self.pool if wanted(e)]
        if not fitting:
            return None
        if self.choose(2):
            fitting = fitting[-3:]
        return self.pick(fitting)

    def floating(self) -> Entry | None:
        return self.entry(lambda e: e.value.dtype.kind == "f")

    def add(self, tag: str, value: Value, bits: float) -> None:
        if value.size <= MOST_ELEMENTS and value.ndim <= 4:
            self.pool.append(Entry(value, bits))
            self.tags.append(f"{tag}:{value.type}")

    # --- inputs ---------------------------------------------------------------------------------------

    def shape(self) -> tuple[int, ...]:
        rank = self.pick((2, 1, 2, 3, 0, 2))
        shape = tuple(0 if self.choose(60) == 59 else self.pick(self.sizes) for _ in range(rank))
        return shape if math.prod(shape) <= 120 else shape[:1]

    def add_input(self, dtype: Any = None, shape: Any = None) -> Entry:
        dtype = dtype or self.pick((FLOATS[0], FLOATS[0], FLOATS[0], *FLOATS, *INTEGERS, np.dtype(bool)))
        shape = self.shape() if shape is None else shape
        size = math.prod(shape)
        if dtype.kind == "b":
            data = np.array([self.choose(2) for _ in range(size)], bool)
        elif dtype.kind == "f":
            data = np.array([self.choose(33) - 16 for _ in range(size)], dtype) / dtype.type(8)
            if self.specials and size and self.choose(2):
                data[self.choose(size)] = self.pick(SPECIALS)
        else:
            data = np.array([self.choose(11) - (0 if dtype.kind == "u" else 5) for _ in range(size)], dtype)
        self.arrays.append(in_some_layout(data.reshape(shape), self.choose))
        value = Value(self.builder, self.builder.add_input(_type(dtype, shape)))
        entry = Entry(value, 4.0)
        self.pool.append(entry)
        return entry

    def add_positions(self, shape: tuple[int, ...], extent: int) -> Value:
        """An integer input whose elements index an axis of `extent`, negative ones too."""
        dtype = self.pick(INTEGERS)
        low = 0 if dtype.kind == "u" else -extent
        data = np.array([self.choose(extent - low) + low for _ in range(math.prod(shape))], dtype)
        self.arrays.append(data.reshape(shape))
        return Value(self.builder, self.builder.add_input(_type(dtype, shape)))

    # --- programs -------------------------------------------------------------------------------------

    def grow(self, steps: int) -> None:
        with building(self.builder):
            for _ in range(1 + self.choose(3)):
                self.add_input()
            while steps > 0:
                step: Callable[[Growing], None] = self.pick(STEPS)
                step(self)
                steps -= 1

    def finish(self) -> Program:
        """The graph of some values of the pool, the last one among them."""
        with building(self.builder):
            count = self.choose(3)
            outputs = [self.pick(self.pool).value.atom for _ in range(count)] + [self.pool[-1].value.atom]
            graph = verify(self.builder.finish(outputs))
        return Program(graph, self.arrays, self.tags)

    def finish_with_gradient(self) -> Program | None:
        """The graph of the value and the gradients of a sum of some of the pool's values."""
        terms = [e.value for e in self.pool if e.value.dtype.kind == "f"]
        if not terms:
            return None
        with building(self.builder):
            loss: Any = N[np.sum](terms[-1])
            for _ in range(self.choose(3)):
                loss = loss + N[np.sum](self.pick(terms))
            loss = convert(loss, np.float64)
            graph = self.builder.finish([loss.atom])
        wrt = [k for k, v in enumerate(graph.inputs) if v.type.is_float]
        if not wrt:
            return None
        return Program(value_and_gradients(graph, wrt), self.arrays, self.tags)


def value_and_gradients(graph: Graph, wrt: list[int]) -> Graph:
    """The graph of a scalar value and its gradients, its cotangent 1 built in."""
    pulled = vjp_graph(graph, wrt)
    builder = Builder("value_and_gradients")
    with building(builder):
        inputs = [builder.add_input(v.type) for v in graph.inputs]
        outputs = builder.inline(pulled, [*inputs, constant(1.0, np.float64)])
    return verify(builder.finish(outputs))


def _type(dtype: Any, shape: Any) -> Any:
    return ArrayType(tuple(shape), np.dtype(dtype))


def random_program(choose: Choose, *, gradient: bool = False, steps: int = 10) -> Program | None:
    """A program of about `steps` operations; None where no gradient exists."""
    growing = Growing(choose, specials=not gradient and choose(3) == 0)
    growing.grow(2 + choose(steps))
    return growing.finish_with_gradient() if gradient else growing.finish()


# --- steps --------------------------------------------------------------------------------------------


def _input(g: Growing) -> None:
    g.add_input()


def _smooth(g: Growing) -> None:
    e = g.floating()
    if e is None:
        return
    x = e.value
    functions: dict[str, Callable[[], Any]] = {
        "tanh": lambda: N[np.tanh](x),
        "sin": lambda: N[np.sin](x),
        "gauss": lambda: N[np.exp](-N[np.square](N[np.tanh](x))),
        "log1p": lambda: N[np.log1p](x * x),
        "ratio": lambda: x / (1.0 + x * x),
        "sqrt": lambda: N[np.sqrt](x * x + 2),
        "power": lambda: N[np.tanh](x) ** 3,
    }
    tag = g.pick(list(functions))
    g.add(tag, functions[tag](), INEXACT)


def _raw(g: Growing) -> None:
    """Functions with poles and jumps, of exact values."""
    e = g.entry(lambda e: e.is_exact and e.value.dtype.kind == "f")
    if e is None:
        return
    x = e.value
    functions: dict[str, Callable[[], Any]] = {
        "floor": lambda: N[np.floor](x),
        "abs": lambda: N[np.abs](x),
        "sign": lambda: N[np.sign](x),
    }
    if g.specials:
        functions |= {
            "log": lambda: N[np.log](x),
            "sqrt": lambda: N[np.sqrt](x),
            "reciprocal": lambda: 1 / x,
            "isnan": lambda: N[np.isnan](x),
            "isfinite": lambda: N[np.isfinite](x),
        }
    tag = g.pick(list(functions))
    g.add(tag, functions[tag](), e.bits if tag in ("floor", "abs", "sign") else INEXACT)


def _partner(g: Growing, e: Entry, wanted: Callable[[Entry], bool] = lambda e: True) -> Entry | None:
    def fits(other: Entry) -> bool:
        try:
            shape = np.broadcast_shapes(e.value.shape, other.value.shape)
        except ValueError:
            return False
        return math.prod(shape) <= MOST_ELEMENTS and wanted(other)

    return g.entry(fits)


def _arithmetic(g: Growing) -> None:
    a = g.entry(lambda e: e.value.dtype.kind != "b")
    b = None if a is None else _partner(g, a, lambda e: e.value.dtype.kind != "b")
    if a is None or b is None:
        return
    tag = g.pick(("add", "sub", "mul"))
    x, y = a.value, b.value
    result = x + y if tag == "add" else x - y if tag == "sub" else x * y
    g.add(tag, result, a.bits + b.bits if tag == "mul" else max(a.bits, b.bits) + 1)


def _with_number(g: Growing) -> None:
    e = g.entry(lambda e: e.value.dtype.kind in "fi")
    if e is None:
        return
    x = e.value
    choices: list[Callable[[], Any]] = [lambda: x * 2, lambda: 7 - x, lambda: -x, lambda: x + 1]
    if x.dtype.kind == "f":
        choices += [lambda: x * 0.3, lambda: x + 0.7]
        k = g.choose(6)
        g.add("number", choices[k](), e.bits + 3 if k < 4 else INEXACT)
    else:
        g.add("number", choices[g.choose(4)](), e.bits + 3)


def _extreme(g: Growing) -> None:
    a = g.entry(lambda e: e.value.dtype.kind != "b")
    b = None if a is None else _partner(g, a, lambda e: e.value.dtype.kind != "b")
    if a is None or b is None:
        return
    f = g.pick((np.maximum, np.minimum))
    if a.is_exact and b.is_exact:
        g.add(f.__name__, N[f](a.value, b.value), max(a.bits, b.bits))


def _compare(g: Growing) -> None:
    a = g.entry(lambda e: e.is_exact)
    b = None if a is None else _partner(g, a, lambda e: e.is_exact)
    if a is None or b is None:
        return
    f = g.pick((np.less, np.greater_equal, np.equal, np.not_equal))
    g.add(f.__name__, N[f](a.value, b.value), 1)


def _where(g: Growing) -> None:
    c = g.entry(lambda e: e.value.dtype.kind == "b")
    a = None if c is None else _partner(g, c)
    b = None if a is None or c is None else _partner(g, a)
    if a is None or b is None or c is None:
        return
    try:
        np.broadcast_shapes(a.value.shape, b.value.shape, c.value.shape)
    except ValueError:
        return
    g.add("where", N[np.where](c.value, a.value, b.value), max(a.bits, b.bits))


def _cast(g: Growing) -> None:
    e = g.entry(lambda e: e.is_exact and (e.bits < 8 or e.value.dtype.kind != "f"))
    if e is None or (g.specials and e.value.dtype.kind == "f"):
        return
    dtype = g.pick((np.dtype("f8"), np.dtype("f4"), np.dtype("i8"), np.dtype("i4"), np.dtype("f8")))
    bits = e.bits if e.value.dtype.kind != "i" or dtype.kind != "f" or e.bits < 20 else INEXACT
    g.add("cast", convert(e.value, dtype), bits)


def _permute(g: Growing) -> None:
    e = g.entry(lambda e: e.value.ndim > 1)
    if e is not None:
        axes = list(range(e.value.ndim))
        order = [axes.pop(g.choose(len(axes))) for _ in range(e.value.ndim)]
        g.add("permute", permute(e.value, order), e.bits)


def _reshape(g: Growing) -> None:
    e = g.entry()
    if e is None:
        return
    rest, shape = e.value.size, []
    while rest > 1 and len(shape) < 3:
        divisors = [d for d in range(1, rest + 1) if rest % d == 0]
        shape.append(rest if len(shape) == 2 else g.pick(divisors))
        rest //= shape[-1]
    if e.value.size == 0:
        shape = [0, 3]
    g.add("reshape", reshape(e.value, shape), e.bits)


def _slice(g: Growing) -> None:
    e = g.entry(lambda e: e.value.ndim > 0)
    if e is None:
        return
    key: list[Any] = []
    for n in e.value.shape:
        kind = g.choose(6)
        low, high = sorted((g.choose(n + 1), g.choose(n + 1)))
        step = 1 + g.choose(3)
        if kind == 0 and n:
            key.append(g.choose(n))
        elif kind == 1:
            key.append(slice(None, None, -step))
        elif kind == 2:
            key.append(slice(high - 1 if high else None, low - 1 if low else None, -step))
        elif kind == 3:
            key.append(slice(low, high, step))
        elif kind == 4:
            key.append(slice(1, None))
        else:
            key.append(slice(None))
    g.add("slice", getitem(e.value, tuple(key)), e.bits)


def _unslice(g: Growing) -> None:
    e = g.entry(lambda e: 0 < e.value.ndim < 4 and e.value.size > 0)
    if e is None:
        return
    shape, starts, steps = [], [], []
    for n in e.value.shape:
        step = g.pick((1, 1, 2, -1, 3, -2))
        before, after = g.choose(3), g.choose(3)
        extent = before + abs(step) * (n - 1) + 1 + after
        shape.append(extent)
        steps.append(step)
        starts.append(before if step > 0 else extent - 1 - after)
    if math.prod(shape) <= MOST_ELEMENTS:
        places = {"shape": tuple(shape), "starts": tuple(starts), "steps": tuple(steps)}
        g.add("unslice", unslice(e.value, **places), e.bits)


def _concatenate(g: Growing) -> None:
    a = g.entry(lambda e: e.value.ndim > 0)
    if a is None:
        return
    axis = g.choose(a.value.ndim)

    def fits(e: Entry) -> bool:
        x, y = list(a.value.shape), list(e.value.shape)
        return len(x) == len(y) and x[:axis] + x[axis + 1 :] == y[:axis] + y[axis + 1 :]

    parts = [a, *(g.entry(fits) or a for _ in range(1 + g.choose(2)))]
    bits = max(e.bits for e in parts)
    g.add("concatenate", N[np.concatenate]([e.value for e in parts], axis=axis), bits)


def _rearrange(g: Growing) -> None:
    e = g.entry(lambda e: e.value.ndim > 0)
    if e is None:
        return
    x = e.value
    choices: dict[str, Callable[[], Any]] = {
        "flip": lambda: N[np.flip](x, axis=g.choose(x.ndim)),
        "roll": lambda: N[np.roll](x, g.choose(4) - 2, axis=g.choose(x.ndim)),
        "expand_dims": lambda: N[np.expand_dims](x, g.choose(x.ndim + 1)),
        "broadcast": lambda: broadcast_to(x, (2 + g.choose(2), *x.shape)),
        "matrix": lambda: matrix_of_diagonal(x, g.choose(3) - 1),
        "repeat": lambda: N[np.repeat](x, 2, axis=g.choose(x.ndim)),
    }
    if x.ndim > 1:
        choices["diagonal"] = lambda: N[np.diagonal](x, g.choose(3) - 1)
        choices["tril"] = lambda: N[np.tril](x, g.choose(3) - 1)
        choices["triu"] = lambda: N[np.triu](x, g.choose(3) - 1)
    tag = g.pick(list(choices))
    g.add(tag, choices[tag](), e.bits)


def _axes(g: Growing, x: Value) -> Any:
    kind = g.choose(3)
    if kind == 0 or x.ndim == 0:
        return None
    if kind == 1:
        return g.choose(x.ndim)
    return tuple(k for k in range(x.ndim) if g.choose(2))


def _reduce(g: Growing) -> None:
    e = g.entry(lambda e: e.value.ndim > 0)
    if e is None:
        return
    x, axis, keepdims = e.value, _axes(g, e.value), bool(g.choose(2))
    f = g.pick((np.sum, np.sum, np.mean, np.max, np.min, np.prod, np.any, np.all, np.var))
    if f in (np.max, np.min) and not (x.size and e.is_exact):
        return
    if f in (np.any, np.all) and not e.is_exact:
        return
    if f is np.prod:
        x = x if x.dtype.kind != "f" else N[np.tanh](x)
    if f in (np.mean, np.var) and not x.size:
        return
    bits = {np.sum: e.bits + 8, np.max: e.bits, np.min: e.bits, np.any: 1, np.all: 1}.get(f, INEXACT)
    g.add(f.__name__, N[f](x, axis=axis, keepdims=keepdims), bits)


def _position(g: Growing) -> None:
    e = g.entry(lambda e: e.value.size > 0 and e.is_exact)
    if e is not None:
        f = g.pick((np.argmax, np.argmin))
        axis = g.choose(e.value.ndim) if e.value.ndim and g.choose(3) else None
        g.add(f.__name__, N[f](e.value, axis=axis), 8)


def _normalize(g: Growing) -> None:
    """Reductions of rows (or columns) that are used again along them: softmax, layer norm, and so on."""
    e = g.entry(lambda e: e.value.ndim > 0 and e.value.size > 0 and e.value.dtype.kind == "f")
    if e is None:
        return
    x, axis = e.value, g.choose(e.value.ndim)
    tag = g.pick(("softmax", "layer norm", "shift", "scale", "twice", "log softmax", "nested"))
    if tag in ("softmax", "twice", "log softmax"):
        x = _softmax(N[np.tanh](x) if not e.is_exact else x, axis)
        if tag == "twice":
            x = _softmax(x * 3.0, axis, shifted=False)
        elif tag == "log softmax":
            x = N[np.log](x + 0.5)
    elif tag == "layer norm":
        m = N[np.mean](x, axis=axis, keepdims=True)
        x = (x - m) / N[np.sqrt](N[np.var](x, axis=axis, keepdims=True) + 0.5)
    elif tag == "shift":
        x = x - N[np.mean](x, axis=axis, keepdims=True)
    elif tag == "scale":
        x = x / (1.0 + N[np.sum](x * x, axis=axis, keepdims=True))
    else:
        rows = N[np.sum](N[np.tanh](x), axis=axis, keepdims=True)
        x = N[np.sin](x) + rows * N[np.sum](rows)
    g.add(tag, x, INEXACT)


def _softmax(x: Value, axis: int, shifted: bool = True) -> Value:
    e = N[np.exp](x - N[np.max](x, axis=axis, keepdims=True) if shifted else x)
    return e / N[np.sum](e, axis=axis, keepdims=True)


def _gather(g: Growing) -> None:
    e = g.entry(lambda e: e.value.ndim > 0 and e.value.shape[0] > 0)
    if e is None:
        return
    shape = tuple(g.pick((2, 3, 5)) for _ in range(g.choose(3)))
    count = 1 + g.choose(2) if e.value.ndim > 1 and e.value.shape[1] else 1
    indices = [g.add_positions(shape, e.value.shape[k]) for k in range(count)]
    kind = g.choose(3)
    if kind == 0 and len(shape) == 1 and count == 2 and e.value.shape[0]:
        rows = np.arange(e.value.shape[0])
        g.add("pick", getitem(e.value, (rows, g.add_positions(rows.shape, e.value.shape[1]))), e.bits)
    elif kind == 1 and e.value.ndim > 1 and e.value.shape[-1]:
        g.add("take last", getitem(e.value, (..., g.add_positions(shape, e.value.shape[-1]))), e.bits)
    else:
        g.add("gather", gather(e.value, *indices), e.bits)


def _scatter(g: Growing) -> None:
    e = g.entry(lambda e: e.value.ndim > 0 and e.value.dtype.kind != "b")
    if e is None:
        return
    rank = 1 + g.choose(min(2, e.value.ndim))
    extent = g.pick((3, 5, 7))
    index = g.add_positions(e.value.shape[:rank], extent)
    g.add("scatter", scatter_add(e.value, index, shape=(extent, *e.value.shape[rank:])), e.bits + 8)


def _scan(g: Growing) -> None:
    e = g.entry(lambda e: e.value.ndim > 0 and e.value.dtype.kind != "b")
    if e is not None:
        g.add("cumsum", N[np.cumsum](e.value, axis=g.choose(e.value.ndim)), e.bits + 8)


def _product(g: Growing) -> None:
    a = g.entry(lambda e: 1 <= e.value.ndim <= 2 and e.value.dtype.kind == "f")
    if a is None:
        return
    inner = a.value.shape[-1]
    b = g.entry(lambda e: 1 <= e.value.ndim <= 2 and e.value.dtype.kind == "f" and inner in e.value.shape)
    if b is None:
        return
    y = b.value if b.value.shape[0] == inner else N[np.transpose](b.value)
    g.add("matmul", N[np.matmul](a.value, y), INEXACT)


STEPS: tuple[Callable[[Growing], None], ...] = (
    _smooth,
    _smooth,
    _smooth,
    _raw,
    _arithmetic,
    _arithmetic,
    _arithmetic,
    _with_number,
    _extreme,
    _compare,
    _where,
    _cast,
    _permute,
    _reshape,
    _slice,
    _slice,
    _unslice,
    _concatenate,
    _rearrange,
    _rearrange,
    _reduce,
    _reduce,
    _reduce,
    _position,
    _normalize,
    _normalize,
    _gather,
    _scatter,
    _scan,
    _product,
    _input,
)
