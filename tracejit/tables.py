"""Tables of text: rows of cells with their columns aligned, and numbers with units."""

from __future__ import annotations

from collections.abc import Collection, Sequence

_LARGE = ("", "k", "M", "G", "T")


def align(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """A line a row, columns two blanks apart; those numbered in `right` stand right, empty ones are left out.

    >>> align([("x", "", "8"), ("long", "", "12")], right=[2])
    ['x      8', 'long  12']
    """
    if not rows:
        return []
    shown = [k for k in range(len(rows[0])) if any(row[k] for row in rows)]
    widths = {k: max(len(row[k]) for row in rows) for k in shown}
    return [
        "  ".join(row[k].rjust(widths[k]) if k in right else row[k].ljust(widths[k]) for k in shown).rstrip()
        for row in rows
    ]


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text: the first row is the heading; the first column stands left, the others right.

    >>> print(format_table([("", "time"), ("fused", "1.00 us")]))
              time
    -----  -------
    fused  1.00 us
    """
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(c.rjust(w) if k else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def readable_seconds(seconds: float) -> str:
    """Three digits and a unit.

    >>> readable_seconds(0.0123), readable_seconds(4.2e-6), readable_seconds(2.5)
    ('12.3 ms', '4.20 us', '2.50 s')
    """
    unit, factor = next(((u, f) for u, f in (("s", 1.0), ("ms", 1e3)) if seconds * f >= 1), ("us", 1e6))
    return f"{three_digits(seconds * factor)} {unit}"


def readable_count(number: float, unit: str) -> str:
    """Three digits, a power of 1000 and a unit; whole numbers below 1000 as they are.

    >>> readable_count(48, "B"), readable_count(12_345, "B"), readable_count(3.1e9, "flop/s")
    ('48 B', '12.3 kB', '3.10 Gflop/s')
    """
    power = 0
    while abs(number) >= 999.5 and power + 1 < len(_LARGE):
        number, power = number / 1000, power + 1
    text = str(int(number)) if not power and number == int(number) else three_digits(number)
    return f"{text} {_LARGE[power]}{unit}".rstrip()


def readable_size(size: int) -> str:
    """The size of a memory in powers of 1024.

    >>> readable_size(32 * 1024), readable_size(8 * 2**20), readable_size(100)
    ('32 KiB', '8 MiB', '100 B')
    """
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"


def three_digits(number: float) -> str:
    """
    >>> three_digits(1.234), three_digits(12.34), three_digits(123.4)
    ('1.23', '12.3', '123')
    """
    return f"{number:.{2 if number < 10 else 1 if number < 100 else 0}f}"
