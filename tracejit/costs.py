"""The one table of what work costs, in nanoseconds on one core; every choice of a schedule is made from it.

Measured on a core of AMD Zen 3 at 3 to 3.5 GHz (AVX2, 32 KiB and 512 KiB of its own cache), rounded.
`python -m benchmarks.cost_table` measures the same on the machine it runs on. Choices need ratios: a machine
that is twice as fast at everything chooses the same. The numbers are fixed, so that one program is scheduled
alike everywhere; `autotune` asks the machine instead.
"""

from __future__ import annotations

from dataclasses import dataclass

WORD = 8  # bytes of the elements that the prices of arithmetic are for
LANES = 8  # such elements that a vector has
SUMS_IN_REGISTERS = 16  # of a product whose sums all run at once
CLOSE = 1.5  # programs within this factor of the best estimate are worth a measurement
WORTH = 0.97  # what is measured must be faster than this share of the table's own answer to take its place
CLEAR = 0.75  # an answer that changes where work is done must promise at least this share of the other's time

# Counts of instructions, where a loop's form is chosen without its sizes (`codegen/llvm/vectors.py`).
NOMINAL_EXTENT = 64  # of a loop that is not literal
NOMINAL_SHORT = 10  # of one over a short scratch row
SHORT_SCRATCH = 15  # elements of a scratch row of which each lane may have a copy
MOST_STEPS_AGAIN = 4  # of a loop over time, that run again from one state of them that is stored
STEPS_AGAIN_WORK = 300.0  # of such steps and their adjoints, in instructions
REDUCTION_COST = 8  # of the lanes of one accumulator after the loop
LOOP_COST = 4  # of a vector loop with its masked rest
CROSSING_COST = 2  # of a number that goes from a vector to a row's loops, or back
PROGRAM_COST, CALL_COST, DIVISION_COST = 15.0, 20.0, 4.0  # an elementary function, one of the C library's

# Additions an element up to which a result that is read more often is computed again for a view of it, and by
# how much zero padding may multiply the elements before costlier work stays on the small array.
VIEW_WORK = 8
PADDING = 2

# The same where computing again is asked for, as devices do: of one reader, and of all readers together. An
# H200 runs some 60 instructions in the time that writing and reading a float32 takes, twice that of float64.
FORCED_WORK = 5 * VIEW_WORK
ALL_FORCED_WORK = 12 * VIEW_WORK

# The same where the latest rows of the result can wait in a ring: from three additions on that is not slower.
RING_WORK = 2
LEAST_ROW = 16  # elements of such rows: shorter ones are mostly the start and the end of their loops
MOST_ROWS = 16  # of one ring; wider offsets are no stencil
USUAL_ROWS = 4  # what a ring has where readers are not known yet
RING_BYTES = 2**18  # of all rings of a kernel: beyond, they may as well be whole arrays in memory

# How loops are cut (`codegen/work.py`).
STRAND_NS = 15_000  # the least work that is worth a strand: several times what waking a thread takes
MOST_STRANDS = 64
COPY_BYTES = 32 * 2**20  # for the threads' copies of arrays that strands reduce into
MOST_COPIES = 8  # of arrays that are so large that this many take more
COPY_SHARE = 0.05  # of the work, the most that copies may cost
BLOCK_ELEMENTS = 2048  # of a sum in lanes, 256 additions each: twice NumPy's error by pairs, not more
WHOLE_VECTORS = 32  # elements: vectors of any type
LEAD_SHARE = 16  # rows of a strand for each row in front of it that is run for its rings
TILE_BYTES = 512 * 2**10  # of the arrays between the steps of a region: they stay in the second cache
LEAST_TILE, ROUND_TILE = 32, 16  # rows: a matrix product needs some to be fast
LEAST_WIDE_TILE = 256  # rows, where each tile reads or adds to a matrix that the second cache does not hold
LEAST_STRAND = 128  # rows of a strand with matrix products: BLAS packs the other matrix anew for each

