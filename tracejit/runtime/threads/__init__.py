"""Threads for compiled programs: `tj_parallel(task, context, tasks, threads)`, and how many can run at once.

A program that declares it is loaded after `provide`; README.md has the contract and the protocol.
"""

from tracejit.runtime.threads.blas import provide_hold
from tracejit.runtime.threads.default import check_threads, get_threads, most_threads, set_threads
from tracejit.runtime.threads.pool import SYMBOL, pool_size, provide
from tracejit.runtime.threads.processors import available_threads

__all__ = [
    "SYMBOL",
    "available_threads",
    "check_threads",
    "get_threads",
    "most_threads",
    "pool_size",
    "provide",
    "provide_hold",
    "set_threads",
]
