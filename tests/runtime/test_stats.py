"""Counters: they add up over threads and start anew after a reset."""

from __future__ import annotations

import threading

import pytest

from tracejit.runtime import stats


def test_counts_from_many_threads_add_up() -> None:
    before = stats.cache_info()

    def count() -> None:
        for _ in range(1000):
            stats.record("traces")
            stats.record("compile_seconds", 0.5)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stats.cache_info().traces - before.traces == 4000
    assert stats.cache_info().compile_seconds - before.compile_seconds == pytest.approx(2000.0)


def test_a_reset_sets_every_counter_to_zero() -> None:
    stats.record("hits")
    stats.reset()
    assert stats.cache_info() == stats.CacheInfo()


def test_an_unknown_counter_is_refused() -> None:
    with pytest.raises(AttributeError):
        stats.record("misses")
