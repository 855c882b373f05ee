"""The programs whose stages are kept as goldens: small, each for a way in which equations meet.

Goldens show lines of this file, so new programs go to the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tracejit as tj

OFFSET = np.arange(4.0)


def tutorial(params: Any, x: Any, y: Any) -> Any:
    z = x @ params["w"] + params["b"]
    return tj.nn.binary_cross_entropy_with_logits(z, y)


def chain(x: Any, a: float, b: float) -> Any:
    return np.sum(np.tanh(a * x + b) * np.exp(-x * x) + np.log1p(x * x))


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.mean(log_p[np.arange(len(labels)), labels])


def mlp(params: Any, x: Any, y: Any) -> Any:
    (w1, b1), (w2, b2) = params
    h = np.tanh(x @ w1 + b1)
    return np.mean((h @ w2 + b2 - y) ** 2)


def logistic_regression(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return np.mean(np.logaddexp(0.0, z) - y * z) + 1e-3 * np.sum(w * w)


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def five_points(u: Any) -> Any:
    lap = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * u[1:-1, 1:-1]
    return 0.5 * np.sum(lap * lap)


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * scale + shift


def standardise(x: Any) -> Any:
    mean = x.mean(axis=0)
    return {"mean": mean, "std": x.std(axis=0), "z": (x - mean) / x.std(axis=0)}


def embedding(table: Any, words: Any) -> Any:
    return np.sum(table[words] ** 2)


def running(x: Any) -> Any:
    return np.cumsum(x) / (1.0 + np.arange(len(x)))


def joined(a: Any, b: Any) -> Any:
    return np.sum(np.concatenate([a, 2.0 * b]) * np.stack([a[0], b[0], a[1]]))


def branches(x: Any) -> Any:
    return np.sum(np.where(x > 0.0, np.sqrt(np.maximum(x, 1e-12)), np.clip(x, -1.0, 0.0)))


def positions(x: Any) -> Any:
    return np.argmax(x, axis=1), np.any(x > 1.0), x.min(axis=0)


def mixed(x: Any, n: Any) -> Any:
    return x * n + (n // 2).astype(np.float32)


def attention(q: Any, k: Any, v: Any) -> Any:
    scores = np.einsum("bid,bjd->bij", q, k) / np.sqrt(q.shape[-1])
    return np.einsum("bij,bjd->bid", tj.nn.softmax(scores), v)


def curve(x: Any) -> Any:
    return np.sin(x) * np.exp(-x)


def captured(x: Any) -> Any:
    return np.sum((x - OFFSET) ** 2)


def turned(x: Any) -> Any:
    return np.tanh(x.T.reshape(2, -1)) + np.flip(x, axis=1).reshape(2, -1)


def oscillators(k: Any, q: Any, p: Any) -> Any:
    def step(state: Any, _: Any) -> Any:
        q, p = state
        p = p - 0.01 * k * np.sin(q)
        return (q + 0.01 * p, p), None

    (q, p), _ = tj.scan(step, (q, p), length=50)
    return (q * q).sum()


def _ones(*shape: int) -> Any:
    return np.ones(shape)


# name -> (the function, transformed; its arguments)
PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "tutorial": (tj.grad_jit(tutorial), ({"w": _ones(5, 3), "b": _ones(3)}, _ones(5), _ones(3))),
    "tutorial_unfused": (
        tj.grad_jit(fuse=False)(tutorial),
        ({"w": _ones(5, 3), "b": _ones(3)}, _ones(5), _ones(3)),
    ),
    "chain": (tj.grad_jit(argnums=(0, 1, 2))(chain), (_ones(1000), 0.7, 0.1)),
    "softmax_cross_entropy": (
        tj.grad_jit(softmax_cross_entropy),
        (_ones(32, 10), np.arange(32) % 10),
    ),
    "mlp": (
        tj.grad_jit(mlp),
        ([(_ones(30, 40), _ones(40)), (_ones(40, 20), _ones(20))], _ones(64, 30), _ones(64, 20)),
    ),
    "logistic_regression": (tj.grad_jit(logistic_regression), (_ones(30), _ones(100, 30), _ones(100))),
    "rosenbrock": (tj.grad_jit(rosenbrock), (_ones(100),)),
    "five_points": (tj.grad_jit(five_points), (_ones(20, 30),)),
    "layer_norm": (tj.jit(layer_norm), (_ones(8, 16), _ones(16), _ones(16))),
    "standardise": (tj.jit(standardise), (_ones(50, 6),)),
    "embedding": (tj.grad_jit(embedding), (_ones(20, 8), np.arange(12).reshape(3, 4))),
    "running": (tj.jit(running), (_ones(10),)),
    "joined": (tj.grad_jit(argnums=(0, 1))(joined), (_ones(2, 6), _ones(1, 6))),
    "branches": (tj.grad_jit(branches), (_ones(10),)),
    "positions": (tj.jit(positions), (_ones(6, 7),)),
    "mixed": (tj.jit(mixed), (np.ones(9, np.float32), np.arange(9, dtype=np.int32))),
    "attention": (tj.jit(attention), (_ones(2, 5, 6), _ones(2, 7, 6), _ones(2, 7, 6))),
    "second_derivative": (tj.grad(tj.grad(curve)), (0.5,)),
    "captured": (tj.grad(captured), (_ones(4),)),
    "turned": (tj.jit(turned), (_ones(4, 6),)),
    "oscillators": (tj.grad_jit(oscillators), (_ones(30), _ones(30), _ones(30))),
}
