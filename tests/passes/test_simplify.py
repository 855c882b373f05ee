"""Arithmetic, views and reductions that simplify, and those that must not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.passes.building import assert_becomes, assert_stays
from tracejit.ops import core
from tracejit.ops.arithmetic import (
    absolute,
    add,
    divide,
    full,
    multiply,
    negative,
    select,
    subtract,
    zeros_of,
)
from tracejit.ops.bits import bitwise_and, bitwise_or, invert
from tracejit.ops.comparison import logical_and, logical_not, logical_or, maximum, minimum
from tracejit.ops.core import broadcast, convert, iota, permute, reduce_sum, reshape
from tracejit.ops.diagonal import diagonal_op, undiagonal
from tracejit.ops.gather import gather
from tracejit.ops.joining import concatenate_op
from tracejit.ops.reduction import reduce_any, reduce_max, reduce_prod
from tracejit.ops.slicing import slice_axis, take_slices, unslice
from tracejit.ops.transcendental import exp
from tracejit.passes.simplify import simplify

Function = Callable[..., Any]
V, M, B, I = "f64[6]", "f64[3,4]", "bool[6]", "i64[6]"

ARITHMETIC: dict[str, tuple[Function, Function, tuple[str, ...]]] = {
    "times-one": (lambda x: exp(x * 1.0), lambda x: exp(x), (V,)),
    "one-times": (lambda x: exp(1.0 * x), lambda x: exp(x), (V,)),
    "over-one": (lambda x: exp(x / 1.0), lambda x: exp(x), (V,)),
    "times-minus-one": (lambda x: x * -1.0, negative, (V,)),
    "plus-minus-zero": (lambda x: exp(x + -0.0), lambda x: exp(x), (V,)),
    "minus-zero": (lambda x: exp(x - 0.0), lambda x: exp(x), (V,)),
    "minus-zero-minus": (lambda x: -0.0 - x, negative, (V,)),
    "integer-zero": (lambda x: (x + 0) * (0 + x), lambda x: multiply(x, x), (I,)),
    "integer-times-zero": (lambda x: x * 0, lambda x: full((6,), 0, "i8"), (I,)),
    "minus-minus": (lambda x: exp(negative(negative(x))), lambda x: exp(x), (V,)),
    "add-negative": (lambda x, y: x + -y, subtract, (V, V)),
    "negative-add": (lambda x, y: -x + y, lambda x, y: subtract(y, x), (V, V)),
    "subtract-negative": (lambda x, y: x - -y, add, (V, V)),
    "negative-times-negative": (lambda x, y: -x * -y, multiply, (V, V)),
    "negative-times": (lambda x, y: -x * y, lambda x, y: negative(multiply(x, y)), (V, V)),
    "over-negative": (lambda x, y: x / -y, lambda x, y: negative(divide(x, y)), (V, V)),
    "sign-taken-up": (lambda x, y, z: z + -x * y, lambda x, y, z: subtract(z, multiply(x, y)), (V, V, V)),
    "negative-times-number": (lambda x: -x * 3.0, lambda x: x * -3.0, (V,)),
    "negative-of-number-times": (lambda x: -(x * 3.0), lambda x: x * -3.0, (V,)),
    "negative-of-quotient": (lambda x: -(x / 3.0), lambda x: x / -3.0, (V,)),
    "over-power-of-two": (lambda x: x / 4.0, lambda x: x * 0.25, (V,)),
    "one-order": (lambda x, y: subtract(y * x, exp(x * y)), lambda x, y: subtract(x * y, exp(x * y)), (V, V)),
    "number-right": (lambda x: 3.0 * x, lambda x: x * 3.0, (V,)),
    "abs-of-negative": (lambda x: absolute(-x), absolute, (V,)),
    "maximum-of-same": (lambda x: exp(maximum(x, minimum(x, x))), lambda x: exp(x), (V,)),
}

TRUTH: dict[str, tuple[Function, Function, tuple[str, ...]]] = {
    "select-same": (lambda c, x: exp(select(c, x, x)), lambda c, x: exp(x), (B, V)),
    "select-not": (lambda c, x, y: select(invert(c), x, y), lambda c, x, y: select(c, y, x), (B, V, V)),
    "select-in-first": (
        lambda c, x, y: select(c, select(c, x, exp(y)), y),
        lambda c, x, y: select(c, x, y),
        (B, V, V),
    ),
    "select-in-second": (
        lambda c, x, y: select(c, x, select(c, exp(x), y)),
        lambda c, x, y: select(c, x, y),
        (B, V, V),
    ),
    "select-true-false": (
        lambda c, d: bitwise_and(select(c, full((6,), True, "?"), full((6,), False, "?")), d),
        bitwise_and,
        (B, B),
    ),
    "select-false-true": (
        lambda c: select(c, full((6,), False, "?"), full((6,), True, "?")),
        invert,
        (B,),
    ),
    "not-not": (lambda c, d: bitwise_or(logical_not(invert(c)), d), bitwise_or, (B, B)),
    "and-true": (lambda c, d: bitwise_or(logical_and(c, True), d), bitwise_or, (B, B)),
    "or-true": (lambda c: logical_or(c, True), lambda c: full((6,), True, "?"), (B,)),
    "and-same": (lambda c, d: bitwise_or(logical_and(c, c), d), bitwise_or, (B, B)),
    "times-true": (lambda c, d: bitwise_or(multiply(c, True), d), bitwise_or, (B, B)),
    "widened-twice": (lambda x: convert(convert(x, "f4"), "f8"), lambda x: convert(x, "f8"), ("i16[6]",)),
    "there-and-back": (lambda x: exp(convert(convert(x, "f8"), "f4")), exp, ("f32[6]",)),
    "bool-to-float": (lambda c: convert(convert(c, "i4"), "f8"), lambda c: convert(c, "f8"), (B,)),
}

VIEWS: dict[str, tuple[Function, Function, tuple[str, ...]]] = {
    "reshapes": (lambda x: reshape(reshape(x, (12,)), (2, 6)), lambda x: reshape(x, (2, 6)), (M,)),
    "reshape-back": (lambda x: exp(reshape(reshape(x, (12,)), (3, 4))), exp, (M,)),
    "permutes": (
        lambda x: permute(permute(x, (1, 2, 0)), (1, 0, 2)),
        lambda x: permute(x, (2, 1, 0)),
        ("f64[2,3,4]",),
    ),
    "permute-of-ones": (lambda x: permute(x, (1, 0)), lambda x: reshape(x, (4, 1)), ("f64[1,4]",)),
    "broadcasts": (
        lambda x: broadcast(broadcast(x, (6, 2), (0,)), (2, 6, 5), (1, 0)),
        lambda x: broadcast(x, (2, 6, 5), (1,)),
        (V,),
    ),
    "broadcast-of-permute": (
        lambda x: broadcast(permute(x, (1, 0)), (4, 5, 3), (0, 2)),
        lambda x: broadcast(x, (4, 5, 3), (2, 0)),
        (M,),
    ),
    "permute-of-broadcast": (
        lambda x: permute(broadcast(x, (3, 4, 5), (0, 1)), (2, 1, 0)),
        lambda x: broadcast(x, (5, 4, 3), (2, 1)),
        (M,),
    ),
    "broadcast-that-permutes": (
        lambda x: core.emit(core.broadcast_p, x, shape=(4, 3), dims=(1, 0)),
        lambda x: permute(x, (1, 0)),
        (M,),
    ),
    "broadcast-without-ones": (
        lambda x: broadcast(x, (3, 1, 5), (0, 1)),
        lambda x: broadcast(reshape(x, (3,)), (3, 1, 5), (0,)),
        ("f64[3,1]",),
    ),
    "keepdims": (
        lambda x: core.broadcast_to(reshape(x, (3, 1)), (3, 4)),
        lambda x: broadcast(x, (3, 4), (0,)),
        ("f64[3]",),
    ),
    "reshape-of-broadcast": (
        lambda x: reshape(broadcast(x, (3, 4, 5), (0, 1)), (3, 1, 4, 5)),
        lambda x: broadcast(x, (3, 1, 4, 5), (0, 2)),
        (M,),
    ),
    "iota-moved": (
        lambda x: x * permute(broadcast(iota((3,), 0), (3, 4), (0,)), (1, 0)),
        lambda x: x * iota((4, 3), 1),
        ("i64[4,3]",),
    ),
    "iota-cut": (
        lambda x: x * slice_axis(iota((9, 2), 0, start=5, step=2), 0, 7, 3, -3),
        lambda x: x * iota((3, 2), 0, start=19, step=-6),
        ("i64[3,2]",),
    ),
    "slices": (
        lambda x: slice_axis(slice_axis(x, 0, 1, 5), 0, 4, 3, -2),
        lambda x: slice_axis(x, 0, 5, 3, -2),
        (V,),
    ),
    "slice-of-broadcast": (
        lambda x: slice_axis(slice_axis(broadcast(x, (6, 9), (0,)), 0, 2, 3), 1, 0, 4),
        lambda x: broadcast(slice_axis(x, 0, 2, 3), (3, 4), (0,)),
        (V,),
    ),
    "slice-of-permute": (
        lambda x: slice_axis(permute(x, (1, 0)), 0, 1, 2),
        lambda x: permute(slice_axis(x, 1, 1, 2), (1, 0)),
        (M,),
    ),
    "slice-of-reshape": (
        lambda x: slice_axis(reshape(x, (3, 1, 4)), 2, 1, 2),
        lambda x: reshape(slice_axis(x, 1, 1, 2), (3, 1, 2)),
        (M,),
    ),
    "slice-in-operand": (
        lambda x, y: slice_axis(concatenate_op(x, y, axis=0), 0, 11, 3, -2),
        lambda x, y: slice_axis(y, 0, 5, 3, -2),
        (V, V),
    ),
    "slice-of-window": (
        lambda x: exp(slice_axis(unslice(x, shape=(9,), starts=(2,), steps=(1,)), 0, 2, 6)),
        exp,
        (V,),
    ),
    "slice-within-window": (
        lambda x: slice_axis(unslice(x, shape=(20,), starts=(3,), steps=(3,)), 0, 6, 2, 6),
        lambda x: slice_axis(x, 0, 1, 2, 2),
        (V,),
    ),
    "slice-across-window": (
        lambda x: slice_axis(unslice(x, shape=(9,), starts=(2,), steps=(1,)), 0, 0, 5),
        lambda x: unslice(slice_axis(x, 0, 0, 3), shape=(5,), starts=(2,), steps=(1,)),
        (V,),
    ),
    "slice-beside-window": (
        lambda x: slice_axis(unslice(x, shape=(9,), starts=(3,), steps=(1,)), 0, 0, 3),
        lambda x: full((3,), 0, "f8"),
        (V,),
    ),
    "slice-between-steps": (
        lambda x: slice_axis(unslice(x, shape=(12,), starts=(0,), steps=(2,)), 0, 1, 5, 2),
        lambda x: full((5,), 0, "f8"),
        (V,),
    ),
    "unslices": (
        lambda x: unslice(
            unslice(x, shape=(9,), starts=(2,), steps=(1,)), shape=(30,), starts=(4,), steps=(3,)
        ),
        lambda x: unslice(x, shape=(30,), starts=(10,), steps=(3,)),
        (V,),
    ),
    "unslice-flip": (
        lambda x: unslice(x, shape=(6,), starts=(5,), steps=(-1,)),
        lambda x: take_slices(x, [(5, 6, -1)]),
        (V,),
    ),
    "unslice-of-broadcast": (
        lambda x: unslice(broadcast(x, (6, 3), (0,)), shape=(8, 3), starts=(1, 0), steps=(1, 1)),
        lambda x: broadcast(unslice(x, shape=(8,), starts=(1,), steps=(1,)), (8, 3), (0,)),
        (V,),
    ),
    "diagonal-back": (
        lambda x: exp(diagonal_op(undiagonal(x, rows=6, cols=7, row=0, col=1), row=0, col=1, size=6)),
        exp,
        (V,),
    ),
    "gather-of-repeats": (
        lambda x, i: gather(broadcast(x, (9, 6), (1,)), i),
        lambda x, i: broadcast(x, (2, 6), (1,)),
        (V, "i64[2]"),
    ),
}

SUMS: dict[str, tuple[Function, Function, tuple[str, ...]]] = {
    "of-sums": (
        lambda x: reduce_sum(reduce_sum(x, (1,)), (0, 1)),
        lambda x: reduce_sum(x, (0, 1, 2)),
        ("f64[2,3,4]",),
    ),
    "of-maxima": (
        lambda x: reduce_max(reduce_max(x, axes=(0,)), axes=(0,)),
        lambda x: reduce_max(x, axes=(0, 1)),
        (M,),
    ),
    "of-ones": (lambda x: reduce_sum(x, (1,)), lambda x: reshape(x, (3,)), ("f64[3,1]",)),
    "any-of-ones": (lambda x: reduce_any(x, axes=(0,)), lambda x: reshape(x, ()), ("bool[1]",)),
    "of-negative": (lambda x: reduce_sum(-x, (0,)), lambda x: negative(reduce_sum(x, (0,))), (M,)),
    "of-permute": (
        lambda x: reduce_sum(permute(x, (2, 0, 1)), (1,)),
        lambda x: permute(reduce_sum(x, (0,)), (1, 0)),
        ("f64[2,3,4]",),
    ),
    "of-reshape": (
        lambda x: reduce_sum(reshape(x, (3, 1, 4)), (2,)),
        lambda x: reshape(reduce_sum(x, (1,)), (3, 1)),
        (M,),
    ),
    "all-of-reshape": (
        lambda x: reduce_sum(reshape(x, (2, 6)), (0, 1)),
        lambda x: reduce_sum(x, (0, 1)),
        (M,),
    ),
    "of-repeats": (
        lambda x: reduce_sum(broadcast(x, (6, 5), (0,)), (1,)),
        lambda x: multiply(x, full((6,), 5.0, "f8")),
        (V,),
    ),
    "max-of-repeats": (
        lambda x: reduce_max(broadcast(x, (6, 5), (0,)), axes=(0, 1)),
        lambda x: reduce_max(x, axes=(0,)),
        (V,),
    ),
    "of-padding": (
        lambda x: reduce_sum(unslice(x, shape=(5, 9), starts=(1, 2), steps=(1, 1)), (1,)),
        lambda x: unslice(reduce_sum(x, (1,)), shape=(5,), starts=(1,), steps=(1,)),
        (M,),
    ),
}

STAYS: dict[str, tuple[Function, tuple[str, ...]]] = {
    "plus-zero": (lambda x: x + 0.0, (V,)),
    "minus-minus-zero": (lambda x: x - -0.0, (V,)),
    "times-zero": (lambda x: x * 0.0, (V,)),
    "minus-itself": (lambda x: subtract(x, x), (V,)),
    "over-three": (lambda x: x / 3.0, (V,)),
    "over-what-may-be-a-size": (lambda x: x / 8.0, (V,)),
    "over-tiny": (lambda x: x / 2.0**-1074, (V,)),
    "negative-of-difference": (lambda x, y: negative(subtract(x, y)), (V, V)),
    "maximum-order": (lambda x, y: maximum(y, x), (V, V)),
    "widened-64-bits": (lambda x: convert(convert(x, "f8"), "i4"), (I,)),
    "float-to-int-to-float": (lambda x: convert(convert(x, "i4"), "f8"), (V,)),
    "float-narrowed": (lambda x: convert(convert(x, "f4"), "f8"), (V,)),
    "float-widened-to-int": (lambda x: convert(convert(x, "f8"), "i4"), ("f32[6]",)),
    "select-other-condition": (lambda c, d, x, y: select(c, select(d, x, y), y), (B, B, V, V)),
    "slice-of-two": (lambda x, y: slice_axis(concatenate_op(x, y, axis=0), 0, 4, 4), (V, V)),
    "sum-used-twice": (lambda x: (reduce_sum(x, (1,)), reduce_sum(reduce_sum(x, (1,)), (0,))), (M,)),
    "product-of-repeats": (lambda x: reduce_prod(broadcast(x, (6, 5), (0,)), axes=(1,)), (V,)),
    "sum-of-product": (lambda x, s: reduce_sum(multiply(x, broadcast(s, (6,), ())), (0,)), (V, "f64")),
    "gather-of-rows": (lambda x, i: gather(broadcast(x, (6, 9), (0,)), i), (V, "i64[2]")),
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_that_is_exact_is_simplified(name: str) -> None:
    before, after, types = ARITHMETIC[name]
    assert_becomes(simplify, before, after, *types)


@pytest.mark.parametrize("name", TRUTH)
def test_conditions_and_conversions_are_simplified(name: str) -> None:
    before, after, types = TRUTH[name]
    assert_becomes(simplify, before, after, *types)


@pytest.mark.parametrize("name", VIEWS)
def test_adjacent_views_merge(name: str) -> None:
    before, after, types = VIEWS[name]
    assert_becomes(simplify, before, after, *types)


@pytest.mark.parametrize("name", SUMS)
def test_reductions_reduce_less(name: str) -> None:
    before, after, types = SUMS[name]
    assert_becomes(simplify, before, after, *types)


@pytest.mark.parametrize("name", STAYS)
def test_what_would_bend_a_result_stays(name: str) -> None:
    function, types = STAYS[name]
    assert_stays(simplify, function, *types)


def test_zeros_of_a_gradient_are_not_added_for_nothing() -> None:
    # x + 0.0 stays (x may be -0.0), so derivative rules do not emit zeros to add: this guards the spelling.
    assert np.signbit(-0.0 + -0.0) and not np.signbit(-0.0 + 0.0)
    assert_stays(simplify, lambda x: add(x, zeros_of(x.type)), V)
