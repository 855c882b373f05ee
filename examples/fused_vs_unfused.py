"""Value and gradient as one fused kernel, as one kernel an operation, and by hand in NumPy, over sizes.

Two programs: Rosenbrock's function is a few multiplications an element, so memory binds it and fusion gains
most; the chain tanh(a x + b) exp(-x^2) + log1p(x^2) is bound by its library functions. Prints a table of
each, and saves a plot of the same figures where Matplotlib is installed.
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


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_by_hand(x):
    """Value and gradient in NumPy."""
    d, e = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * d - 2 * e
    gradient[1:] += 200 * d
    return 100 * (d @ d) + e @ e, gradient


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


def measure(name, function, by_hand):
    """Print the table of one program; returns the seconds of each way at each size."""
    calls = {
        "fused": tj.grad_jit(function),
        "unfused": tj.grad_jit(function, fuse=False),
        "NumPy by hand": by_hand,
    }
    rng = np.random.default_rng(0)
    times = {}
    print(f"{name:>10}       fused     unfused  NumPy by hand   unfused/fused")
    for n in SIZES:
        x = rng.standard_normal(n)
        value, gradient = by_hand(x)
        for way in ("fused", "unfused"):
            got_value, got_gradient = calls[way](x)
            np.testing.assert_allclose(got_value, value, rtol=1e-9)
            np.testing.assert_allclose(got_gradient, gradient, rtol=1e-9, atol=1e-12)
        times[n] = median_times(calls, x)
        columns = "  ".join(readable(t) for t in times[n].values())
        print(f"{n:10,}  {columns}  {times[n]['unfused'] / times[n]['fused']:14.1f}x")
    return times


def plot(results, path):
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: Matplotlib is not installed")
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(results), figsize=(10, 4), layout="constrained", sharey=True)
    for axes, (name, times) in zip(panels, results.items(), strict=True):
        for way in times[SIZES[0]]:
            axes.loglog(SIZES, [times[n][way] / n * 1e9 for n in SIZES], marker="o", label=way)
        axes.set(xlabel="elements", title=f"{name}: value and gradient")
    panels[0].set_ylabel("nanoseconds an element")
    panels[0].legend()
    figure.savefig(path, dpi=120)
    print(f"the plot is in {path}")


def main():
    results = {
        "Rosenbrock": measure("Rosenbrock", rosenbrock, rosenbrock_by_hand),
        "chain": measure("chain", chain, chain_by_hand),
    }
    plot(results, "fused_vs_unfused.png")
    print(f"ok: fused, unfused and the derivation by hand agree at {len(SIZES)} sizes")


if __name__ == "__main__":
    main()
