"""The text of a kernel as a function that all threads of a block run together, a statement at a time.

A variable is an array with an element a thread, or one number where all threads have the same. Where threads
part (branches, loops of several lengths) a mask says who runs a statement; None is everybody.
"""

from __future__ import annotations

import ast
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tracejit.errors import InternalError

GIVEN = ("_block", "_device")  # arguments in front of the kernel's own: the block's number, what it can do
ALL = "None"  # the mask of everybody


@dataclass(frozen=True)
class Together:
    """A kernel as a function of a block's number, what a device does, and the kernel's arguments."""

    call: Callable[..., Any]
    names: tuple[str, ...]  # of the kernel's arguments
    stored: frozenset[str]  # arrays that it writes to


@functools.lru_cache(maxsize=1024)
def together(text: str, name: str) -> Together:
    """A module with the one function `name`, made into a function of all threads of a block."""
    function = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef))
    names = tuple(a.arg for a in function.args.args)
    writer = _Writer(function)
    lines = writer.lines_of(function)
    header = f"def {name}({', '.join((*GIVEN, *names))}):"
    space: dict[str, Any] = {"np": np, "math": math, **ACTIONS, **writer.constants}
    exec(compile("\n".join([header, *lines]), f"<{name}>", "exec"), space)
    return Together(space[name], names, frozenset(writer.stored))


# --- masks and what depends on them -------------------------------------------------------------------------


def narrow(mask: Any, condition: Any) -> Any:
    """The lanes of a mask for which a condition holds; False where there are none."""
    if not isinstance(condition, np.ndarray):
        return mask if condition else False
    condition = condition if condition.dtype == bool else condition != 0
    lanes = condition if mask is None else mask & condition
    if lanes.all():
        return None
    return lanes if lanes.any() else False


def others(mask: Any, condition: Any) -> Any:
    """The lanes of a mask for which a condition does not hold."""
    return narrow(mask, ~condition if isinstance(condition, np.ndarray) else not condition)


def leave(gone: Any, mask: Any) -> Any:
    """Those who have left, and the lanes of a mask."""
    return True if mask is None or gone is True else mask if gone is None else gone | mask


def stay(mask: Any, gone: Any) -> Any:
    """The lanes of a mask that have not left."""
    return mask if gone is None or mask is False else others(mask, gone)


def put(mask: Any, old: Any, new: Any) -> Any:
    """A variable after an assignment by the lanes of a mask."""
    if mask is None:
        return new
    return np.where(mask, new, np.zeros_like(new) if old is None else old)


def choose(condition: Any, a: Any, b: Any) -> Any:
    if not isinstance(condition, np.ndarray):
        return a if condition else b
    return np.where(condition, a, b)


def choose_lazily(mask: Any, condition: Any, a: Callable[[Any], Any], b: Callable[[Any], Any]) -> Any:
    """`choose`, each side computed by those alone who take it: others may not read what it reads."""
    first, second = narrow(mask, condition), others(mask, condition)
    if second is False:
        return a(first)
    if first is False:
        return b(second)
    return np.where(condition, a(first), b(second))


def both(a: Any, b: Any) -> Any:
    is_array = isinstance(a, np.ndarray) or isinstance(b, np.ndarray)
    return np.logical_and(a, b) if is_array else bool(a) and bool(b)


def either(a: Any, b: Any) -> Any:
    is_array = isinstance(a, np.ndarray) or isinstance(b, np.ndarray)
    return np.logical_or(a, b) if is_array else bool(a) or bool(b)


def both_lazily(mask: Any, a: Any, b: Callable[[Any], Any]) -> Any:
    rest = narrow(mask, a)
    return False if rest is False else both(a, b(rest))


def either_lazily(mask: Any, a: Any, b: Callable[[Any], Any]) -> Any:
    rest = others(mask, a)
    return True if rest is False else either(a, b(rest))


def negate(x: Any) -> Any:
    return ~x if isinstance(x, np.ndarray) and x.dtype == bool else np.logical_not(x)


