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

# Calls that turn an array into a Python number, which nothing can recognise afterwards.
CONVERSIONS = frozenset(
    {"float", "int", "bool", "complex", "item", "tolist", "math", "allclose", "array_equal"}
)
# What may be asked of an array without looking at its elements.
STATIC_ATTRIBUTES = frozenset({"shape", "ndim", "size", "dtype"})

_NEUTRAL = frozenset(
    {"CACHE", "EXTENDED_ARG", "NOP", "RESUME", "TO_BOOL", "UNARY_NOT", "COPY", "DUP_TOP", "PUSH_NULL"}
)
_COMPARISONS = frozenset({"COMPARE_OP", "IS_OP", "CONTAINS_OP"})
_EXCEPTION_TESTS = frozenset({"CHECK_EXC_MATCH", "WITH_EXCEPT_START", "CHECK_EG_MATCH"})
_NAMES = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"})


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """The code and those of the lambdas, comprehensions and functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_codes(constant)


def may_read_content(
    codes: Sequence[CodeType], array_names: frozenset[str], parameters: frozenset[str], has_integers: bool
) -> bool:
    """Is there a conversion, or a branch on more than plain names, in any of `codes`?

    array_names: names bound to concrete arrays; parameters: those of the traced function, which are tracers
        or static (its code comes first); has_integers: integer arrays are among the captured, so `range`
        counts too.
    """
    conversions = CONVERSIONS | ({"range"} if has_integers else frozenset())
    local = frozenset(name for code in codes for name in code.co_cellvars)
    for position, code in enumerate(codes):
        if not conversions.isdisjoint(code.co_names):
            return True
        instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")]
        stored = {str(i.argval) for i in instructions if i.opname.startswith("STORE_FAST")}
        plain = parameters - stored if position == 0 else frozenset[str]()
        for k, instruction in enumerate(instructions):
            if _is_branch(instruction) and not _is_plain_test(instructions, k, array_names | local, plain):
                return True
    return False


def _is_branch(instruction: dis.Instruction) -> bool:
    name = instruction.opname
    return "JUMP" in name and "_IF_" in name and "NONE" not in name and "EXC_MATCH" not in name


def _is_plain_test(
    instructions: Sequence[dis.Instruction], branch: int, unsafe: frozenset[str], parameters: frozenset[str]
) -> bool:
    """Does the value tested at `branch` come from constants and watched names alone? Read backwards."""
    if branch and instructions[branch - 1].opname in _EXCEPTION_TESTS:
        return True
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
