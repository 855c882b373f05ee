"""What a call needs to know of an array: whose it is, its type, how it lies, where it is."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest

from tests.runtime.cuda.fakes import CupyArray, Driver, Tensor, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tracejit.errors import ArgumentError
from tracejit.runtime.cuda import arrays
from tracejit.runtime.cuda.arrays import facts_of, family_of_type, layout, stand_in, twin
from tracejit.runtime.executable import layout_of

import tracejit as tj  # isort: skip


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((4, 6))[::k, ::m].transpose(p)
        for k in (1, 2, -1)
        for m in (1, 2, -1)
        for p in ((0, 1), (1, 0))
    ]
    + [np.zeros((0, 3)), np.zeros(()), np.zeros((1, 5))[:, ::2], np.zeros((3, 1, 2))[:, :, ::-1]],
)
def test_layouts_are_those_of_numpy(x: np.ndarray) -> None:
    assert layout(x.shape, x.strides, x.itemsize) == layout_of(x)


def test_arrays_of_the_host_are_of_no_family() -> None:
    for x in (np.zeros(3), np.float32(1), 1.0, 2, True):
        assert family_of_type(type(x)) is None and facts_of(x) is None


def test_types_and_shapes_are_read_without_the_data(fake_device: Driver) -> None:
    x = wrap(np.zeros((2, 3), np.float32))
    assert facts_of(x) == (np.dtype(np.float32), (2, 3)) == facts_of(Tensor(x))
    assert facts_of(Tensor(x, is_cuda=False)) is None


def test_a_stand_in_has_the_type_and_no_memory() -> None:
    x = stand_in(np.dtype(np.float32), (1000, 1000))
    assert (x.dtype, x.shape, x.strides) == (np.float32, (1000, 1000), (0, 0))


def test_a_twin_lies_like_the_array_on_the_device(fake_device: Driver) -> None:
    x = wrap(np.zeros((4, 6)))[:, ::2]
    y = twin(x)
    assert (y.ctypes.data, y.shape, y.strides) == (x.data.ptr, x.shape, x.strides)


class Foreign:
    """An array of another library, which shows the interface alone."""

    def __init__(self, array: CupyArray) -> None:
        self.__cuda_array_interface__ = array.__cuda_array_interface__
        self.array, self.dtype, self.shape = array, array.dtype, array.shape


Foreign.__cuda_array_interface__ = {}  # type: ignore[attr-defined]


def test_other_arrays_with_the_interface_give_cupys(fake_device: Driver) -> None:
    found = tj.jit(lambda x, y: x + y, target="cuda")(Foreign(wrap(np.ones(3))), wrap(np.ones(3)))
    assert type(found) is CupyArray and found.host.tolist() == [2.0, 2.0, 2.0]


class JaxArray:
    """JAX's: DLPack alone, and nobody writes to one."""

    def __init__(self, array: CupyArray, platform: str = "gpu") -> None:
        self.array, self.dtype, self.shape = array, array.dtype, array.shape
        self.platform = platform

    def devices(self):
        return [types.SimpleNamespace(platform=self.platform)]

    def as_cupy(self) -> CupyArray:
        return self.array


JaxArray.__module__ = "jaxlib._jax"


def test_arrays_of_jax_come_back_as_arrays_of_jax(fake_device: Driver, monkeypatch) -> None:
    module = types.SimpleNamespace(from_dlpack=JaxArray)
    monkeypatch.setitem(sys.modules, "jax.dlpack", module)
    f = tj.jit(lambda x: x * 2, target="cuda")
    found = f(JaxArray(wrap(np.ones(3))))
    assert type(found) is JaxArray and found.array.host.tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(ArgumentError, match="out is read-only"):
        f(JaxArray(wrap(np.ones(3))), out=JaxArray(wrap(np.zeros(3))))


class NumbaArray(Foreign):
    pass


NumbaArray.__module__ = "numba.cuda.cudadrv.devicearray"


def test_arrays_of_numba_come_back_as_arrays_of_numba(fake_device: Driver, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "numba.cuda", types.SimpleNamespace(as_cuda_array=NumbaArray))
    place = wrap(np.zeros(3))
    f = tj.jit(lambda x: x * 2, target="cuda")
    found = f(NumbaArray(wrap(np.ones(3))))
    assert type(found) is NumbaArray and found.array.host.tolist() == [2.0, 2.0, 2.0]
    given = NumbaArray(place)
    assert f(NumbaArray(wrap(np.ones(3))), out=given) is given
    assert place.host.tolist() == [2.0, 2.0, 2.0]


def test_without_cupy_the_error_says_what_needs_it(fake_device: Driver, monkeypatch) -> None:
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(arrays, "import_module", missing)
    with pytest.raises(tj.UnsupportedError) as caught:
        tj.jit(lambda x: x * 2, target="cuda")(np.ones(3))
    assert str(caught.value) == (
        "target=\"cuda\": arrays need CuPy, which cannot be imported (No module named 'cupy')\n"
        '  hint: pip install "tracejit[cuda13]" (CUDA 13) or "tracejit[cuda12]" (CUDA 12)'
    )


def test_without_cublas_the_error_says_what_needs_it(fake_device: Driver, monkeypatch) -> None:
    def missing(name: str):
        if name == "cupyx.scipy.linalg":
            raise ImportError('Failure finding "libcublasLt.so.13"\nand more')
        return importlib.import_module(name)

    monkeypatch.setattr(arrays, "import_module", missing)
    with pytest.raises(tj.UnsupportedError) as caught:
        tj.jit(lambda a: np.linalg.inv(a), target="cuda")(wrap(np.eye(3)))
    assert str(caught.value) == (
        'target="cuda": matrix products, factorisations and sorts need libraries that CuPy cannot load '
        '(Failure finding "libcublasLt.so.13")\n'
        '  hint: pip install "tracejit[cuda13]" (CUDA 13) or "tracejit[cuda12]" (CUDA 12)'
    )
