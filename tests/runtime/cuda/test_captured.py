"""Arrays that a function uses besides its arguments, on a device: never stale, and never copied unseen."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.fakes import CupyArray, Driver, Tensor, on_device, on_stream, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tests.runtime.cuda.test_arrays import Foreign, JaxArray
from tracejit.errors import ArgumentError, DTypeError, UnsupportedError
from tracejit.runtime.cuda import arrays, device

X = np.array([1.0, 2.0, 3.0])
KINDS: dict[str, Callable[[Any], Any]] = {"CuPy": wrap, "torch": lambda x: Tensor(wrap(x))}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def host(x: Any) -> Any:
    return x if isinstance(x, np.ndarray) else getattr(x, "array", x).host


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(host(found), expected, rtol=1e-13, atol=1e-15)


def traces() -> int:
    return tj.cache_info().traces


@pytest.fixture
def uploads(fake_device: Driver, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each copy from the host to the device."""
    found: list[int] = []
    upload = arrays.CupyMemory.upload
    monkeypatch.setattr(
        arrays.CupyMemory, "upload", lambda self, x, n: found.append(x.nbytes) or upload(self, x, n)
    )
    return found


# --- arrays on a device -------------------------------------------------------------------------------------

USES: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "on the right": lambda c: lambda x: x * c,
    "on the left": lambda c: lambda x: c - x,
    "in a function": lambda c: lambda x: np.where(x > 0, x, c),
    "first in a function": lambda c: lambda x: np.where(c > x, x, c),
    "in a matrix product": lambda c: lambda x: c @ x,
    "in a list": lambda c: lambda x: np.stack([c, x]),
    "as the result": lambda c: lambda x: (c, x * 2),
    "as an index": lambda c: lambda x: x[INDEX[type(c)]],
    "in an inner gradient": lambda c: lambda x: tj.grad(lambda y: (y * c).sum())(x),
    "as an argument of an inner function": lambda c: lambda x: tj.grad(lambda y, z: (y * z).sum())(x, c),
    "in a scan": lambda c: lambda x: tj.scan(lambda s, _: (s * c, None), x, length=3)[0],
    "first of a scan": lambda c: lambda x: tj.scan(lambda s, _: (s * x, None), c, length=3)[0],
}
INDEX: dict[type, Any] = {}


@pytest.mark.parametrize("name", USES)
@each_kind
def test_it_is_read_where_it_lies(fake_device: Driver, kind: Callable[..., Any], name: str) -> None:
    c = np.array([0.5, -1.0, 2.5])
    there = kind(c)
    INDEX[type(there)], INDEX[np.ndarray] = kind(np.array([2, 0, 1])), np.array([2, 0, 1])
    f, expected = tj.jit(USES[name](there), target="cuda"), tj.jit(USES[name](c))(X)
    for _ in range(3):
        found = f(kind(X))
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        for x, y in pairs:
            assert type(x) is type(there)
            same(x, y)


@each_kind
def test_changes_of_its_content_are_seen_and_cost_no_trace(
    fake_device: Driver, kind: Callable[..., Any]
) -> None:
    c = kind(X.copy())
    f = tj.grad_jit(lambda x: (x * c * c[::-1]).sum(), target="cuda")
    same(f(kind(X))[1], X * X[::-1])
    before = traces()
    for k in range(3):
        host(c)[:] = np.arange(3) + k
        same(f(kind(X))[1], host(c) * host(c)[::-1])
    assert traces() == before


def test_attributes_and_items_are_followed_as_names_are(fake_device: Driver) -> None:
    class Model:
        def __init__(self) -> None:
            self.w = wrap(X)
            self.parts = {"b": [wrap(X + 1)]}

        @tj.grad_jit(target="cuda")
        def loss(self, x: Any) -> Any:
            return (x * self.w * self.parts["b"][0]).sum()

    model = Model()
    same(model.loss(wrap(X))[1], X * (X + 1))
    before = traces()
    model.w = wrap(X * 2)
    same(model.loss(wrap(X))[1], X * 2 * (X + 1))
    model.parts["b"][0] = wrap(X[::-1])[::-1]
    for _ in range(2):
        same(model.loss(wrap(X))[1], X * 2 * X)
    assert traces() == before
    model.w = X
    same(model.loss(wrap(X))[1], X * X)
    assert traces() == before + 1


def test_one_array_under_two_names_stays_one(fake_device: Driver) -> None:
    c = wrap(X)
    d = c
    f = tj.jit(lambda x: x * c + d, target="cuda")
    same(f(wrap(X)), X * X + X)
    c = wrap(X + 1)
    same(f(wrap(X)), X * (X + 1) + X)
    d = wrap(X + 2)
    same(f(wrap(X)), X * (X + 1) + X + 2)


def test_what_a_tensor_shows_may_be_another_memory(fake_device: Driver) -> None:
    c = Tensor(wrap(X))
    f = tj.jit(lambda x: x * c, target="cuda")
    for k in range(4):
        same(f(Tensor(wrap(X))), X * host(c))
        c.array = wrap(np.arange(12.0) + k)[:: k + 1][:3]  # as `c.data = ...` does


