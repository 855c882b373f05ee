"""The caches of programs: memory, disk, damage, hostile or full folders, threads and forks."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tracejit.config import Config
from tracejit.errors import CacheWarning
from tracejit.runtime import cache, cache_clear, cache_info, get_program, native

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def empty_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts with nothing in memory, an empty folder and no warning given yet."""
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(tmp_path / "cache"))
    cache_clear()
    cache._warned.clear()
    yield
    cache_clear()


@pytest.fixture
def source() -> str:
    """A program that no other test has: it writes its own number."""
    return f"def program(ip, fp):\n    ptr_f64(ip[0])[0] = {next(_numbers)}.0 * fp[0]\n"


def number_in(source: str) -> float:
    return float(source.split("=")[1].split("*")[0])


def result_of(program: native.NativeProgram) -> float:
    out, fp = np.zeros(1), np.ones(1)
    ip = np.array([out.ctypes.data])
    program(ip.ctypes.data, fp.ctypes.data)
    return float(out[0])


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*.tjo"))


def test_a_program_is_compiled_then_in_memory_then_on_disk(source: str) -> None:
    origins = [get_program(source)[1], get_program(source)[1]]
    assert cache_info()[:4] == (0, 1, 1, 0)
    assert cache_info().compile_seconds > 0
    cache_clear()
    program, origin = get_program(source)
    assert [*origins, origin] == ["compiled", "memory", "disk"]
    assert cache_info()[:4] == (0, 0, 0, 1)
    assert result_of(program) == number_in(source)
    assert program.compile_seconds == 0.0


def test_the_key_ignores_comments_and_blank_lines_but_not_code(source: str) -> None:
    commented = "# a title\n\n" + source.replace("fp[0]", "fp[0]  # the constant")
    assert cache.program_key(commented) == cache.program_key(source)
    assert cache.program_key(source.replace("fp[0]", "fp[1]")) != cache.program_key(source)
    assert cache.strip_comments('a = "# no comment"  # one') == 'a = "# no comment"'


def test_the_readable_source_is_saved_beside_the_code(source: str, tmp_path: Path) -> None:
    get_program(source)
    (entry,) = entries(tmp_path)
    assert entry.with_suffix(".py").read_text() == source
    assert stat.S_IMODE(entry.parent.stat().st_mode) == 0o700 or os.name == "nt"
    assert not list(entry.parent.glob(".new-*"))


FRESH = """
import sys
import numpy as np
from tracejit.runtime import cache_info, get_program
program, origin = get_program(sys.argv[1])
out, fp = np.zeros(1), np.ones(1)
ip = np.array([out.ctypes.data])
program(ip.ctypes.data, fp.ctypes.data)
print(origin, out[0], cache_info().compiles, "numba" in sys.modules)
"""


def test_a_second_process_compiles_nothing_and_does_not_import_numba(source: str) -> None:
    source = source.replace("fp[0]", "fp[0] * (exp(fp[0]) / exp(fp[0])) * tanh(fp[0]) / tanh(fp[0])")
    lines = [
        subprocess.run(
            [sys.executable, "-c", FRESH, source],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        ).stdout.split()
        for _ in range(2)
    ]
    number = str(number_in(source))
    assert lines == [["compiled", number, "1", "True"], ["disk", number, "0", "False"]]


def flip_a_byte(data: bytes) -> bytes:
    return data[:-50] + bytes([data[-50] ^ 1]) + data[-49:]


def other_version(data: bytes) -> bytes:
    return data.replace(b'"tracejit": "', b'"tracejit": "9', 1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_byte, "sha256 differ"),
        (lambda data: data[: len(data) // 2], "sha256 differ"),
        (lambda data: data[:30], "header cannot be read"),
        (lambda data: b"", "not a tracejit entry"),
        (lambda data: b"\x80\x04pickle" + data, "not a tracejit entry"),
        (other_version, "(header cannot be read|sha256|versions)"),
        (lambda data: data.replace(b'"key": "', b'"kex": "', 1), "key differ"),
    ],
    ids=["damaged", "truncated", "header", "empty", "foreign", "version", "key"],
)
def test_a_bad_entry_is_rebuilt_with_one_warning(
    damage: Callable[[bytes], bytes], reason: str, source: str, tmp_path: Path
) -> None:
    get_program(source)
    (entry,) = entries(tmp_path)
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    cache_clear()
    with pytest.warns(CacheWarning, match=reason) as caught:
        program, origin = get_program(source)
    assert len(caught) == 1
    assert (origin, result_of(program)) == ("compiled", number_in(source))
    cache_clear()
    assert get_program(source)[1] == "disk"


