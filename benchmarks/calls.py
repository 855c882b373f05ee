"""What one call costs: value and gradients of small arrays, nested parameters, numbers; rivals beside them.

    python -m benchmarks.calls [--rounds 15]

One thread. The systems take turns, round by round; the medians of a round's mean are printed, in nanoseconds,
and as ratios to tracejit. Numba and JAX are left out where they cannot be imported.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import numpy as np  # noqa: E402

import tracejit as tj  # noqa: E402

SIZE = 16
SECONDS = 0.01  # of one round of one system

Call = Callable[[], Any]
Row = dict[str, Call]


def product(*arrays: Any) -> Any:
    """The sum of the product of some arrays."""
    total = arrays[0]
    for x in arrays[1:]:
        total = total * x
    return total.sum()


def tutorial(w: Any, b: Any, x: Any, y: Any) -> Any:
    z = x @ w + b
    return (np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))).mean()


def with_params(params: Any, x: Any, y: Any) -> Any:
    return tutorial(params["w"], params["b"], x, y)


def nested(params: Any, x: Any) -> Any:
    (w1, b1), (w2, b2) = params["layers"]
    return ((x * w1 + b1) * w2 + b2).sum() * params["scale"]


def call_of(f: Any, *args: Any, **kwargs: Any) -> Call:
    for _ in range(3):
        f(*args, **kwargs)
    return lambda: f(*args, **kwargs)


def products(count: int) -> Row:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(SIZE) for _ in range(count)]
    numbers = tuple(range(count))
    f = tj.grad_jit(argnums=numbers)(product)
    out = tuple(np.empty(SIZE) for _ in arrays)
    row = {"tracejit": call_of(f, *arrays), "out=": call_of(f, *arrays, out=out)}
    if importlib.util.find_spec("numba"):
        row["Numba"] = call_of(numba_product(count), *arrays)
    if importlib.util.find_spec("jax"):
        row["JAX"] = jax_call(product, numbers, arrays)
    row["np.empty"] = lambda: [np.empty(SIZE) for _ in numbers]
    return row


def numba_product(count: int) -> Any:
    """Value and gradients by hand: the product without each array in turn."""
    import numba

    names = [f"x{k}" for k in range(count)]
    lines = [f"def f({', '.join(names)}):", "    value = 0.0"]
    lines += [f"    g{k} = np.empty_like(x{k})" for k in range(count)]
    lines += ["    for i in range(x0.size):", f"        value += {' * '.join(f'{n}[i]' for n in names)}"]
    for k in range(count):
        others = " * ".join(f"{n}[i]" for n in names if n != f"x{k}") or "1.0"
        lines.append(f"        g{k}[i] = {others}")
    lines.append(f"    return value, ({', '.join(f'g{k}' for k in range(count))},)")
    names_space: dict[str, Any] = {"np": np}
    exec("\n".join(lines), names_space)
    return numba.njit(names_space["f"])


def jax_call(f: Callable[..., Any], argnums: Any, args: Any) -> Call:
    """The same by JAX, of arrays that are JAX's already; waits for the result."""
    import jax
    import jax.numpy as jnp

    swapped = {**f.__globals__, "np": jnp}  # type: ignore[attr-defined]
    own = type(f)(f.__code__, swapped, f.__name__, f.__defaults__, f.__closure__)  # type: ignore[attr-defined, call-arg]
    swapped["tutorial"] = (
        type(tutorial)(tutorial.__code__, swapped, "tutorial") if own is not tutorial else own
    )
    g = jax.jit(jax.value_and_grad(own, argnums))
    args = jax.tree.map(jnp.asarray, args)
    jax.block_until_ready(g(*args))
    return lambda: jax.block_until_ready(g(*args))


def compared(f: Callable[..., Any], argnums: Any, args: tuple[Any, ...]) -> Row:
    row = {"tracejit": call_of(tj.grad_jit(argnums=argnums)(f), *args)}
    if importlib.util.find_spec("jax"):
        row["JAX"] = jax_call(f, argnums, args)
    return row


def rows() -> dict[str, Callable[[], Row]]:
    rng = np.random.default_rng(0)
    w, b, x, y = rng.standard_normal((5, 3)), rng.standard_normal(3), np.ones(5), np.zeros(3)
    v = rng.standard_normal(SIZE)
    deep = {"layers": [(v, v + 1), (v + 2, v + 3)], "scale": 2.0}
    return {
        "value + 1 gradient": lambda: products(1),
        "value + 4 gradients": lambda: products(4),
        "value + 8 gradients": lambda: products(8),
        "tutorial step": lambda: compared(tutorial, (0, 1), (w, b, x, y)),
        "tutorial, dict": lambda: compared(with_params, 0, ({"w": w, "b": b}, x, y)),
        "nested parameters": lambda: compared(nested, 0, (deep, v)),
        "numbers": lambda: compared(lambda x, y: x * y + x, (0, 1), (2.0, 3.0)),
    }


def measure(row: Row, rounds: int) -> dict[str, float]:
    """Nanoseconds a call, by system: the median of rounds in which the systems take turns."""
    repeats: dict[str, int] = {}
    for name, call in row.items():
        started = time.perf_counter()
        for _ in range(100):
            call()
        repeats[name] = max(1, int(SECONDS / max((time.perf_counter() - started) / 100, 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in row}
    for _ in range(rounds):
        for name, call in row.items():
            started = time.perf_counter_ns()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter_ns() - started) / repeats[name])
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print("nanoseconds a call (ratio to tracejit); arrays of 16 doubles, one thread")
    for name, make in rows().items():
        found = measure(make(), rounds)
        own = found["tracejit"]
        cells = [f"{system} {ns:,.0f} ({ns / own:.1f}x)" for system, ns in found.items()]
        print(f"{name:<22}{'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