def test_its_name_may_be_bound_to_another_of_any_strides_and_device(fake_device: Driver) -> None:
    c = wrap(X)
    f = tj.jit(lambda x: x * c, target="cuda")
    for _ in range(3):
        same(f(wrap(X)), X * X)
    before = traces()
    for step in (2, -1, 1, 3):
        c = wrap(np.arange(1.0, 10.0))[::step][:3]
        for _ in range(2):
            same(f(wrap(X)), X * c.host)
    with on_device(1):
        c, there = wrap(X + 1), wrap(X)
    for _ in range(2):
        same(f(there), X * (X + 1))
    assert traces() == before
    with pytest.raises(ArgumentError, match="arrays on device 0 and on device 1 in one call"):
        f(wrap(X))
    c = wrap(X.astype("f4"))
    same(f(wrap(X)), X * X)
    c = 2.0
    same(f(wrap(X)), X * 2)
    assert traces() == before + 2


def test_results_are_of_its_kind_where_arguments_are_numpys(fake_device: Driver) -> None:
    c = wrap(X)
    f = tj.jit(lambda x: x * c, target="cuda")
    for _ in range(3):
        found = f(X)
        assert type(found) is CupyArray
        same(found, X * X)


def test_it_is_of_the_library_of_the_arguments(fake_device: Driver) -> None:
    c = wrap(X)
    with pytest.raises(ArgumentError, match="arrays of torch and of CuPy in one call"):
        tj.jit(lambda x: x * c, target="cuda")(Tensor(wrap(X)))


