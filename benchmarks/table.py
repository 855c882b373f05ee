"""Results as text: ratios of each system to tracejit, first calls, memory, and what is missing and why."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.results_file import Measurement, Results, Row
from benchmarks.systems import SYSTEMS

# Which other systems are rivals, of which the best counts; the rest are tracejit itself and the limit.
PEERS = ("jax", "jax-plain", "torch", "torch-compile", "pytensor", "autograd", "casadi")
COLUMNS = ("numba", "unfused", "numpy", *PEERS)
FIRST_CALLS = ("tracejit", "jax", "torch-compile", "pytensor")
MEMORY = ("tracejit", "numba", "numpy", *PEERS)

# Smaller results are lost among the pages that any call touches.
LEAST_BYTES = 1 << 20


def readable(seconds: float | None) -> str:
    """Three digits and a unit.

    >>> readable(0.0123), readable(4.2e-6), readable(None)
    ('12.3 ms', '4.20 us', '-')
    """
    if seconds is None:
        return "-"
    unit, factor = next(((u, f) for u, f in (("s", 1), ("ms", 1e3)) if seconds * f >= 1), ("us", 1e6))
    return f"{digits(seconds * factor)} {unit}"


def digits(number: float | None, unit: str = "") -> str:
    """A number with three digits, or with none after the point above 100.

    >>> digits(1.234), digits(12.34, "x"), digits(123.4), digits(None)
    ('1.23', '12.3x', '123', '-')
    """
    if number is None:
        return "-"
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f}{unit}"


def best_peer(row: Row) -> tuple[str, Measurement] | None:
    """The fastest rival of a row."""
    timed = [(name, row.systems[name]) for name in PEERS if name in row.systems]
    timed = [(name, m) for name, m in timed if m.median is not None]
    return min(timed, key=lambda entry: _speed(entry[1]), default=None)


def _speed(measured: Measurement) -> float:
    """What a row's systems are compared by: times of different runs cannot be."""
    return measured.median or 0.0 if measured.ratio is None else measured.ratio