def counted(mask: Any, start: Any, stop: Any, step: Any) -> Iterator[tuple[Any, Any]]:
    """The values of a loop's counter, each with the lanes that still go round."""
    if not any(isinstance(x, np.ndarray) for x in (start, stop, step)):
        for k in range(start, stop, step):
            yield k, mask
        return
    k = start
    while True:
        is_inside = (k < stop) if np.all(step > 0) else (k > stop)
        mask = narrow(mask, is_inside)
        if mask is False:
            return
        yield k, mask
        k = k + step


ACTIONS: dict[str, Callable[..., Any]] = {
    "_narrow": narrow,
    "_others": others,
    "_leave": leave,
    "_stay": stay,
    "_put": put,
    "_choose": choose,
    "_choose_lazily": choose_lazily,
    "_both": both,
    "_either": either,
    "_both_lazily": both_lazily,
    "_either_lazily": either_lazily,
    "_not": negate,
    "_counted": counted,
}


# --- the function's text ------------------------------------------------------------------------------------


class _Writer:
    """Writes each statement for the lanes of a mask."""

    NUMBERS: ClassVar = {
        "cuda.threadIdx.x": "_device.lanes",
        "cuda.blockIdx.x": "_block",
        "cuda.gridDim.x": "_device.blocks",
    }
    LEAVING: ClassVar = (ast.Return, ast.Break)

    def __init__(self, function: ast.FunctionDef) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.masks = 0
        self.loops: list[str] = []  # variables that say who left which loop, innermost last
        self.stored: set[str] = set()
        self.constants: dict[str, Any] = {}
        nodes = list(ast.walk(function))
        targets = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
        counts = Counter(targets)
        self.temporary = {name for name, n in counts.items() if n == 1}
        self.kept = sorted(set(targets) - self.temporary)
        self.returns = any(isinstance(n, ast.Return) for n in nodes)
        self.leaves = any(isinstance(n, self.LEAVING) for n in nodes)

    def lines_of(self, function: ast.FunctionDef) -> list[str]:
        for name in (*self.kept, *(["_gone"] if self.returns else [])):
            self.put(f"{name} = None")
        self.suite(function.body, ALL)
        self.put("return None")
        return self.lines

    def put(self, line: str) -> None:
        self.lines.append(f"{' ' * 4 * self.depth}{line}")

    def new_mask(self) -> str:
        self.masks += 1
        return f"_mask{self.masks}"

    # --- statements -----------------------------------------------------------------------------------------

    def suite(self, statements: Sequence[ast.stmt], mask: str) -> None:
        """Statements one after another; those behind one at which threads leave are for the rest of them."""
        depth = self.depth
        for s in statements:
            getattr(self, f"write_{type(s).__name__}", self.refuse)(s, mask)
            if self.leaves and _has(s, self.LEAVING):
                mask = self.staying(mask)
        self.depth = depth

    def staying(self, mask: str) -> str:
        rest = self.new_mask()
        self.put(f"{rest} = {self.stayed(mask)}")
        self.put(f"if {rest} is not False:")
        self.depth += 1
        self.put("pass")
        return rest

    def stayed(self, mask: str) -> str:
        """The lanes of a mask that left neither the innermost loop nor the function."""
        for gone in (*(["_gone"] if self.returns else []), *filter(None, self.loops[-1:])):
            mask = f"_stay({mask}, {gone})"
        return mask

    def refuse(self, s: ast.stmt, mask: str) -> None:
        raise InternalError(f"the emulator knows no {type(s).__name__}: {ast.unparse(s)}")

    def inside(self, condition: str, statements: Sequence[ast.stmt], mask: str) -> None:
        self.put(condition)
        self.depth += 1
        self.suite(statements, mask)
        self.depth -= 1

    def write_Pass(self, s: ast.Pass, mask: str) -> None:
        self.put("pass")

    def write_Return(self, s: ast.Return, mask: str) -> None:
        self.put(f"_gone = _leave(_gone, {mask})")

    def write_Break(self, s: ast.Break, mask: str) -> None:
        self.put(f"{self.loops[-1]} = _leave({self.loops[-1]}, {mask})")

    def write_Expr(self, s: ast.Expr, mask: str) -> None:
        if not isinstance(s.value, ast.Constant):
            self.put(self.text(s.value, mask))

    def write_Assign(self, s: ast.Assign, mask: str) -> None:
        (target,) = s.targets
        if isinstance(s.value, ast.Call) and ast.unparse(s.value.func) == "cuda.shared.array":
            size, dtype = (ast.unparse(a) for a in s.value.args)
            name = ast.unparse(target)
            self.put(f"{name} = _device.shared({name!r}, {size}, {dtype})")
        else:
            self.assign(target, self.text(s.value, mask), mask)

    def write_AugAssign(self, s: ast.AugAssign, mask: str) -> None:
        old = ast.parse(ast.unparse(s.target), mode="eval").body
        value = ast.copy_location(ast.BinOp(old, s.op, s.value), s)
        self.assign(s.target, self.text(value, mask), mask)

    def assign(self, target: ast.expr, value: str, mask: str) -> None:
        if isinstance(target, ast.Subscript):
            name = ast.unparse(target.value)
            self.stored.add(name)
            self.put(f"{name}.store({mask}, {self.text(target.slice, mask)}, {value})")
            return
        name = ast.unparse(target)
        if mask == ALL or name in self.temporary:
            self.put(f"{name} = {value}")
        else:
            self.put(f"{name} = _put({mask}, {name}, {value})")

    def write_If(self, s: ast.If, mask: str) -> None:
        then, otherwise = self.new_mask(), self.new_mask()
        self.put(f"{otherwise} = {self.text(s.test, mask)}")
        self.put(f"{then} = _narrow({mask}, {otherwise})")
        if s.orelse:
            self.put(f"{otherwise} = _others({mask}, {otherwise})")
        self.inside(f"if {then} is not False:", s.body, then)
        if s.orelse:
            self.inside(f"if {otherwise} is not False:", s.orelse, otherwise)

    def write_For(self, s: ast.For, mask: str) -> None:
        assert isinstance(s.iter, ast.Call)
        bounds = [self.text(a, mask) for a in s.iter.args]
        start, stop, step = {1: ("0", *bounds, "1"), 2: (*bounds, "1")}.get(len(bounds), bounds)
        each = self.new_mask()
        self.enter_loop(s)
        self.put(f"for {ast.unparse(s.target)}, {each} in _counted({mask}, {start}, {stop}, {step}):")
        self.depth += 1
        self.drop_those_who_left(s, each)
        self.suite(s.body, each)
        self.depth -= 1
        self.loops.pop()

    def write_While(self, s: ast.While, mask: str) -> None:
        each = self.new_mask()
        self.enter_loop(s)
        self.put(f"{each} = {mask}")
        self.put("while True:")
        self.depth += 1
        self.drop_those_who_left(s, each)
        self.put(f"{each} = _narrow({each}, {self.text(s.test, each)})")
        self.put(f"if {each} is False: break")
        self.suite(s.body, each)
        self.depth -= 1
        self.loops.pop()

    def enter_loop(self, s: ast.For | ast.While) -> None:
        self.loops.append("")
        if self.leaves and _has(s, ast.Break):
            self.loops[-1] = f"_left{self.new_mask()}"
            self.put(f"{self.loops[-1]} = None")

    def drop_those_who_left(self, s: ast.For | ast.While, mask: str) -> None:
        if self.leaves and _has(s, self.LEAVING):
            self.put(f"{mask} = {self.stayed(mask)}")
            self.put(f"if {mask} is False: break")

    # --- expressions ----------------------------------------------------------------------------------------

    def text(self, node: ast.expr, mask: str) -> str:
        written = getattr(self, f"text_{type(node).__name__}", None)
        return ast.unparse(node) if written is None else written(node, mask)

    def text_Attribute(self, node: ast.Attribute, mask: str) -> str:
        name = ast.unparse(node)
        return self.NUMBERS.get(name) or name

    def text_BinOp(self, node: ast.BinOp, mask: str) -> str:
        sign = ast.unparse(ast.BinOp(ast.Name("a"), node.op, ast.Name("b"))).split()[1]
        return f"({self.text(node.left, mask)} {sign} {self.text(node.right, mask)})"

    def text_UnaryOp(self, node: ast.UnaryOp, mask: str) -> str:
        operand = self.text(node.operand, mask)
        if isinstance(node.op, ast.Not):
            return f"_not({operand})"
        return f"({ast.unparse(ast.UnaryOp(node.op, ast.Name('a')))[0]}{operand})"

    def text_Compare(self, node: ast.Compare, mask: str) -> str:
        operands = [node.left, *node.comparators]
        if len(operands) > 2:
            pairs = zip(operands, node.ops, operands[1:], strict=False)
            return self.text(ast.BoolOp(ast.And(), [ast.Compare(a, [op], [b]) for a, op, b in pairs]), mask)
        sign = ast.unparse(ast.Compare(ast.Name("a"), node.ops, [ast.Name("b")])).split(maxsplit=1)[1][:-2]
        return f"({self.text(operands[0], mask)} {sign} {self.text(operands[1], mask)})"

    def text_BoolOp(self, node: ast.BoolOp, mask: str) -> str:
        action = "_both" if isinstance(node.op, ast.And) else "_either"
        found = self.text(node.values[0], mask)
        for value in node.values[1:]:
            if _is_pure(value):
                found = f"{action}({found}, {self.text(value, mask)})"
            else:
                found = f"{action}_lazily({mask}, {found}, {self.later(value)})"
        return found

    def text_IfExp(self, node: ast.IfExp, mask: str) -> str:
        condition, sides = self.text(node.test, mask), (node.body, node.orelse)
        if all(map(_is_pure, sides)):
            return f"_choose({condition}, {self.text(node.body, mask)}, {self.text(node.orelse, mask)})"
        return f"_choose_lazily({mask}, {condition}, {', '.join(map(self.later, sides))})"

    def later(self, node: ast.expr) -> str:
        """An expression to be computed for lanes that are known later."""
        mask = self.new_mask()
        return f"lambda {mask}: {self.text(node, mask)}"

    def text_Subscript(self, node: ast.Subscript, mask: str) -> str:
        return f"{ast.unparse(node.value)}.load({mask}, {self.text(node.slice, mask)})"

    def text_Call(self, node: ast.Call, mask: str) -> str:
        name = ast.unparse(node.func)
        arguments = [self.text(a, mask) for a in node.args]
        if name == "cuda.atomic.add":
            self.stored.add(arguments[0])
            return f"{arguments[0]}.atomic_add({', '.join([mask, *arguments[1:]])})"
        if name.startswith("cuda."):
            action = name.removeprefix("cuda.").replace(".", "_")
            return f"_device.{action}({', '.join([mask, str(node.lineno), *arguments])})"
        return (
            self.constant(node, name)
            or f"{name.replace('libdevice', '_device.library')}({', '.join(arguments)})"
        )

    def constant(self, node: ast.Call, name: str) -> str:
        """A typed number is made once, not each time that threads come to it."""
        value = node.args[0] if len(node.args) == 1 else None
        value = value.operand if isinstance(value, ast.UnaryOp) else value
        if not name.startswith("np.") or not isinstance(value, ast.Constant):
            return ""
        made = f"_constant{len(self.constants)}"
        self.constants[made] = eval(ast.unparse(node), {"np": np})
        return made


def _has(node: ast.AST, kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> bool:
    return any(isinstance(n, kind) for n in ast.walk(node))


def _is_pure(node: ast.expr) -> bool:
    """May it be computed by threads that do not need it?"""
    return not any(isinstance(n, (ast.Subscript, ast.Call)) and _acts(n) for n in ast.walk(node))


def _acts(node: ast.Subscript | ast.Call) -> bool:
    return isinstance(node, ast.Subscript) or ast.unparse(node.func).startswith("cuda.")
