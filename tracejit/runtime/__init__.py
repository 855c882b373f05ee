"""Kernel source enters, native programs leave: compiled once, kept in memory and as object code on disk."""

from tracejit.runtime.cache import Origin, cache_clear, get_program
from tracejit.runtime.native import NativeProgram
from tracejit.runtime.stats import CacheInfo, cache_info, record
from tracejit.runtime.workspace import release_memory

__all__ = [
    "CacheInfo",
    "NativeProgram",
    "Origin",
    "cache_clear",
    "cache_info",
    "get_program",
    "record",
    "release_memory",
]
