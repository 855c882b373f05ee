"""Could a function have branched on the content of an array while it was traced? Read from its bytecode.

A trace stays valid when a captured array changes only if no number of that array went into the graph. Numbers
that meet traced values are seen when they do; what a branch looked at is not, so branches are judged here:
"no" only where the test is made of names and constants that `guards` watches.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any

# What turns an array into a Python number or text, which nothing can recognise afterwards, or into an array
# whose size is such a number.
CONVERSIONS = frozenset(
    {"float", "int", "bool", "complex", "item", "tolist", "math", "allclose", "array_equal", "array_equiv"}
    | {"round", "str", "repr", "hash", "tobytes", "memoryview", "__index__", "all", "any", "get", "index"}
    | {"count", "unique", "nonzero", "flatnonzero", "argwhere", "extract", "compress", "bincount"}
)
# What may be asked of an array without looking at its elements.
STATIC_ATTRIBUTES = frozenset({"shape", "ndim", "size", "dtype"})

# The same for an array on a device; the host has nothing of it otherwise.
CONVERSIONS_FROM_DEVICES = frozenset({"asnumpy", "copy_to_host", "cpu", "device_get", "to"})

_NEUTRAL = frozenset(
    {"CACHE", "EXTENDED_ARG", "NOP", "RESUME", "TO_BOOL", "UNARY_NOT", "COPY", "DUP_TOP", "PUSH_NULL"}
)
_COMPARISONS = frozenset({"COMPARE_OP", "IS_OP", "CONTAINS_OP"})
_MAKES_KEYS = ("CALL", "CALL_FUNCTION", "CALL_METHOD", "BINARY_SUBSCR")
_EXCEPTION_TESTS = frozenset({"CHECK_EXC_MATCH", "WITH_EXCEPT_START", "CHECK_EG_MATCH"})
_NAMES = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"})


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """The code and those of the lambdas, comprehensions and functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_codes(constant)


def may_read_content(
    codes: Sequence[CodeType],
    array_names: frozenset[str],
    parameters: frozenset[str],
    has_integers: bool,
    has_devices: bool = False,
) -> bool:
    """Is there a conversion, or a test of or an index by more than plain names, in any of `codes`?

    array_names: names bound to concrete arrays; parameters: those of the traced function, which are tracers
        or static (its code comes first); has_integers: integer arrays are among the captured, so `range`
        counts too; has_devices: arrays on a device are
    """
    conversions = CONVERSIONS | ({"range"} if has_integers else frozenset())
    conversions |= CONVERSIONS_FROM_DEVICES if has_devices else frozenset()
    local = frozenset(name for code in codes for name in code.co_cellvars)
    for position, code in enumerate(codes):
        if not conversions.isdisjoint(code.co_names):
            return True
        instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")]
        stored = {str(i.argval) for i in instructions if i.opname.startswith("STORE_FAST")}
        plain = parameters - stored if position == 0 else frozenset[str]()
        unsafe = array_names | local
        keys = _key_locals(instructions, array_names)
        for k, instruction in enumerate(instructions):
            if _is_test(instruction) and not _is_plain_test(instructions, k, unsafe, plain):
                return True
            if instruction.opname == "BINARY_SUBSCR" and _is_key(instructions[k - 1], keys):
                return True
    return False


def _is_test(instruction: dis.Instruction) -> bool:
    """Does it branch, or make a Python bool of what is on the stack?"""
    name = instruction.opname
    if name in ("UNARY_NOT", "CONTAINS_OP"):
        return True
    return "JUMP" in name and "_IF_" in name and "NONE" not in name and "EXC_MATCH" not in name


def _key_locals(instructions: Sequence[dis.Instruction], array_names: frozenset[str]) -> frozenset[str]:
    """Local variables that may hold a number computed from an array, or an element of one in a loop."""
    found: set[str] = set()
    for k, instruction in enumerate(instructions):
        if not instruction.opname.startswith("STORE_FAST") or not k:
            continue
        before = instructions[k - 1].opname
        is_element = before == "FOR_ITER" and k > 2 and instructions[k - 3].argval in array_names
        if before in _MAKES_KEYS or is_element:
            found.add(str(instruction.argval))
    return frozenset(found)


def _is_key(instruction: dis.Instruction, locals: frozenset[str]) -> bool:
    """Is the index that this instruction leaves computed, so that it may come from the content of an array?

    A list or dict indexed by a number of an array gives something that does not show where it came from.
    """
    if instruction.opname.startswith("LOAD_FAST"):
        return instruction.argval in locals
    return instruction.opname in (*_MAKES_KEYS, "COMPARE_OP")


def _is_plain_test(
    instructions: Sequence[dis.Instruction], branch: int, unsafe: frozenset[str], parameters: frozenset[str]
) -> bool:
    """Does the value tested at `branch` come from constants and watched names alone? Read backwards."""
    last = branch - 1
    while last > 0 and instructions[last].opname in _NEUTRAL:
        last -= 1
    if last >= 0 and instructions[last].opname in _EXCEPTION_TESTS:
        return True
    if last > 0 and instructions[last].opname == "IS_OP" and instructions[last - 1].argval is None:
        return True  # `is None` asks for no content, whatever it asks about
    needed, k = 1, branch
    attribute: str | None = None
    while needed:
        k -= 1
        if k < 0:
            return False
        name, argument = instructions[k].opname, instructions[k].argval
        if name in _NEUTRAL:
            continue
        if name in _COMPARISONS:
            needed += 1
        elif name == "LOAD_ATTR" and argument not in unsafe:
            attribute = str(argument)
            continue
        elif _is_plain_load(name, argument, attribute, unsafe, parameters):
            needed -= 1
        else:
            return False
        attribute = None
    return True


def _is_plain_load(
    name: str, argument: Any, attribute: str | None, unsafe: frozenset[str], parameters: frozenset[str]
) -> bool:
    """Does this instruction load a constant, a watched name, or the shape of an array?"""
    if name in ("LOAD_CONST", "LOAD_SMALL_INT"):
        return True
    if name in _NAMES:
        return argument not in unsafe or attribute in STATIC_ATTRIBUTES
    return name.startswith("LOAD_FAST") and argument in parameters
