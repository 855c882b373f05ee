"""The one table of what work costs, in nanoseconds on one core; every choice of a schedule is made from it.

Measured on a core of AMD Zen 3 at 3 to 3.5 GHz (AVX2, 32 KiB and 512 KiB of its own cache), rounded.
`python -m benchmarks.cost_table` measures the same on the machine it runs on. Choices need ratios: a machine
that is twice as fast at everything chooses the same. The numbers are fixed, so that one program is scheduled
alike everywhere; `autotune` asks the machine instead.
"""

from __future__ import annotations

from dataclasses import dataclass

WORD = 8  # bytes of the elements that the prices of arithmetic are for


@dataclass(frozen=True)
class Costs:
    """Prices in nanoseconds; an element has 8 bytes, and one of 4 costs half as much arithmetic.

    addition: one addition, multiplication, comparison or selection of an element, on vectors
    function: an elementary function or division, an element and unit of the `cost` that its primitive states
    access: loading or storing an element, wherever it is; twice that for truth values, which are converted
    levels: for each level of memory its size in bytes and the price of a byte read or written
    picked: an element read or written alone, as a gather does, beside its bytes
    loop: entering a loop: its counter, its masked rest, the lanes of its sums joined
    kernel: a kernel of a program
    step: passing from compiled code to Python and back, for a call that only NumPy can do
    product: a call of BLAS from compiled code
    multiply_add: one multiplication and addition of a large product by BLAS
    looped_multiply_add: the same in a loop whose operands are in registers or the nearest cache
    """

    addition: float = 0.06
    function: float = 0.12
    access: float = 0.06
    levels: tuple[tuple[float, float], ...] = (
        (2**15, 0.008),
        (2**19, 0.012),
        (2**24, 0.018),
        (float("inf"), 0.06),
    )
    picked: float = 0.5
    loop: float = 5.0
    kernel: float = 9.0
    step: float = 3000.0
    product: float = 90.0
    multiply_add: float = 0.047
    looped_multiply_add: float = 0.12

    def arithmetic(self, cost: int, itemsize: int = WORD) -> float:
        """An element's work of a primitive whose fact `cost` is given, in a dtype of `itemsize` bytes.

        >>> [round(COSTS.arithmetic(cost), 2) for cost in (1, 4, 15)], round(COSTS.arithmetic(15, 4), 2)
        ([0.06, 0.48, 1.8], 0.9)
        """
        price = self.addition if cost <= 1 else self.function
        return cost * price * max(itemsize, 4) / WORD

    def moving(self, itemsize: int, footprint: float) -> float:
        """An element read or written by work that touches `footprint` bytes from one run to the next.

        >>> [round(COSTS.moving(8, size), 2) for size in (1000, 10**5, 10**6, 10**9)]
        [0.12, 0.16, 0.2, 0.54]
        """
        return self.access * (2 if itemsize == 1 else max(itemsize, 4) / WORD) + itemsize * self.byte(
            footprint
        )

    def byte(self, footprint: float) -> float:
        """A byte that comes from, or goes to, the level of memory that holds `footprint` bytes."""
        return next(price for size, price in self.levels if footprint <= size)


COSTS = Costs()
