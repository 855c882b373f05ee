"""What compiled callers keep alive, and for how long; and code that Numba kept on disk."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

import tracejit as tj

ROOT = Path(__file__).parents[2]


@pytest.fixture
def _counted_memory() -> Iterator[None]:
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


@pytest.mark.usefixtures("_counted_memory")
def test_a_hundred_thousand_calls_leave_nothing_behind(rng: np.random.Generator) -> None:
    @tj.grad_jit
    def loss(params: Any, x: Any) -> Any:
        w, b = params
        return ((x @ w + b) ** 2).mean()

    @numba.njit
    def repeat(params: Any, x: Any, out: Any, times: int) -> Any:
        total = 0.0
        for _ in range(times):
            value, (dw, db) = loss(params, x)
            total += value + dw[0] + db
            loss(params, x, out=(out, None))
        return total

    params, x, out = (rng.normal(size=3), 0.5), rng.normal(size=(5, 3)), np.empty(3)
    repeat(params, x, out, 1)
    arrays = (params[0], x, out)
    counts = [sys.getrefcount(a) for a in arrays]
    before = rtsys.get_allocation_stats()
    repeat(params, x, out, 100_000)
    after = rtsys.get_allocation_stats()
    assert after.alloc - after.free == before.alloc - before.free
    assert [sys.getrefcount(a) for a in arrays] == counts


@pytest.mark.usefixtures("_counted_memory")
def test_calls_that_fail_leave_no_arrays_behind() -> None:
    @tj.jit
    def pick(x: Any, index: Any) -> Any:
        return x[index] * 2

    @numba.njit
    def inside(x: Any, index: Any) -> Any:
        return pick(x, index)

    def fail() -> None:
        try:
            inside(np.arange(10.0), np.array([12, 3]))
        except IndexError:
            return
        raise AssertionError("it must fail")

    fail()
    before = rtsys.get_allocation_stats()
    for _ in range(100):
        fail()
    after = rtsys.get_allocation_stats()
    assert (
        after.mi_alloc - after.mi_free - (before.mi_alloc - before.mi_free) <= 200
    )  # Numba's own: arguments


@pytest.mark.parametrize("parallel", [False, True])
def test_a_function_lives_as_long_as_its_compiled_caller(parallel: bool) -> None:
    captured = np.ones(1000)

    def make() -> Any:
        scaled = tj.jit(lambda x: (x * captured).sum())

        @numba.njit(parallel=parallel)
        def inner(xs: Any) -> Any:
            result = np.empty(len(xs))
            for k in numba.prange(len(xs)):
                result[k] = scaled(xs[k])
            return result

        @numba.njit
        def outer(xs: Any) -> Any:
            return inner(xs)

        assert outer(np.ones((2, 1000))).tolist() == [1000.0] * 2
        return outer, weakref.ref(scaled)

    outer, scaled = make()
    gc.collect()
    assert scaled() is not None
    assert outer(np.ones((2, 1))).tolist() == [1000.0] * 2


def test_a_name_that_is_bound_anew_leaves_compiled_callers_as_they_are() -> None:
    names: dict[str, Any] = {"tj": tj, "numba": numba, "__name__": "made_here"}
    exec("loss = tj.jit(lambda x: x + 1)\n@numba.njit\ndef inside(x):\n    return loss(x)\n", names)
    inside = names["inside"]
    assert inside(np.ones(2)).tolist() == [2.0] * 2
    names["loss"] = tj.jit(lambda x: x + 100)
    gc.collect()
    assert inside(np.ones(3)).tolist() == [2.0] * 3


MODULE = """
    import numba
    import numpy as np
    import tracejit as tj

    @tj.grad_jit
    def loss(w):
        return SCALE * (w * w).sum()

    SCALE = 1.0

    @numba.njit(cache=True)
    def inside(w):
        return loss(w), loss.grad(w)

    @numba.njit(cache=True)
    def outer(w):
        return inside(w)[0][0]

    @numba.njit(cache=True)
    def apply(f, w):
        return f(w)[0]
"""

PROGRAM = """
    import sys, warnings
    warnings.simplefilter("error")
    import numpy as np
    import kept

    kept.SCALE = float(sys.argv[1])
    for n in (3, 9):
        w = np.ones(n)
        (value, grad), again = kept.inside(w)
        assert value == kept.loss(w)[0] == kept.SCALE * n, value
        assert grad.tolist() == again.tolist() == [2 * kept.SCALE] * n
        assert kept.outer(w) == kept.apply(kept.loss, w) == value
    print(*(sum(f.stats.cache_hits.values()) for f in (kept.inside, kept.outer, kept.apply)))
"""


def run(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(folder)]))
    environment["NUMBA_CACHE_DIR"] = str(folder / "numba")
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_code_that_numba_kept_on_disk_calls_the_function_of_its_own_process(tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text(textwrap.dedent(MODULE))
    for scale, hits in (("1", "0 0 0"), ("1", "1 1 1"), ("5", "1 1 1")):
        done = run(tmp_path, PROGRAM, scale)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == hits


CHANGED = """
    import sys
    import numpy as np
    import kept, tracejit as tj

    kept.loss = eval(sys.argv[1])
    try:
        kept.outer(np.ones(4))
    except tj.ArgumentError as error:
        print(error)
"""


def test_code_on_disk_whose_function_has_become_another_says_so(tmp_path: Path) -> None:
    (tmp_path / "kept.py").write_text(textwrap.dedent(MODULE))
    assert run(tmp_path, PROGRAM, "1").returncode == 0
    narrow = run(tmp_path, CHANGED, "tj.grad_jit(lambda w: (w * w).sum().astype('f4'))")
    assert narrow.stdout.startswith(
        "loss: for these sizes it gives a float32 number, but its caller was compiled for a float64 number"
    ), narrow.stderr
    gone = run(tmp_path, CHANGED, "None")
    assert gone.stdout.startswith("loss: kept.loss is no longer a function of tracejit"), gone.stderr


LOCAL = """
    import numba, warnings
    import numpy as np
    import tracejit as tj

    def make(scale):
        loss = tj.jit(lambda x: scale * x)

        @numba.njit(cache=True)
        def inside(x):
            return loss(x)

        return inside

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert make(2.0)(np.ones(2)).tolist() == [2, 2]
        assert make(3.0)(np.ones(2)).tolist() == [3, 3]
    print(len(caught), caught[0].message)
"""


def test_code_that_calls_a_function_without_a_name_is_not_kept_on_disk(tmp_path: Path) -> None:
    (tmp_path / "local.py").write_text(textwrap.dedent(LOCAL))
    for _ in range(2):
        done = run(tmp_path, "import local")
        assert done.returncode == 0, done.stderr
        assert "as it uses dynamic globals" in done.stdout
