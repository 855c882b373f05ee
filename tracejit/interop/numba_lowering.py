"""The code of a call inside a user's compiled function: a record is found by sizes, results are allocated, it runs.

Enters: a call as `numba_types` typed it. Leaves: LLVM instructions in the user's function. Importing this
module registers it with Numba.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.extending import box, lower_builtin, unbox
from numba.core.imputils import lower_constant
from numba.core.pythonapi import NativeValue
from numba.np import numpy_support
from numba.np.arrayobj import _empty_nd_impl

from tracejit.interop import callbacks, native_text
from tracejit.interop import records as at
from tracejit.interop.numba_types import CALL_KEY, CallType, TransformedType
from tracejit.interop.signature import ArrayLeaf, Leaf, Output, ScalarLeaf

I64 = ir.IntType(64)
POINTER = ir.PointerType()
_CALLBACKS = callbacks.__name__


@lower_builtin(CALL_KEY, CallType, types.VarArg(types.Any))
def _lower_call(context: Any, builder: Any, sig: Any, args: Sequence[Any]) -> Any:
    return _Call(context, builder, sig.args[0], sig).emit(args[1:])


@cache
def _shared_library(codegen: Any) -> Any:
    """The two functions of `native_text`, to be linked into callers."""
    library = codegen.create_library("tracejit.interop")
    library.add_llvm_module(binding.parse_assembly(native_text.TEXT))
    library.finalize()
    return library


class _Leaf:
    """An argument in compiled code: where its data is, its sizes and its strides in bytes."""

    def __init__(self, kind: Leaf, data: Any, shape: Sequence[Any], strides: Sequence[Any]) -> None:
        self.kind = kind
        self.data = data
        self.shape = shape
        self.strides = strides


class _Call:
    """Emits one call."""

    def __init__(self, context: Any, builder: Any, call: CallType, sig: Any) -> None:
        self.context = context
        self.builder = builder
        self.call = call
        self.sig = sig
        self.outputs = call.result.outputs
        library = _shared_library(context.codegen())
        context.active_code_library.add_linking_library(library)
        kept = context.active_code_library.__dict__.setdefault("_tracejit_functions", [])
        kept.append(call.function_type.function)
        if call.reference.path is None:
            # Another process could not find it: Numba then refuses to keep the code on disk.
            context.add_dynamic_addr(builder, id(call.function_type.function), info=call.reference.name)

    def emit(self, args: Sequence[Any]) -> Any:
        leaves = [leaf for t, value in zip(self.sig.args[1:], args) for leaf in self.flatten(t, value)]
        record = self.find(leaves)
        buffers = self.allocate(record)
        self.run(record, leaves, [data for data, _ in buffers])
        values = [self.load(output, data, array) for output, (data, array) in zip(self.outputs, buffers)]
        return self.build(self.sig.return_type, self.call.result.tree, values)

    # --- arguments ------------------------------------------------------------------------------------------

    def flatten(self, numba_type: Any, value: Any) -> list[_Leaf]:
        """The arrays and numbers in an argument."""
        if isinstance(numba_type, types.BaseTuple):
            items = cgutils.unpack_tuple(self.builder, value, len(numba_type))
            return [leaf for t, item in zip(numba_type, items) for leaf in self.flatten(t, item)]
        if isinstance(numba_type, types.NoneType):
            return []
        if isinstance(numba_type, types.Array):
            array = self.context.make_array(numba_type)(self.context, self.builder, value)
            shape = cgutils.unpack_tuple(self.builder, array.shape, numba_type.ndim)
            strides = cgutils.unpack_tuple(self.builder, array.strides, numba_type.ndim)
            dtype = str(numpy_support.as_dtype(numba_type.dtype))
            kind = ArrayLeaf(dtype, numba_type.ndim, numba_type.layout == "C")
            return [_Leaf(kind, array.data, shape, strides)]
        model = self.context.data_model_manager[numba_type]
        data = cgutils.alloca_once(self.builder, model.get_data_type())
        self.builder.store(model.as_data(self.builder, value), data)
        return [_Leaf(ScalarLeaf("", True), data, (), ())]

    def layout_of(self, leaf: _Leaf) -> Any:
        """Whether an array is contiguous, where only the running code can know."""
        builder = self.builder
        itemsize = np.dtype(leaf.kind.dtype).itemsize
        expected: Any = self.integer(itemsize)
        fits = ir.Constant(ir.IntType(1), 1)
        is_empty = ir.Constant(ir.IntType(1), 0)
        is_whole = builder.icmp_unsigned(
            "==", builder.and_(builder.ptrtoint(leaf.data, I64), self.integer(itemsize - 1)), self.integer(0)
        )
        for size, stride in reversed(list(zip(leaf.shape, leaf.strides))):
            is_single = builder.icmp_signed("==", size, self.integer(1))
            fits = builder.and_(fits, builder.or_(is_single, builder.icmp_signed("==", stride, expected)))
            is_empty = builder.or_(is_empty, builder.icmp_signed("==", size, self.integer(0)))
            rest = builder.and_(stride, self.integer(itemsize - 1))
            is_whole = builder.and_(is_whole, builder.icmp_signed("==", rest, self.integer(0)))
            expected = builder.mul(expected, size)
        contiguous = builder.or_(fits, is_empty)
        layout = builder.select(contiguous, self.integer(at.CONTIGUOUS), self.integer(at.STRIDED))
        return builder.select(is_whole, layout, self.integer(at.UNALIGNED))

    # --- finding --------------------------------------------------------------------------------------------

    def find(self, leaves: Sequence[_Leaf]) -> Any:
        """The record for these sizes: from the chain, or from Python."""
        builder = self.builder
        words = [n for leaf in leaves for n in leaf.shape]
        for leaf in leaves:
            if isinstance(leaf.kind, ArrayLeaf) and not leaf.kind.is_contiguous:
                words.append(self.layout_of(leaf))
        key = self.table(words)
        cell = cgutils.add_global_variable(builder.module, POINTER, "tracejit.cell")
        cell.linkage = "internal"
        cell.initializer = ir.Constant(POINTER, None)
        count = self.integer(len(words))
        found = self.shared(native_text.FIND, POINTER, (cell, key, count))
        place = cgutils.alloca_once(builder, POINTER)
        builder.store(found, place)
        with builder.if_then(cgutils.is_null(builder, found), likely=False):
            table = self.table([builder.ptrtoint(cell, I64), *self.describe(leaves)])
            addresses = (builder.ptrtoint(table, I64), builder.ptrtoint(key, I64), count)
            answer = self.ask("find_record", addresses, lambda pyapi, it: pyapi.long_as_longlong(it))
            builder.store(builder.inttoptr(answer, POINTER), place)
        return builder.load(place, typ=POINTER)

    def describe(self, leaves: Sequence[_Leaf]) -> list[Any]:
        """Words that tell Python where arguments are, how large and how laid out."""
        return [
            word
            for leaf in leaves
            for word in (self.builder.ptrtoint(leaf.data, I64), *leaf.shape, *leaf.strides)
        ]

    # --- running --------------------------------------------------------------------------------------------

    def allocate(self, record: Any) -> list[tuple[Any, Any]]:
        """Room for every output: the address of its data, and the array if it is one."""
        shapes = self.builder.inttoptr(self.word(record, at.SHAPES), POINTER)
        buffers: list[tuple[Any, Any]] = []
        start = 0
        for output in self.outputs:
            dtype = numpy_support.from_dtype(np.dtype(output.dtype))
            if output.is_scalar:
                data = cgutils.alloca_once(self.builder, self.context.get_data_type(dtype))
                buffers.append((data, None))
                continue
            sizes = [self.word(shapes, start + k) for k in range(output.ndim)]
            array = _empty_nd_impl(self.context, self.builder, types.Array(dtype, output.ndim, "C"), sizes)
            buffers.append((array.data, array))
            start += output.ndim
        return buffers

    def run(self, record: Any, leaves: Sequence[_Leaf], outputs: Sequence[Any]) -> None:
        """Run the program, here or in Python."""
        builder = self.builder
        entry = self.word(record, at.ENTRY)
        is_native = builder.icmp_unsigned("!=", entry, self.integer(0))
        with builder.if_else(is_native, likely=True) as (native, python):
            with native:
                addresses = [builder.ptrtoint(data, I64) for data in (*(x.data for x in leaves), *outputs)]
                data = self.table([*addresses, self.integer(0), self.integer(0)])
                strides = self.table([s for leaf in leaves for s in self.element_strides(leaf)])
                status = self.shared(native_text.RUN, I64, (record, data, strides))
                failed = builder.icmp_unsigned("!=", status, self.integer(0))
                with builder.if_then(failed, likely=False):
                    self.ask("raise_error", (builder.ptrtoint(record, I64), status))
            with python:
                words = [
                    self.integer(0),
                    *self.describe(leaves),
                    *(builder.ptrtoint(x, I64) for x in outputs),
                ]
                table = self.table(words)
                self.ask("run_record", (builder.ptrtoint(record, I64), builder.ptrtoint(table, I64)))

    def element_strides(self, leaf: _Leaf) -> list[Any]:
        """Strides in elements; those of a contiguous array are not read."""
        if not isinstance(leaf.kind, ArrayLeaf) or leaf.kind.is_contiguous:
            return [self.integer(0)] * len(leaf.shape)
        shift = self.integer(np.dtype(leaf.kind.dtype).itemsize.bit_length() - 1)
        return [self.builder.ashr(stride, shift) for stride in leaf.strides]

    def ask(self, name: str, numbers: Sequence[Any], convert: Callable[[Any, Any], Any] | None = None) -> Any:
        """Call a function of `callbacks`; where it raises, the user's function returns with that error."""
        builder, context = self.builder, self.context
        pyapi = context.get_python_api(builder)
        gil = pyapi.gil_ensure()
        module = pyapi.import_module(context.insert_const_string(builder.module, _CALLBACKS))
        target = cgutils.alloca_once(builder, POINTER)
        answer = cgutils.alloca_once(builder, I64)
        builder.store(ir.Constant(POINTER, None), target)
        with builder.if_then(cgutils.is_not_null(builder, module)):
            callee = pyapi.object_getattr_string(module, name)
            with builder.if_then(cgutils.is_not_null(builder, callee)):
                fixed = (self.call.reference, self.call.spec, self.call.result)
                objects = [pyapi.unserialize(pyapi.serialize_object(x)) for x in fixed]
                objects += [pyapi.long_from_longlong(x) for x in numbers]
                builder.store(pyapi.call_function_objargs(callee, objects), target)
                for it in (*objects, callee):
                    pyapi.decref(it)
            pyapi.decref(module)
        returned = builder.load(target, typ=POINTER)
        is_good = cgutils.is_not_null(builder, returned)
        with builder.if_then(is_good, likely=True):
            if convert is not None:
                builder.store(convert(pyapi, returned), answer)
            pyapi.decref(returned)
        pyapi.gil_release(gil)
        with builder.if_then(builder.not_(is_good), likely=False):
            context.call_conv.return_exc(builder)
        return builder.load(answer, typ=I64)

    # --- results --------------------------------------------------------------------------------------------

    def load(self, output: Output, data: Any, array: Any) -> Any:
        if array is not None:
            return array._getvalue()
        dtype = numpy_support.from_dtype(np.dtype(output.dtype))
        return self.context.data_model_manager[dtype].load_from_data_pointer(self.builder, data)

    def build(self, numba_type: Any, tree: Any, values: Sequence[Any]) -> Any:
        """The user's result."""
        if tree is None:
            return self.context.get_dummy_value()
        if isinstance(tree, int):
            return values[tree]
        items = [self.build(t, item, values) for t, item in zip(numba_type, tree[1])]
        return self.context.make_tuple(self.builder, numba_type, items)

    # --- words ----------------------------------------------------------------------------------------------

    def integer(self, value: int) -> Any:
        return ir.Constant(I64, value)

    def table(self, words: Sequence[Any]) -> Any:
        """Memory of the caller that holds these integers."""
        place = cgutils.alloca_once(self.builder, ir.ArrayType(I64, max(len(words), 1)))
        for k, word in enumerate(words):
            self.builder.store(word, self.builder.gep(place, [self.integer(0), self.integer(k)]))
        return place

    def word(self, base: Any, position: int) -> Any:
        address = self.builder.gep(base, [self.integer(position)], source_etype=I64)
        return self.builder.load(address, typ=I64)

    def shared(self, name: str, returns: Any, args: Sequence[Any]) -> Any:
        """Call one of the functions of `native_text`."""
        kinds = [I64 if arg.type == I64 else POINTER for arg in args]
        callee = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(returns, kinds), name)
        return self.builder.call(callee, args)


# --- the functions themselves, as values --------------------------------------------------------------------


@lower_constant(TransformedType)
def _lower_constant(context: Any, builder: Any, numba_type: Any, value: Any) -> Any:
    return context.get_dummy_value()


@unbox(TransformedType)
def _unbox(numba_type: Any, obj: Any, c: Any) -> Any:
    return NativeValue(c.context.get_dummy_value())
