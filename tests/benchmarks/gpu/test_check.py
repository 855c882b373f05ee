"""Asking processes: another one for what follows, what is left out, and that the report says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.gpu.check import Check, answers, in_parallel
from benchmarks.gpu.report import Report
from benchmarks.gpu.rows import TIMES_FLOOR
from benchmarks.gpu.session import Item
from benchmarks.gpu.worker import Process
from tests.benchmarks.gpu.fakes import Program


class Programs(Check):
    opened = 0

    def open_worker(self, kind: str) -> Process:
        self.opened += 1
        return Program(kind, True, self.scratch)


def checks(tmp_path: Path, seconds: float = 60.0) -> Programs:
    return Programs(Report(), ("bce",), tmp_path, deadline=time.monotonic() + seconds)


def test_another_process_takes_what_follows(tmp_path: Path) -> None:
    check = checks(tmp_path)
    found = [answer for _, answer in answers(check, "cupy", [{"do": "end"}, {"do": "one"}])]
    assert found[0]["broken"] and found[1] == {"did": "one"} and check.opened == 2


def test_a_variant_that_breaks_two_processes_is_left_out(tmp_path: Path) -> None:
    check = checks(tmp_path)
    items = [{"do": "end", "variant": "bad"}] * 4 + [{"do": "one", "variant": "good"}]
    found = [answer for _, answer in answers(check, "cupy", items)]
    assert [answer.get("broken", False) for answer in found] == [True, True, False] and check.opened == 3
    assert found[2] == {"did": "one"}
    assert check.report.missing == ["end bad and 1 more: left out, as it broke its process before"]


def test_the_largest_sizes_of_all_workloads_come_first_and_float32_before_float64(tmp_path: Path) -> None:
    check = checks(tmp_path)
    check.rows, check.free = ("mlp", "attention"), 10.0**10
    assert [(name, shape[0], dtype) for name, shape, dtype in check.plan] == [
        (name, n, dtype)
        for sizes in ((2**16, 4096), (1024, 256))
        for dtype in ("float32", "float64")
        for name, n in zip(check.rows, sizes)
    ]


def test_sizes_that_become_one_in_a_small_memory_are_timed_once(tmp_path: Path) -> None:
    check = checks(tmp_path)
    check.free = 2.0**20 * TIMES_FLOOR
    assert check.plan == [
        ("bce", (65536,), "float32"),
        ("bce", (32768,), "float64"),
        ("bce", (10000,), "float32"),
        ("bce", (10000,), "float64"),
    ]


class Failing:
    """No process: every item is refused, in words that its row may be among."""

    def __init__(self, words: str) -> None:
        self.words = words

    def ask(self, item: Item, seconds: float) -> Item:
        return {"problem": self.words.format(**item)}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("variant", "words", "asked"),
    [
        ("torch.compile", "no compiler", 4),
        ("torch.compile", "['/bin/gcc', '/tmp/{row}.c'] failed", 4),
        ("torch.compile", "no {row}", 6),
        ("fused", "no compiler", 6),
    ],
)
def test_another_library_that_fails_alike_for_two_workloads_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, words: str, asked: int
) -> None:
    check = checks(tmp_path)
    monkeypatch.setattr(check, "open_worker", lambda kind: Failing(words))
    rows = ("bce", "bce", "bce", "chain", "mlp", "stencil")
    items = [{"do": "measure", "row": row, "variant": variant} for row in rows]
    assert len(list(answers(check, "torch", items))) == asked
    words = words.format(row="chain")
    reason = f"measure mlp {variant} and 1 more: left out, as before: {words}"
    assert check.report.missing == ([reason] if asked < 6 else [])


def test_items_for_which_no_time_is_left_are_named(tmp_path: Path) -> None:
    check = checks(tmp_path, 0.0)
    items = [{"do": "measure", "row": "bce", "shape": [3, 4], "dtype": "float32", "variant": "fused"}] * 2
    assert list(answers(check, "cupy", items)) == []
    assert check.report.missing == ["measure bce float32 fused 3x4 and 1 more: no time was left"]


def test_what_goes_wrong_in_a_thread_is_a_problem_of_the_stage(tmp_path: Path) -> None:
    check = checks(tmp_path)

    def fails(item: Item, answer: Item) -> None:
        raise KeyError(item["do"])

    check.stage("kernels", check.deadline, lambda check: in_parallel(check, "cupy", [{"do": "one"}], fails))
    assert check.report.problems == ["kernels: KeyError: 'one'"]
