"""A whole training loop inside one `@njit` function: logistic regression by minibatches, with momentum.

The gradient is one native call of the compiled loop: no Python runs between the first step and the last. The
same steps taken by a Python loop must end at the same parameters.
"""

import os
import time

import numba
import numpy as np

import tracejit as tj

FAST = os.environ.get("TRACEJIT_EXAMPLE_FAST") == "1"
EPOCHS = 20 if FAST else 200
ROWS, FEATURES, BATCH = 1000, 12, 48  # the last batch of an epoch is smaller
RATE, MOMENTUM, PENALTY = 0.2, 0.9, 1e-3


@tj.grad_jit
def loss(params, x, y):
    w, b = params
    z = x @ w + b
    return np.mean(np.logaddexp(0, z) - y * z) + 0.5 * PENALTY * np.sum(w**2)


@numba.njit
def train(w, b, x, y, epochs):
    """Parameters after `epochs` passes over the data, and the mean loss of each pass."""
    speed_w, speed_b = np.zeros_like(w), 0.0
    history = np.zeros(epochs)
    for epoch in range(epochs):
        batches = 0
        for start in range(0, len(y), BATCH):
            value, (dw, db) = loss((w, b), x[start : start + BATCH], y[start : start + BATCH])
            speed_w = MOMENTUM * speed_w - RATE * dw
            speed_b = MOMENTUM * speed_b - RATE * db
            w = w + speed_w
            b = b + speed_b
            history[epoch] += value
            batches += 1
        history[epoch] /= batches
    return w, b, history


def main():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    truth = rng.normal(size=FEATURES)
    y = (rng.random(ROWS) < 1 / (1 + np.exp(-(x @ truth - 0.5)))).astype(float)
    start = np.zeros(FEATURES), 0.0

    train(*start, x, y, 1)  # compiles the loop, and the gradient for both sizes of batches
    train.py_func(*start, x, y, 1)
    seconds = {}
    results = {}
    for name, run in (("inside @njit", train), ("Python loop", train.py_func)):
        started = time.perf_counter()
        results[name] = run(*start, x, y, EPOCHS)
        seconds[name] = time.perf_counter() - started
        w, b, history = results[name]
        steps = EPOCHS * -(-ROWS // BATCH)
        print(f"{name:12}  loss {history[-1]:.4f}  {1e6 * seconds[name] / steps:5.2f} us a step")

    w, b, history = results["inside @njit"]
    plain_w, plain_b, _ = results["Python loop"]
    accuracy = np.mean((x @ w + b > 0) == y)
    assert np.allclose(w, plain_w, rtol=1e-9, atol=1e-12), np.abs(w - plain_w).max()
    assert abs(b - plain_b) < 1e-9
    assert history[-1] < history[0]
    assert accuracy > 0.8, accuracy
    print(f"ok: both loops agree, {accuracy:.1%} of {ROWS} rows are classified right")


if __name__ == "__main__":
    main()