def test_an_entry_under_another_programs_name_is_not_believed(source: str, tmp_path: Path) -> None:
    other = source.replace("fp[0]", "fp[0] * 10.0")
    get_program(source)
    (entry,) = entries(tmp_path)
    (entry.parent / (cache.program_key(other) + ".tjo")).write_bytes(entry.read_bytes())
    with pytest.warns(CacheWarning, match="key differ"):
        program, _ = get_program(other)
    assert result_of(program) == number_in(source) * 10


def test_an_entry_that_calls_a_missing_function_is_rebuilt(source: str, tmp_path: Path) -> None:
    get_program(source)
    (entry,) = entries(tmp_path)
    record = native.compile_source(source)
    wrong = native.Record(record.object_code, record.bitcode, ("tracejit_no_such_function",))
    entry.write_bytes(cache.encode_record(wrong, entry.stem))
    cache_clear()
    with pytest.warns(CacheWarning, match="functions that this process lacks"):
        assert get_program(source)[1] == "compiled"


def test_a_folder_that_cannot_be_made_costs_one_warning(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("TRACEJIT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(CacheWarning, match="not kept on disk") as caught:
        program, origin = get_program(source)
        get_program(source.replace("fp[0]", "fp[0] * 3.0"))
    assert len(caught) == 1
    assert (origin, result_of(program)) == ("compiled", number_in(source))


def test_a_full_disk_costs_one_warning(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    with pytest.warns(CacheWarning, match="No space left") as caught:
        program, _ = get_program(source)
        get_program(source.replace("fp[0]", "fp[0] * 3.0"))
    assert len(caught) == 1
    assert result_of(program) == number_in(source)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_folder_that_others_can_write_is_not_used(mode: int, source: str, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.warns(CacheWarning, match="writable by, another user"):
        assert get_program(source)[1] == "compiled"
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX")
def test_a_folder_of_another_user_is_not_used(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    owner = os.getuid()
    monkeypatch.setattr(cache.os, "getuid", lambda: owner + 1)
    with pytest.warns(CacheWarning, match="belongs to"):
        assert get_program(source)[1] == "compiled"


def test_without_a_folder_programs_stay_in_memory(source: str, tmp_path: Path) -> None:
    assert get_program(source, Config(cache_dir=None))[1] == "compiled"
    assert get_program(source)[1] == "memory"
    assert not (tmp_path / "cache").exists()


def test_the_oldest_entries_go_when_the_folder_is_too_big(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "SWEEP_EVERY", 1)
    get_program(source)
    (oldest,) = entries(tmp_path)
    past = time.time() - 1000
    for path in (oldest, oldest.with_suffix(".py")):
        os.utime(path, (past, past))
    stranger = oldest.parent / "notes.txt"
    stranger.write_text("not ours")
    size = sum(path.stat().st_size for path in oldest.parent.iterdir())
    folder = Config(cache_dir=oldest.parent, cache_limit_bytes=size + 100)
    get_program(source.replace("fp[0]", "fp[0] * 3.0"), folder)
    assert len(entries(tmp_path)) == 1 and not oldest.exists() and not oldest.with_suffix(".py").exists()
    assert stranger.exists()


def test_only_some_entries_look_at_the_whole_folder(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweeps: list[Path] = []
    monkeypatch.setattr(cache, "_prune", lambda folder, limit: sweeps.append(folder))
    record = native.compile_source(source)
    for number in range(64):
        cache._store_entry(tmp_path, f"{number:08x}", record, source, ".py", 1)
    assert sweeps == [tmp_path] * 4


def test_a_file_that_vanishes_while_the_folder_is_read_is_passed_over(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache, "SWEEP_EVERY", 1)
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache" / ".new-gone").symlink_to(tmp_path / "nothing")  # listed, but without a status
    assert get_program(source)[1] == "compiled"
    assert len(entries(tmp_path)) == 1


def test_eight_threads_compile_a_program_once(source: str) -> None:
    origins: list[str] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        origins.append(get_program(source)[1])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(origins) == ["compiled"] + ["memory"] * 7
    assert cache_info().compiles == 1


def test_a_failed_compilation_leaves_no_lock_behind() -> None:
    for _ in range(2):
        with pytest.raises(Exception, match="compiling a kernel failed"):
            get_program("def program(ip, fp):\n    unknown(ip)")
    assert not cache._key_locks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_forked_while_another_thread_compiles_can_compile(source: str) -> None:
    get_program(source)
    others = [source.replace("fp[0]", f"fp[0] * {k}.0") for k in range(2, 8)]
    thread = threading.Thread(target=lambda: [get_program(text) for text in others])
    thread.start()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            right = result_of(get_program(source)[0]) == number_in(source)
            program, _ = get_program(source.replace("fp[0]", "fp[0] * 100.0"))
            status = 0 if right and result_of(program) == number_in(source) * 100 else 2
        finally:
            os._exit(status)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_warning_is_given_where_all_is_well(source: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_program(source)
        cache_clear()
        get_program(source)
