"""Calls of `tracejit.ops.indexing`: advanced indexing, take, delete and differences."""

from typing import Any

import numpy as np

from tests.ops.conformance.elementwise_operands import Call, operand

X, CUBE, V = operand("f8"), operand("f8", shape=(4, 5, 3)), operand("f8", shape=(7,))
ROWS, LABELS, NUMBER = np.array([0, 2, 2, -1]), np.array([1, 0, 4, -2]), np.array(2)
DTYPES = ("f8", "f4", "i8", "i4", "u1", "?")
MASK = operand("?", shape=(4, 5))
A = np.arange

# On an array of shape (4, 5, 3).
CONSTANT_KEYS: dict[str, Any] = {
    "list": [0, 2],
    "backwards": [2, 0],
    "irregular": [0, 2, 3],
    "repeated": [3, 1, 1],
    "matrix": [[0, 1], [3, 2]],
    "arange": A(4),
    "arange-part": A(1, 4),
    "arange-reversed": A(3, -1, -1),
    "arange-step": A(0, 4, 2),
    "range": range(1, 3),
    "negative": np.array([-1, -2]),
    "around-zero": np.array([-1, 0]),
    "nothing": [],
    "nothing-inner": np.s_[:, []],
    "nothing-matrix": np.s_[:, [[]]],
    "one": [2],
    "ones": np.s_[[2], [3]],
    "of-u1": np.array([1, 3, 2], dtype="u1"),
    "of-i1": np.array([-1, 2, 2], dtype="i1"),
    "second": np.s_[:, [0, 3, 2]],
    "last": np.s_[..., [2, 0, 0]],
    "pair": np.s_[[0, 1, 3], [1, 2, 1]],
    "row-and-labels": np.s_[A(4), [1, 4, 2, 2]],
    "diagonal": np.s_[A(4), A(4)],
    "diagonal-of-three": np.s_[A(3), A(3), A(3)],
    "shifted-diagonal": np.s_[A(3), A(1, 4), [0, 2, 2]],
    "diagonal-behind": np.s_[:, A(3), A(3)],
    "diagonal-apart": np.s_[A(3), :, A(3)],
    "together": np.s_[:, [0, 1, 3], [1, 2, 1]],
    "apart": np.s_[[0, 1, 3], :, [1, 2, 1]],
    "apart-by-dots": np.s_[:, [0, 1], ..., [0, 1]],
    "apart-by-new-axis": np.s_[[0, 1, 3], None, [0, 2, 0]],
    "number-first": np.s_[0, :, [0, 1]],
    "number-next": np.s_[:, 0, [0, 1]],
    "number-behind-dots": np.s_[..., [0, 1], 0],
    "number-new-axis": np.s_[0, None, [0, 1]],
    "number-array": np.s_[np.array(1), :, [0, 2, 0]],
    "open-mesh": np.s_[A(4)[:, None], A(5)],
    "open-mesh-apart": np.s_[A(4)[:, None], :, A(3)],
    "open-mesh-irregular": np.s_[A(4)[:, None], [0, 3, 3]],
    "broadcast": np.s_[[[0], [1]], [0, 2, 3], None, ...],
    "with-slice": np.s_[[0, 1, 3], 1:4],
    "after-slice": np.s_[1:3, [0, 1, 3]],
    "after-reversal": np.s_[::-1, [0, 1, 3], None],
    "true": True,
    "false": False,
    "true-inside": np.s_[:, True, [0, 1, 0]],
    "mask-of-rows": np.array([True, False, True, True]),
    "mask-run": np.array([False, True, True, False]),
    "mask": MASK,
    "mask-list": [True, False, False, True],
    "mask-none": MASK & False,
    "mask-behind": np.s_[:, MASK[0]],
    "mask-and-number": np.s_[MASK, 1],
    "mask-and-slice": np.s_[MASK, ::-1],
    "tuple-inside": (slice(None), (0, 2, 3)),
}

TRACED: list[Call] = [
    ("traced-rows", lambda np, x, i: x[i], (CUBE, ROWS)),
    ("traced-second", lambda np, x, i: x[:, i], (CUBE, ROWS)),
    ("traced-number", lambda np, x, i: x[i], (CUBE, NUMBER)),
    ("traced-number-last", lambda np, x, i: x[..., i], (CUBE, NUMBER)),
    ("traced-numbers", lambda np, x, i: x[i, i], (CUBE, NUMBER)),
    ("traced-number-and-rows", lambda np, x, i, k: x[k, :, i], (CUBE, ROWS % 3, NUMBER)),
    ("traced-labels", lambda np, x, i: x[np.arange(4), i], (CUBE, LABELS)),
    ("traced-labels-column", lambda np, x, i: x[np.arange(4), i][:, None], (MASK, LABELS)),
    ("traced-labels-reversed", lambda np, x, i: x[np.arange(4)[::-1], i], (CUBE, LABELS)),
    ("traced-labels-some", lambda np, x, i: x[np.arange(1, 4), i[:3]], (CUBE, LABELS)),
    ("traced-apart", lambda np, x, i: x[i, :, i], (CUBE, ROWS)),
    ("traced-beside-number", lambda np, x, i: x[i, 0], (CUBE, ROWS)),
    ("traced-apart-from-number", lambda np, x, i: x[0, :, i], (CUBE, ROWS)),
    ("traced-matrix", lambda np, x, i: x[i], (CUBE, ROWS.reshape(2, 2))),
    ("traced-outer", lambda np, x, i: x[i[:, None], i], (CUBE, ROWS)),
    ("traced-open-mesh", lambda np, x, i: x[i[:, None], np.arange(5)], (CUBE, ROWS)),
    ("traced-in-list", lambda np, x, i: x[:, [i[0], i[1], 0]], (CUBE, ROWS)),
    ("traced-none", lambda np, x, i: x[i], (CUBE, ROWS[:0])),
    ("traced-i32", lambda np, x, i: x[i], (CUBE, ROWS.astype("i4"))),
    ("traced-u8", lambda np, x, i: x[i], (CUBE, abs(ROWS).astype("u1"))),
    *((f"traced-{d}", lambda np, x, i: x[i], (operand(d), ROWS)) for d in DTYPES),
]

