"""The pool's text: it compiles for every processor and system that it has parts for."""

from __future__ import annotations

import pytest

from tracejit.runtime.threads import module
from tracejit.runtime.threads.module import Platform

TRIPLES = {
    "x86_64": ("x86_64-unknown-linux-gnu", "x86_64-apple-darwin"),
    "aarch64": ("aarch64-unknown-linux-gnu", "arm64-apple-darwin"),
    "arm64": ("arm64-apple-darwin",),
    "riscv64": ("riscv64-unknown-linux-gnu",),
}


@pytest.mark.parametrize("machine", TRIPLES)
def test_the_text_compiles_for_other_processors(machine: str) -> None:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    text = module.module_text(Platform(machine, 6, 3, (10, 11)))
    for triple in TRIPLES[machine]:
        parsed = llvm.parse_assembly(text)
        parsed.verify()
        parsed.triple = triple
        target = llvm.Target.from_triple(triple).create_target_machine()
        assert target.emit_object(parsed)


def test_what_different_threads_write_lies_apart() -> None:
    lines = [module.LOCK, module.TASK, module.CLAIMED, module.SLOTS, module.SLOTS + module.SLOT_BYTES]
    assert all(offset % 128 == 0 for offset in lines)
    assert len(set(lines)) == len(lines)
    assert module.PROCESSORS + 8 <= module.CLAIMED
    # A mutex has up to 64 bytes, a condition up to 48, on Linux and macOS.
    assert module.MUTEX >= 128
    assert module.CONDITION - module.MUTEX >= 64
    assert module.SLOT_BYTES - module.CONDITION >= 48


def test_the_numbers_of_the_platform_are_in_the_text() -> None:
    text = module.module_text(Platform("x86_64", 1, 2, (11, 7)))
    assert "@clock_gettime(i32 1," in text
    assert "@pthread_sigmask(i32 2," in text
    assert text.count("call i32 @sigdelset(ptr %all, i32 ") == 2
    assert "$" not in text