RELEASE_WORK = 50_000  # scalar operations of a call above which other threads may run meanwhile: some 10 us


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
    multiply_add: one multiplication and addition of a large product, by BLAS or in a loop whose operands are
        in the nearest cache
    narrow_result, narrow_sum: by how much a call is slower where the result has few rows or columns, and
        where few products are summed: in times its work at a size of 1, falling with the size to 1.5
    summed_in_float64: a multiplication of float32 and an addition to a float64, in such of float64
    masked: a vector with idle lanes, in whole ones
    joined: the lanes of a sum added up
    apart: a multiplication and addition whose operands lie apart, in ones of operands side by side
    wake: giving the strands of a region to several threads, and waiting for the last one
    copied: a byte of an array that is filled and added for the sake of another strand
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
    narrow_result: float = 5.0
    narrow_sum: float = 8.0
    summed_in_float64: float = 1.4
    masked: float = 4.0
    joined: float = 0.6
    apart: float = 3.0
    wake: float = 4000.0
    copied: float = 0.3

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

    @property
    def near(self) -> float:
        """Bytes of the two nearest caches."""
        return self.levels[1][0]

    def byte(self, footprint: float) -> float:
        """A byte that comes from, or goes to, the level of memory that holds `footprint` bytes."""
        return next(price for size, price in self.levels if footprint <= size)

    def product_call(self, m: int, n: int, k: int, batches: int, itemsize: int = WORD) -> float:
        """BLAS on `batches` products of m by k and k by n, and the result's way through memory.

        >>> COSTS.product_call(4, 4, 4, 1) < 100 < COSTS.product_call(64, 64, 64, 1)
        True
        """
        narrow = 1 + self.narrow_result / min(m, n) ** 1.5 + self.narrow_sum / k**1.5
        through = 2 * itemsize * (self.byte(batches * m * n * itemsize) - self.levels[0][1])
        each = self.product + m * n * k * self.multiply_add * narrow * itemsize / WORD
        return batches * (each + m * n * through)

    def product_loop(
        self, m: int, n: int, k: int, batches: int, itemsize: int = WORD, read_once: bool = False
    ) -> float:
        """The same products by a loop whose lanes run along the columns; float32 is summed in float64.

        read_once: both operands lie with k outermost (`X.T @ Y`), so that no column is read for each row
        >>> COSTS.product_loop(1000, 8, 8, 1) < COSTS.product_call(1000, 8, 8, 1)
        True
        """
        if not read_once:  # from the two nearest caches, reading the columns for each row costs nothing more
            again = itemsize * max(self.byte(k * n * itemsize) - self.levels[1][1], 0)
        elif m * n <= SUMS_IN_REGISTERS:  # lanes run along the sums
            return batches * m * n * k * self.multiply_add
        else:
            again = 2 * self.moving(WORD, m * n * WORD)
        return batches * m * k * (self._in_lanes(n, itemsize) + n * again)

    def product_dots(self, m: int, n: int, k: int, batches: int, itemsize: int = WORD) -> float:
        """The same where rows of both operands are multiplied (`X @ Y.T`): lanes run along the sum.

        A sum of a few is written out, and lanes run along an axis whose elements lie apart.
        """
        if k <= LANES // 2:
            return batches * m * n * k * self.apart * self.multiply_add
        return batches * m * n * (self._in_lanes(k, itemsize) + self.joined)

    def _in_lanes(self, count: int, itemsize: int) -> float:
        """So many multiplications and additions side by side, in whole vectors and one with idle lanes."""
        lanes = LANES * WORD // itemsize
        whole, rest = divmod(count, lanes)
        vectors = whole + (0 if not rest else 1 if count <= LANES // 2 else self.masked)
        return vectors * lanes * self.multiply_add * (1 if itemsize == WORD else self.summed_in_float64)


COSTS = Costs()