def test_arrays_of_other_libraries_are_read_too(fake_device: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax.dlpack", types.SimpleNamespace(from_dlpack=JaxArray))
    JaxArray.__dlpack__ = None  # type: ignore[attr-defined]
    c, d = JaxArray(wrap(X)), Foreign(wrap(X))
    for _ in range(3):
        found = tj.jit(lambda x: x * c, target="cuda")(JaxArray(wrap(X)))
        assert type(found) is JaxArray
        same(found.array, X * X)
        same(tj.jit(lambda x: x + d, target="cuda")(wrap(X)), X + X)


def test_a_number_read_from_it_is_compared_at_each_call(fake_device: Driver) -> None:
    c, d = wrap(X.copy()), wrap(X.copy())
    uses: dict[str, Callable[[Any], Any]] = {
        "a copy on the host": lambda x: x * c.get().max(),
        "a test": lambda x: x * 2 if c[0] > 1 else x * 3,
        "a list": lambda x: x * c.tolist()[0] + d,
    }
    for name, use in uses.items():
        c.host[:] = X
        f = tj.jit(use, target="cuda")
        f(wrap(X))
        before = traces()
        f(wrap(X))
        assert traces() == before, name
        c.host[0] = 9.0
        same(f(wrap(X)), host(use(wrap(X)) if name != "a copy on the host" else X * 9.0))
        assert traces() == before + 1, name
        c.host[0] = np.nan
        f(wrap(X))
        f(wrap(X))
        assert traces() == before + 2, name


def test_a_tensor_that_a_test_read_is_compared_too(fake_device: Driver) -> None:
    c = Tensor(wrap(X.copy()))
    f = tj.jit(lambda x: x * 2 if c.cpu().numpy()[0] > 1 else x * 3, target="cuda")
    for first, factor in ((1.0, 3.0), (5.0, 2.0), (0.0, 3.0)):
        c.array.host[0] = first
        for _ in range(2):
            same(f(Tensor(wrap(X))), X * factor)


def test_arrays_computed_from_it_are_computed_at_each_call(fake_device: Driver) -> None:
    c = wrap(X.copy())
    f = tj.jit(lambda x: x * (c + 1), target="cuda")
    for k in range(3):
        c.host[:] = k
        same(f(wrap(X)), X * (k + 1))


def test_inspect_names_it_and_copies_nothing(fake_device: Driver) -> None:
    weights = wrap(X)
    found = tj.inspect(tj.jit(lambda x: x * weights, target="cuda"))(wrap(X))
    assert "# v0 = x, v1 = weights" in found.ir
    assert "copied to the device at each call: nothing" in str(found) and "copied once" not in str(found)


# --- what cannot be read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cpu", "cuda-emu"])
def test_other_targets_refuse_it_and_name_the_line(fake_device: Driver, target: str) -> None:
    c = wrap(X)
    for use in (lambda x: x * c, lambda x: c - x, lambda x: np.where(x > 0, x, c), lambda x: c @ x):
        with pytest.raises(ArgumentError) as caught:
            tj.jit(use, target=target)(X)
        assert "is a cupy.CupyArray, which is not a NumPy array\n  in <lambda>" in str(caught.value)
        assert str(caught.value).endswith(
            'hint: convert it to one; with target="cuda" an array on a device is read where it lies'
        )


def test_a_tensor_in_the_hosts_memory_is_refused(fake_device: Driver) -> None:
    tensor = Tensor(wrap(X), is_cuda=False)
    for use in (lambda x: x * tensor, lambda x: tensor * x, lambda x: np.multiply(x, tensor)):
        with pytest.raises(ArgumentError) as caught:
            tj.jit(use, target="cuda")(wrap(X))
        assert "is a torch.Tensor that does not lie on a CUDA device\n  in <lambda>" in str(caught.value)
        assert str(caught.value).endswith(
            "hint: copy it there, as with x.cuda(), or make it an array of NumPy's: np.asarray(x)"
        )


def test_dtypes_that_no_kernel_holds_are_refused_with_the_line(fake_device: Driver) -> None:
    c = wrap(X.astype(complex))
    with pytest.raises(DTypeError, match=r"complex128, which is not supported\n  in <lambda>"):
        tj.jit(lambda x: x * c, target="cuda")(wrap(X))


def test_a_mask_on_a_device_says_nothing_of_sizes(fake_device: Driver) -> None:
    mask = wrap(np.array([True, False, True]))
    with pytest.raises(UnsupportedError, match=r"boolean mask .*\n  in <lambda>"):
        tj.jit(lambda x: x[mask], target="cuda")(wrap(X))


# --- NumPy's ------------------------------------------------------------------------------------------------


def test_arrays_of_numpy_are_copied_once_and_when_they_have_changed(uploads: list[int]) -> None:
    data = np.arange(900.0)
    f = tj.grad_jit(lambda x, a: (x * data * a).sum(), target="cuda")
    x = wrap(np.ones(900))
    f(x, 2.0)
    assert 7200 in uploads
    uploads.clear()
    for a in (2.0, 3.0, 4.0):
        same(f(x, a)[1], data * a)
    assert max(uploads, default=0) < 7200
    uploads.clear()
    data[5] = -1.0
    for _ in range(3):
        same(f(x, 4.0)[1], data * 4.0)
    assert uploads.count(7200) == 1
    uploads.clear()
    data[5] = np.nan
    f(x, 4.0)
    f(x, 4.0)
    assert uploads.count(7200) == 1


def test_an_array_that_nobody_can_write_to_is_not_read_again(uploads: list[int]) -> None:
    data = np.arange(900.0)
    data.flags.writeable = False
    f = tj.jit(lambda x: x * data, target="cuda")
    for _ in range(3):
        same(f(wrap(np.ones(900))), data)
    opened = device._device(None)  # type: ignore[arg-type]
    assert isinstance(opened, device.CudaDevice)
    (copy,) = opened.copies.known.values()
    assert copy.bits is None and uploads == [7200]


def test_functions_share_a_copy_and_each_stream_has_its_own(uploads: list[int]) -> None:
    data = np.arange(900.0)
    for size in (900, 1):
        for stream in (7, 8, 7, 8):
            with on_stream(stream):
                same(tj.jit(lambda x: x * data, target="cuda")(wrap(np.ones(size))), data)
    assert uploads == [7200, 7200]


def test_copies_follow_the_device_of_the_arguments(uploads: list[int]) -> None:
    data = np.arange(900.0)
    f = tj.jit(lambda x, a: x * data * a, target="cuda")
    for number in (0, 1, 0, 1):
        with on_device(number):
            x = wrap(np.ones(900))
        for _ in range(3):
            same(f(x, 2.0), data * 2.0)
    assert uploads.count(7200) == 2


def test_a_copy_goes_with_its_array(uploads: list[int]) -> None:
    opened = device._device(None)  # type: ignore[arg-type]
    assert isinstance(opened, device.CudaDevice)
    data = np.arange(900.0)
    f = tj.jit(lambda x: x * data, target="cuda")
    for k in range(3):
        data = np.arange(900.0) + k
        same(f(wrap(np.ones(900))), data)
        gc.collect()
        assert len(opened.copies.known) == 1
    assert uploads == [7200] * 3


@pytest.mark.parametrize(
    "data",
    [
        np.arange(6.0).reshape(3, 2)[:, 1],
        np.arange(3.0).astype(">f8"),
        np.arange(3)[::-1],
        np.array(3.0),
        np.zeros(0)[:, None] + np.zeros(3),
        np.array([True, False, True]),
    ],
    ids=["strided", "swapped bytes", "reversed integers", "0-d", "empty", "booleans"],
)
def test_arrays_of_any_layout_are_copied(uploads: list[int], data: Any) -> None:
    f = tj.jit(lambda x: x * data, target="cuda")
    for _ in range(3):
        same(f(wrap(X)), X * data)
    assert len(uploads) == 1


def test_inspect_says_what_is_copied_once(fake_device: Driver) -> None:
    scale = np.arange(3.0)
    found = str(tj.inspect(tj.jit(lambda x, y: x * y * scale, target="cuda"))(wrap(X), X))
    assert "copied to the device at each call: y\n" in found
    assert "copied once, and again when they have changed: scale" in found
