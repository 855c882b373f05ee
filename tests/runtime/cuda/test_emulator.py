"""The emulator runs kernels as a device would, and reports what a device would do wrong in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracejit.codegen.cuda.launches import Launch
from tracejit.codegen.loops import Buffer
from tracejit.codegen.scalar_library import SCALAR_FUNCTIONS
from tracejit.errors import InternalError
from tracejit.runtime.cuda.emulator import LIBDEVICE, run_launch


def launch(body: str, blocks: int = 1, threads: int = 64) -> Launch:
    """A kernel of two arrays of float64, `x` to read and `y` to write, and a ticket."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    text = f"def kernel(x, y, ticket):\n    thread = cuda.threadIdx.x\n    block = cuda.blockIdx.x\n{lines}\n"
    slots = [("array", Buffer(None, (0,), np.dtype("f8"), name)) for name in "xy"]
    types = ("*float64", "*float64", "int32[]")
    return Launch("kernel", text, types, (*slots, ("ticket",)), blocks, threads, ())


def run(body: str, blocks: int = 1, size: int = 256, order: Any = None) -> np.ndarray[Any, Any]:
    x, y = np.arange(float(size)), np.zeros(size)
    run_launch(launch(body, blocks), [x, y, np.zeros(1, np.int32)], order)
    return y


def test_threads_and_blocks_have_their_numbers() -> None:
    y = run("y[block * 64 + thread] = x[thread] + np.float64(100.0) * block", blocks=2)
    np.testing.assert_array_equal(y[:128], [t + 100 * b for b in range(2) for t in range(64)])


def test_shuffles_exchange_values_within_a_warp() -> None:
    y = run("y[thread] = cuda.shfl_xor_sync(0xffffffff, x[thread], 16)")
    np.testing.assert_array_equal(y[:64], [t ^ 16 for t in range(64)])


@pytest.mark.parametrize("members", ["0xffff", "0xfffffffe"])
def test_a_shuffle_whose_mask_leaves_threads_out_is_reported(members: str) -> None:
    with pytest.raises(InternalError, match="the shuffle in line 4 names not all threads of a warp"):
        run(f"y[thread] = cuda.shfl_xor_sync({members}, x[thread], 16)")


def test_a_shuffle_that_some_threads_miss_is_reported() -> None:
    with pytest.raises(InternalError, match="some threads of warp 1 do not reach the barrier in line 5"):
        run("if thread < 40:\n    y[thread] = cuda.shfl_xor_sync(0xffffffff, x[thread], 1)")


def test_threads_go_their_own_ways() -> None:
    body = """
total = np.float64(0.0)
k = thread
while k > 0:
    if k % 3 == 0:
        total = total + x[k]
    elif k == 7:
        break
    else:
        total = total + np.float64(0.5)
    k -= 1
for j in range(thread % 4):
    if thread == 9:
        return
    total = total + (x[thread + j * 100] if thread + j * 100 < 256 else np.float64(-1.0))
y[thread] = total if thread < 50 and x[thread] != 3.0 else np.float64(-2.0)
"""
    np.testing.assert_array_equal(run(body)[:64], [_alone(t) for t in range(64)])


def _alone(thread: int) -> float:
    total, k = 0.0, thread
    while k > 0:
        if k % 3 == 0:
            total += k
        elif k == 7:
            break
        else:
            total += 0.5
        k -= 1
    for j in range(thread % 4):
        if thread == 9:
            return 0.0
        total += thread + j * 100 if thread + j * 100 < 256 else -1.0
    return total if thread < 50 and thread != 3 else -2.0


def test_threads_that_leave_early_miss_the_next_barrier() -> None:
    with pytest.raises(InternalError, match="some threads of warp 0 do not reach the barrier in line 6"):
        run("if thread == 3:\n    return\ncuda.syncthreads()")


def test_what_the_emulator_does_not_know_is_an_error() -> None:
    with pytest.raises(InternalError, match="the emulator knows no Delete: del thread"):
        run("del thread")


@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_fma_of_all_threads_rounds_as_that_of_one(dtype: str, rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 2000)) * rng.choice([1, 1e-3, 1e10, 1e-30, 1e30], size=(2, 2000))
    c = -a * b * (1 + rng.choice([0, 1e-16, 1e-8, 3e-4, 1, 1e8], size=2000))
    edges = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1 + 2**-52, 5e-324, 1e-310, 1.7e308])
    with np.errstate(all="ignore"):
        x = np.concatenate([[a, b, c], np.array(np.meshgrid(edges, edges, edges)).reshape(3, -1)], 1)
        x = x.astype(dtype)
        expected = np.array([SCALAR_FUNCTIONS["fma"].evaluate(*numbers) for numbers in x.T])
        found = LIBDEVICE.fma(*x)
    np.testing.assert_array_equal(found, expected, strict=True)
    is_number = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found)[is_number], np.signbit(expected)[is_number])


def test_a_barrier_orders_what_the_threads_of_a_block_do() -> None:
    body = """
s = cuda.shared.array(64, np.float64)
s[thread] = x[thread]
cuda.syncthreads()
y[thread] = s[63 - thread]
"""
    np.testing.assert_array_equal(run(body)[:64], np.arange(63.0, -1, -1))


def test_a_barrier_that_some_threads_of_a_warp_miss_is_reported() -> None:
    with pytest.raises(InternalError, match="some threads of warp 0 do not reach the barrier in line 5"):
        run("if thread < 10:\n    cuda.syncthreads()")


def test_a_barrier_that_some_warps_miss_is_reported() -> None:
    with pytest.raises(InternalError, match="some warps do not reach the barrier in line 5"):
        run("if thread < 32:\n    cuda.syncthreads()")


