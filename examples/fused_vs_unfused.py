"""Value and gradient of one chain of elementwise work: one fused kernel against one kernel an operation.

sum(tanh(a x + b) exp(-x^2) + log1p(x^2)) at several sizes, written by hand in NumPy as well. Prints a
table, and saves a plot of the same figures where Matplotlib is installed.
"""

import importlib.util
import os
import statistics
import time

import numpy as np

import tracejit as tj

FAST = os.environ.get("TRACEJIT_EXAMPLE_FAST") == "1"
SIZES = (100, 1_000, 10_000) if FAST else (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
ROUND_SECONDS = 0.01 if FAST else 0.1
ROUNDS = 3 if FAST else 7
A, B = 0.7, 0.2


def chain(x):
    return np.sum(np.tanh(A * x + B) * np.exp(-x * x) + np.log1p(x * x))


def chain_by_hand(x):
    """Value and gradient in NumPy, each function evaluated once."""
    square = x * x
    t, e = np.tanh(A * x + B), np.exp(-square)
    value = np.sum(t * e + np.log1p(square))
    return value, (A * (1 - t * t) - 2 * x * t) * e + 2 * x / (1 + square)


def median_times(calls, x):
    """Median seconds of each call; the calls take turns, so that a busy moment hits all of them."""
    repeats = {}
    for name, call in calls.items():
        started = time.perf_counter()
        call(x)
        repeats[name] = max(1, int(ROUND_SECONDS / (time.perf_counter() - started)))
    seconds = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(repeats[name]):
                call(x)
            seconds[name].append((time.perf_counter() - started) / repeats[name])
    return {name: statistics.median(times) for name, times in seconds.items()}


def readable(seconds):
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:7.2f} {unit}"
    return ""


def plot(times, path):
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: Matplotlib is not installed")
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name in times[SIZES[0]]:
        axes.loglog(SIZES, [times[n][name] / n * 1e9 for n in SIZES], marker="o", label=name)
    axes.set(xlabel="elements", ylabel="nanoseconds an element", title="Value and gradient of the chain")
    axes.legend()
    figure.savefig(path, dpi=120)
    print(f"the plot is in {path}")


def main():
    calls = {
        "fused": tj.grad_jit(chain),
        "unfused": tj.grad_jit(chain, fuse=False),
        "NumPy by hand": chain_by_hand,
    }
    rng = np.random.default_rng(0)
    times = {}
    print("  elements       fused     unfused  NumPy by hand   unfused/fused")
    for n in SIZES:
        x = rng.standard_normal(n)
        value, gradient = chain_by_hand(x)
        for name in ("fused", "unfused"):
            got_value, got_gradient = calls[name](x)
            np.testing.assert_allclose(got_value, value, rtol=1e-9)
            np.testing.assert_allclose(got_gradient, gradient, rtol=1e-9, atol=1e-12)
        times[n] = median_times(calls, x)
        columns = "  ".join(readable(t) for t in times[n].values())
        print(f"{n:10,}  {columns}  {times[n]['unfused'] / times[n]['fused']:14.1f}x")
    plot(times, "fused_vs_unfused.png")
    print(f"ok: fused, unfused and the derivation by hand agree at {len(SIZES)} sizes")


if __name__ == "__main__":
    main()
