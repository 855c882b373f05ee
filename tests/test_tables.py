"""Tables of text line up, and numbers read with three digits and a unit."""

from __future__ import annotations

import pytest

from tracejit.tables import align, format_table, readable_count, readable_seconds, readable_size


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert format_table([("a", "bb"), ("long", "c")]) == "a     bb\n----  --\nlong   c"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.00 us"), (3.14159e-6, "3.14 us"), (99e-6, "99.0 us"), (0.0451, "45.1 ms"), (123.4, "123 s")],
)
def test_seconds_read_with_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


def test_columns_without_a_cell_are_left_out() -> None:
    assert align([("a", "", "1"), ("bb", "", "20")], right={2}) == ["a    1", "bb  20"]
    assert align([]) == []


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (0.5, "0.50 B"), (1000, "1.00 kB"), (999_999, "1.00 MB"), (2e12, "2.00 TB")],
)
def test_counts_read_with_three_digits_and_a_power_of_1000(number: float, text: str) -> None:
    assert readable_count(number, "B") == text


@pytest.mark.parametrize(("size", "text"), [(512, "512 B"), (32 * 1024, "32 KiB"), (3 * 2**30, "3 GiB")])
def test_sizes_of_memories_read_in_powers_of_1024(size: int, text: str) -> None:
    assert readable_size(size) == text