def test_warps_at_different_barriers_are_reported() -> None:
    with pytest.raises(InternalError, match="some warps do not reach the barrier"):
        run("if thread < 32:\n    cuda.syncthreads()\nelse:\n    cuda.syncthreads()")


@pytest.mark.parametrize("index", ["-1", "256", "thread - 1"])
@pytest.mark.parametrize("array", ["x", "y"])
def test_an_index_outside_of_an_array_is_reported(index: str, array: str) -> None:
    with pytest.raises(InternalError, match=rf"{array}\[-?\d+\] is outside of the array"):
        run(f"t = {array}[{index}]\ny[thread] = t")


HALF = """
s = cuda.shared.array(64, np.float64)
if {}:
    s[thread] = x[thread]
y[block * 64 + thread] = s[thread]
"""


def test_shared_memory_that_nobody_wrote_is_reported() -> None:
    with pytest.raises(InternalError, match=r"s\[32\] of shared memory was never written"):
        run(HALF.format("thread < 32"))


def test_shared_memory_of_one_block_is_not_that_of_the_next() -> None:
    with pytest.raises(InternalError, match="never written"):
        run(HALF.format("block == 1"), 2)


def test_a_read_of_what_another_thread_wrote_needs_a_barrier() -> None:
    body = "s = cuda.shared.array(64, np.float64)\ns[thread] = x[thread]\ny[thread] = s[0]"
    with pytest.raises(
        InternalError, match=r"thread 1 of block 0 reads s\[0\], which thread 0 of block 0 wrote"
    ):
        run(body)


def test_a_write_over_what_another_thread_read_needs_a_barrier() -> None:
    with pytest.raises(InternalError, match=r"writes y\[\d+\], which thread \d+ of block 0 read"):
        run("t = y[thread + 1]\ny[thread] = t")


def test_a_write_over_what_several_threads_read_needs_a_barrier() -> None:
    with pytest.raises(InternalError, match=r"writes y\[0\], which several threads of block 0 read"):
        run("t = y[0]\nif thread == 63:\n    y[0] = t")


def test_two_threads_that_write_to_one_address_are_reported() -> None:
    with pytest.raises(InternalError, match=r"writes y\[0\], which thread 0 of block 0 wrote"):
        run("y[0] = x[thread]")


def test_the_barrier_of_a_warp_orders_no_other_warps() -> None:
    body = "y[thread] = x[thread]\ncuda.syncwarp()\nt = y[{}]"
    run(body.format("thread ^ 1"))
    with pytest.raises(InternalError, match="with nothing in between"):
        run(body.format("63 - thread"))


def test_a_read_of_what_another_block_wrote_is_reported_in_either_order() -> None:
    body = "if block == 0:\n    y[thread] = x[thread]\nelse:\n    y[64 + thread] = y[thread]"
    for order in ([0, 1], [1, 0]):
        with pytest.raises(InternalError, match=r"which thread 0 of block \d (wrote|read)"):
            run(body, 2, order=order)


TICKET = """
number = cuda.shared.array(1, np.int32)
if thread == 0:
    y[block] = x[block]
cuda.threadfence()
cuda.syncthreads()
if thread == 0:
    number[0] = cuda.atomic.add(ticket, 0, np.int32(1))
cuda.syncthreads()
if number[0] == cuda.gridDim.x - 1:
    cuda.threadfence()
    if thread == 0:
        total = np.float64(0.0)
        for k in range(cuda.gridDim.x):
            total = total + y[k]
        y[100] = total
        ticket[0] = np.int32(0)
"""


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_block_with_the_last_ticket_sees_what_all_others_wrote(order: list[int]) -> None:
    assert run(TICKET, 3, order=order)[100] == 3.0


def test_a_ticket_without_a_fence_before_it_is_reported() -> None:
    with pytest.raises(InternalError, match="before all threads of its block have fenced and met"):
        run(TICKET.replace("cuda.threadfence()\ncuda.syncthreads()", "cuda.syncthreads()"), 3)


def test_a_ticket_without_a_barrier_before_it_is_reported() -> None:
    with pytest.raises(InternalError, match="before all threads of its block have fenced and met"):
        run(TICKET.replace("cuda.threadfence()\ncuda.syncthreads()", "cuda.threadfence()"), 3)


def test_a_ticket_without_a_fence_after_it_is_reported() -> None:
    with pytest.raises(InternalError, match=r"reads y\[\d\], which thread 0 of block \d wrote"):
        run(TICKET.replace("    cuda.threadfence()\n", ""), 3)


def test_a_block_that_does_not_wait_for_the_others_is_reported() -> None:
    with pytest.raises(InternalError, match=r"reads y\[\d\], which|writes y\[\d\], which"):
        run(TICKET.replace("number[0] == cuda.gridDim.x - 1", "number[0] == 1"), 3)


def test_what_a_block_writes_after_its_ticket_is_seen_by_nobody() -> None:
    late = TICKET.replace("if number[0]", "if thread == 0:\n    y[block] = x[block]\nif number[0]")
    with pytest.raises(InternalError, match=r"reads y\[\d\], which thread 0 of block \d wrote"):
        run(late, 3)


def test_arrays_with_strides_lie_behind_the_address_of_their_first_element() -> None:
    x, y = np.arange(64.0)[::-1], np.zeros(64)
    run_launch(launch("y[thread] = x[-thread]"), [x, y, np.zeros(1, np.int32)])
    np.testing.assert_array_equal(y, x)


def test_numbers_keep_their_type() -> None:
    y = run("y[thread] = np.float32(x[thread]) / np.float32(3)")
    np.testing.assert_array_equal(y[:64], np.arange(64, dtype="f4") / np.float32(3))