TAKE: list[Call] = [
    ("take-flat", lambda np, x: np.take(x, [0, 11, -1]), (X,)),
    ("take-axis", lambda np, x: np.take(x, [0, 2, 2], axis=1), (CUBE,)),
    ("take-matrix", lambda np, x: np.take(x, [[0, 1], [2, 2]], axis=-1), (CUBE,)),
    ("take-number", lambda np, x: np.take(x, 1, axis=1), (CUBE,)),
    ("take-wrap", lambda np, x: np.take(x, [7, -9, 3], axis=0, mode="wrap"), (CUBE,)),
    ("take-clip", lambda np, x: np.take(x, [7, -9, 3], axis=0, mode="clip"), (CUBE,)),
    ("take-traced", lambda np, x, i: np.take(x, i, axis=1), (CUBE, ROWS)),
    ("take-traced-flat", lambda np, x, i: np.take(x, i), (X, ROWS)),
    ("take-traced-wrap", lambda np, x, i: np.take(x, i, mode="wrap"), (X, ROWS * 9)),
    ("take-traced-clip", lambda np, x, i: np.take(x, i, axis=0, mode="clip"), (X, ROWS * 9)),
    ("take_along_axis", lambda np, x, i: np.take_along_axis(x, i, axis=1), (X, X.argsort(1))),
    ("take_along_axis-one", lambda np, x, i: np.take_along_axis(x, i, 0), (X, X.argmax(0)[None])),
    ("take_along_axis-constant", lambda np, x: np.take_along_axis(x, X.argsort(0), axis=0), (X,)),
    ("take_along_axis-flat", lambda np, x, i: np.take_along_axis(x, i, axis=None), (X, ROWS)),
    (
        "take_along_axis-cube",
        lambda np, x, i: np.take_along_axis(x, i, -1),
        (CUBE, CUBE.argsort(-1)[..., :2]),
    ),
    *(
        (f"delete-{k}", lambda np, x, k=k: np.delete(x, k), (V,))
        for k in (0, -1, 3, [1, 4], [], slice(1, 6, 2))
    ),
    ("delete-axis", lambda np, x: np.delete(x, [0, 2], axis=1), (CUBE,)),
    ("delete-mask", lambda np, x: np.delete(x, np.array([True] + 6 * [False])), (V,)),
    ("delete-flat", lambda np, x: np.delete(x, 5), (X,)),
    ("repeat-int", lambda np, x: np.repeat(x, 3), (X,)),
    ("repeat-axis", lambda np, x: np.repeat(x, 2, axis=-1), (X,)),
    ("repeat-zero", lambda np, x: np.repeat(x, 0, axis=0), (X,)),
    ("repeat-each", lambda np, x: np.repeat(x, [1, 0, 4], axis=0), (X,)),
    ("repeat-array", lambda np, x: np.repeat(x, np.array([2]), axis=1), (X,)),
    ("repeat-rank-0", lambda np, x: np.repeat(x, 3), (X[0, 0],)),
    ("repeat-empty", lambda np, x: np.repeat(x, 3, axis=0), (X[:0],)),
]

DIFFERENCES: list[Call] = [
    *((f"diff-{d}", lambda np, x: np.diff(x), (operand(d),)) for d in DTYPES),
    *((f"diff-order-{n}", lambda np, x, n=n: np.diff(x, n), (V,)) for n in (0, 2, 3, 6, 7, 9)),
    ("diff-axis", lambda np, x: np.diff(x, axis=0), (CUBE,)),
    ("diff-prepend", lambda np, x: np.diff(x, prepend=0), (X,)),
    ("diff-append", lambda np, x: np.diff(x, axis=0, append=X[:2]), (X,)),
    ("diff-both", lambda np, x: np.diff(x, prepend=x[:, :1], append=1.5), (X,)),
    ("diff-one", lambda np, x: np.diff(x), (V[:1],)),
    ("ediff1d", lambda np, x: np.ediff1d(x), (X,)),
    ("ediff1d-ends", lambda np, x: np.ediff1d(x, to_end=[1.0, 2.0], to_begin=-9), (X,)),
]

CALLS: list[Call] = [
    *((f"index-{name}", lambda np, x, k=k: x[k], (CUBE,)) for name, k in CONSTANT_KEYS.items()),
    *((f"index-{d}", lambda np, x: x[[0, 2, 2], 1:], (operand(d),)) for d in DTYPES),
    *TRACED,
    *TAKE,
    *DIFFERENCES,
]
