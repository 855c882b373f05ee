"""Calls of `tracejit.ops.joining`."""

import numpy as np

from tests.ops.conformance.elementwise_operands import Call, operand

X, Y, CUBE = operand("f8"), operand("f8", 1), operand("f8", shape=(2, 3, 4))
V, SCALAR, EMPTY = operand("f8", shape=(5,)), operand("f8")[0, 0], operand("f8", shape=(0, 4))
F, I, U, B = operand("f4"), operand("i8"), operand("u1"), operand("?")

PADS = [1, 0, (1, 2), ((1, 2),), ((0, 3), (2, 0)), [(1, 1), (0, 0)], ((1,), (2,)), np.array([[1, 2], [3, 0]])]

CALLS: list[Call] = [
    ("concatenate", lambda np, x, y: np.concatenate([x, y]), (X, Y)),
    ("concatenate-tuple", lambda np, x, y: np.concatenate((x, y, x), axis=1), (X, Y)),
    ("concatenate-negative", lambda np, x, y: np.concatenate([x, y], axis=-1), (CUBE, CUBE)),
    ("concatenate-flat", lambda np, x, y: np.concatenate([x, y], axis=None), (X, V)),
    ("concatenate-flat-number", lambda np, x: np.concatenate([x, 2.0], axis=None), (F,)),
    ("concatenate-one", lambda np, x: np.concatenate([x]), (X,)),
    ("concatenate-of-array", lambda np, x: np.concatenate(x), (CUBE,)),
    ("concatenate-empty", lambda np, x, y: np.concatenate([x, y]), (X, EMPTY)),
    ("concatenate-all-empty", lambda np, x, y: np.concatenate([x, y]), (EMPTY, EMPTY)),
    ("concatenate-list", lambda np, x: np.concatenate([x, [1.0, 2.0]]), (V,)),
    ("concatenate-list-of-traced", lambda np, x, y: np.concatenate([x, [y, 2 * y]]), (V, SCALAR)),
    ("concatenate-constant", lambda np, x: np.concatenate([x, np.arange(3)]), (V,)),
    ("concatenate-dtype", lambda np, x, y: np.concatenate([x, y], dtype=np.float32), (X, F)),
    ("concatenate-casting", lambda np, x: np.concatenate([x, x], dtype=int, casting="unsafe"), (X,)),
    *(
        (f"concatenate-{a.dtype}-{b.dtype}", lambda np, x, y: np.concatenate([x, y]), (a, b))
        for a in (X, F, I, U, B)
        for b in (X, F, I, U, B)
    ),
    *((f"stack-{a}", lambda np, x, y, a=a: np.stack([x, y], axis=a), (X, Y)) for a in (0, 1, 2, -1, -2)),
    ("stack-numbers", lambda np, x: np.stack([x, x + 1, 3.0]), (SCALAR,)),
    ("stack-dtypes", lambda np, x, y: np.stack((x, y)), (F, I)),
    ("stack-of-array", lambda np, x: np.stack(x, axis=1), (CUBE,)),
    *(
        (f"{name}-{a.ndim}", lambda np, x, name=name: getattr(np, name)([x, x + 1]), (a,))
        for name in ("vstack", "hstack", "dstack")
        for a in (SCALAR, V, X, CUBE)
    ),
    *((f"column_stack-{a.ndim}", lambda np, x: np.column_stack([x, x + 1]), (a,)) for a in (V, X)),
    ("column_stack-mixed", lambda np, x, y: np.column_stack((x, y)), (X, X[:, 0])),
    ("vstack-dtype", lambda np, x: np.vstack([x, x], dtype=np.float32), (F,)),
    ("hstack-constant", lambda np, x: np.hstack([x, np.zeros(2)]), (V,)),
    ("append", lambda np, x: np.append(x, 1.5), (X,)),
    ("append-f4", lambda np, x: np.append(x, 1.5), (F,)),
    ("append-axis", lambda np, x, y: np.append(x, y, axis=0), (X, Y)),
    ("append-list", lambda np, x: np.append(x, [[1, 2], [3, 4]]), (V,)),
    ("block", lambda np, x, y: np.block([[x, y], [y, x]]), (X, Y)),
    ("block-mixed", lambda np, x, y: np.block([[x, np.ones((3, 1))], [np.zeros(4), 1]]), (X, Y)),
    ("block-row", lambda np, x: np.block([x, 1.0, x]), (V,)),
    ("block-cube", lambda np, x: np.block([x, x]), (CUBE,)),
    *((f"roll-{s}", lambda np, x, s=s: np.roll(x, s), (X,)) for s in (0, 1, -1, 5, -30, 12, (1, 2))),
    *(
        (f"roll-{s}-{a}", lambda np, x, s=s, a=a: np.roll(x, s, axis=a), (CUBE,))
        for s, a in ((1, 0), (-1, -1), (7, 2), (1, (0, 1)), ((1, 2), (0, 2)), ((1, 2), (2, 2)), ((1, 3), 2))
    ),
    ("roll-empty", lambda np, x: np.roll(x, 1, axis=0), (EMPTY,)),
    ("roll-rank-0", lambda np, x: np.roll(x, 1), (SCALAR,)),
    *((f"pad-{np.array(p).tolist()}", lambda np, x, p=p: np.pad(x, p), (X,)) for p in PADS),
    *(
        (f"pad-{m}-{np.array(p).tolist()}", lambda np, x, m=m, p=p: np.pad(x, p, mode=m), (X,))
        for m in ("edge", "reflect", "symmetric", "wrap")
        for p in (1, (0, 2), ((5, 1), (0, 9)))
    ),
    *(
        (f"pad-{m}-one", lambda np, x, m=m: np.pad(x, 3, mode=m), (V[:1],))
        for m in ("edge", "reflect", "symmetric", "wrap")
    ),
    ("pad-value", lambda np, x: np.pad(x, 1, constant_values=2.5), (X,)),
    ("pad-values", lambda np, x: np.pad(x, ((1, 2), (3, 0)), constant_values=((1, 2), (3, 4))), (X,)),
    ("pad-value-sides", lambda np, x: np.pad(x, 2, "constant", constant_values=(-1, 1)), (I,)),
    ("pad-int-value-of-float", lambda np, x: np.pad(x, 1, constant_values=3), (F,)),
    ("pad-value-bool", lambda np, x: np.pad(x, 1, constant_values=True), (B,)),
    ("pad-empty", lambda np, x: np.pad(x, 1), (EMPTY,)),
    ("pad-dict", lambda np, x: np.pad(x, {-1: (1, 2)}), (X,)),
    *(
        (f"pad-{a.dtype}", lambda np, x: np.pad(x, ((1, 0), (0, 2)), mode="reflect"), (a,))
        for a in (F, I, U, B)
    ),
]