def render(results: Results) -> str:
    """Every table, one after the other."""
    parts = [ratios(results), first_calls(results), memory(results), notes(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _threads(results: Results) -> str:
    """Of the runs that measured the results; those of before this was noted had one."""
    counts = sorted({int(run.get("threads", 1)) for run in results.runs} or {1})
    return "one thread" if counts == [1] else f"{' or '.join(map(str, counts))} threads"


def ratios(results: Results) -> str:
    """Row by row the time of tracejit, that of each system as a multiple of it, and the goal."""
    names = [c for c in COLUMNS if any(c in row.systems for row in results.rows)]
    header = [
        f"value and gradient, {_threads(results)}",
        "tracejit",
        "/ hand",
        "goal",
        *[SYSTEMS[n].label for n in names],
    ]
    lines = [[*header, "best peer"]]
    for row in results.rows:
        own = row.systems.get("tracejit", Measurement())
        cells = [readable(own.median), digits(own.ratio_to_hand), f"{row.goal_over_hand:.2f}"]
        cells += [_ratio_or_time(row.systems.get(name), own.median is not None) for name in names]
        peer = best_peer(row)
        cells.append(
            f"{SYSTEMS[peer[0]].label} {_ratio_or_time(peer[1], own.median is not None)}" if peer else "-"
        )
        lines.append([_label(row), *cells])
    return align(lines)


# The shorter table: what each library does at its best.
FAMILIES = {
    "NumPy": ("numpy",),
    "JAX": ("jax", "jax-plain"),
    "torch": ("torch", "torch-compile"),
    "PyTensor": ("pytensor",),
    "autograd": ("autograd",),
    "CasADi": ("casadi",),
}


def brief(results: Results) -> str:
    """One table for a page: times, each library at its best, first calls, and the memory that a call adds."""
    firsts = ["first", "warm", "JAX's", "warm"]
    lines = [["value and gradient", "tracejit", "/ hand", "goal", *FAMILIES, *firsts, "memory", "JAX's"]]
    for row in results.rows:
        own, jax = (row.systems.get(name, Measurement()) for name in ("tracejit", "jax"))
        cells = [readable(own.median), digits(own.ratio_to_hand), f"{row.goal_over_hand:.2f}"]
        for names in FAMILIES.values():
            timed = [m for n in names if (m := row.systems.get(n)) is not None and m.median is not None]
            best = min(timed, key=_speed, default=None)
            cells.append(_ratio_or_time(best, own.median is not None))
        cells += [readable(s) for m in (own, jax) for s in (m.first_call or m.next_size, m.warm_first_call)]
        is_seen = any((m.added or 0) >= LEAST_BYTES for m in (own, jax))
        cells += [_memory_cell(m) if is_seen else "-" for m in (own, jax)]
        lines.append([_label(row), *cells])
    return align(lines) + "\n"


def _ratio_or_time(measured: Measurement | None, has_ratio: bool) -> str:
    if measured is None or measured.median is None:
        return "-"
    if not has_ratio:
        return readable(measured.median)
    mark = "*" if (measured.cores or 0.0) > 1.2 else ""
    return digits(measured.ratio, "x") + mark


def first_calls(results: Results) -> str:
    """Cold and warm first calls, and the first call at a later size, for the systems that compile."""
    names = [n for n in FIRST_CALLS if any(n in row.systems for row in results.rows)]
    views: tuple[tuple[str, Callable[[Measurement], float | None]], ...] = (
        ("first", lambda m: m.first_call),
        ("warm", lambda m: m.warm_first_call),
        ("next size", lambda m: m.next_size),
    )
    lines = [["first calls", *[f"{SYSTEMS[n].label} {view}" for n in names for view, _ in views]]]
    for row in results.rows:
        found = [row.systems.get(n, Measurement()) for n in names]
        lines.append([_label(row), *[readable(get(m)) for m in found for _, get in views]])
    return align(lines)


def memory(results: Results) -> str:
    """Bytes that a call adds, as multiples of its results where those are large enough to be seen."""
    names = [n for n in MEMORY if any(n in row.systems for row in results.rows)]
    lines = [["memory added by a call", *[SYSTEMS[n].label for n in names]]]
    for row in results.rows:
        found = [row.systems.get(n, Measurement()) for n in names]
        if any((m.added or 0) >= LEAST_BYTES for m in found):
            lines.append([_label(row), *[_memory_cell(m) for m in found]])
    return align(lines) if len(lines) > 1 else ""


def _memory_cell(measured: Measurement) -> str:
    if measured.added is None or measured.outputs is None:
        return "-"
    if measured.outputs >= LEAST_BYTES:
        return digits(measured.added / measured.outputs, "x")
    return f"{measured.added / 1e6:.1f} MB"


def notes(results: Results) -> str:
    """What each column is, which entries are missing and why, and what the marks mean."""
    names = [n for n in SYSTEMS if any(n in row.systems for row in results.rows)]
    lines = [f"{SYSTEMS[n].label}: {SYSTEMS[n].note}" for n in names]
    lines.append("x: times as long as tracejit; memory: multiples of the results; *: used more than one core")
    lines.append("/ hand: tracejit over the hand-written kernel; goal: what that ratio should be at most")
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in results.rows:
        for name, measured in row.systems.items():
            if measured.problem is not None:
                reasons.setdefault((SYSTEMS[name].label, measured.problem), []).append(_label(row))
    lines += [f"- {label}, {'; '.join(rows)}: {reason}" for (label, reason), rows in reasons.items()]
    return "\n".join(lines)


def _label(row: Row) -> str:
    return f"{row.title} {row.size}"


def align(lines: list[list[str]]) -> str:
    """Cells in columns, the first to the left and the others to the right.

    >>> print(align([["row", "time"], ["chain", "1 us"]]))
    row    time
    chain  1 us
    """
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    shown = [
        [
            cell.ljust(w) if k == 0 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in shown)
