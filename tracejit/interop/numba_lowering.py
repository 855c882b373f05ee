"""The code of a call inside a user's compiled function: a record is found by sizes, and run on fresh results.

Enters: a call as `numba_types` typed it. Leaves: LLVM instructions in the user's function. Importing this
module registers it with Numba.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.core.extending import lower_builtin, unbox
from numba.core.imputils import lower_constant, lower_getattr_generic
from numba.core.pythonapi import NativeValue
from numba.np import numpy_support
from numba.np.arrayobj import _empty_nd_impl

from tracejit.codegen.loops import CONTIGUOUS, SCATTERED
from tracejit.interop import callbacks, native_text
from tracejit.interop import records as at
from tracejit.interop.numba_types import CALL_KEY, CallType, TransformedType, members
from tracejit.interop.signature import ArrayLeaf, Node, Output, Spec, Static

BIT = ir.IntType(1)
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

    def __init__(self, kind: Any, data: Any, shape: Sequence[Any], strides: Sequence[Any]) -> None:
        self.kind = kind
        self.itemsize = np.dtype(kind.dtype).itemsize
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
        self.owned: list[Callable[[], None]] = []  # give back what an error would leave behind
        library = _shared_library(context.codegen())
        context.active_code_library.add_linking_library(library)
        # The code lives as long as its library, and what it calls must live as long.
        kept = context.active_code_library.__dict__.setdefault("_tracejit_calls", [])
        kept.append((call.function_type.function, call.reference))

    def emit(self, args: Sequence[Any]) -> Any:
        types_of_args = self.sig.args[1:]
        specs = self.call.spec.arguments
        leaves = [
            leaf
            for spec, t, value in zip(specs, types_of_args, args)
            for leaf in self.flatten(spec, t, value)
        ]
        outs = self.given(types_of_args[-1], args[-1]) if self.call.given else {}
        record = self.find(leaves)
        buffers = self.allocate(record, outs)
        copies = self.separate(record, leaves, buffers, outs)
        places = {k: self.builder.load(place, typ=POINTER) for k, place in copies.items()}
        self.run(record, leaves, [places.get(k, data) for k, (data, _) in enumerate(buffers)])
        self.copy_back(buffers, copies)
        values = [self.load(output, *buffer) for output, buffer in zip(self.outputs, buffers)]
        for k, (numba_type, _) in outs.items():
            self.context.nrt.incref(self.builder, numba_type, values[k])
        return self.build(self.sig.return_type, self.call.result.tree, values)

    # --- arguments ------------------------------------------------------------------------------------------

    def flatten(self, spec: Spec, numba_type: Any, value: Any) -> list[_Leaf]:
        """The arrays and numbers in an argument."""
        if isinstance(spec, Static):
            return []
        if isinstance(spec, Node):
            items = cgutils.unpack_tuple(self.builder, value, len(spec.children))
            inner = zip(spec.children, members(numba_type), items)
            return [leaf for triple in inner for leaf in self.flatten(*triple)]
        if isinstance(spec, ArrayLeaf):
            array = self.context.make_array(numba_type)(self.context, self.builder, value)
            shape = cgutils.unpack_tuple(self.builder, array.shape, spec.ndim)
            strides = cgutils.unpack_tuple(self.builder, array.strides, spec.ndim)
            return [_Leaf(spec, array.data, shape, strides)]
        model = self.context.data_model_manager[numba_type]
        data = cgutils.alloca_once(self.builder, model.get_data_type())
        self.builder.store(model.as_data(self.builder, value), data)
        return [_Leaf(spec, data, (), ())]

    def given(self, numba_type: Any, value: Any) -> dict[int, tuple[Any, Any]]:
        """The arrays in `out` with their types, by output."""
        found: list[tuple[Any, Any]] = []

        def collect(t: Any, v: Any) -> None:
            if isinstance(t, types.BaseTuple):
                for child, item in zip(members(t), cgutils.unpack_tuple(self.builder, v, len(t))):
                    collect(child, item)
            elif isinstance(t, types.Array):
                found.append((t, self.context.make_array(t)(self.context, self.builder, v)))

        collect(numba_type, value)
        return dict(zip(self.call.given, found))

    def layout_of(self, leaf: _Leaf) -> Any:
        """What `runtime.executable.layout_of` says of an array."""
        builder = self.builder
        itemsize = expected = self.integer(leaf.itemsize)
        fits: Any = ir.Constant(BIT, 1)
        is_empty: Any = ir.Constant(BIT, 0)
        for size, stride in reversed(list(zip(leaf.shape, leaf.strides))):
            is_single = builder.icmp_signed("==", size, self.integer(1))
            fits = builder.and_(fits, builder.or_(is_single, builder.icmp_signed("==", stride, expected)))
            is_empty = builder.or_(is_empty, builder.icmp_signed("==", size, self.integer(0)))
            expected = builder.mul(expected, size)
        layout: Any = self.integer(SCATTERED)
        for axis, (size, stride) in enumerate(zip(leaf.shape, leaf.strides)):
            is_long = builder.icmp_signed(">", size, self.integer(1))
            is_dense = builder.and_(is_long, builder.icmp_signed("==", stride, itemsize))
            layout = builder.select(is_dense, self.integer(axis), layout)
        return builder.select(builder.or_(fits, is_empty), self.integer(CONTIGUOUS), layout)

    def misaligned(self, arrays: Sequence[_Leaf]) -> Any:
        """Zero where all addresses and strides are whole numbers of elements; Numba's types do not say so."""
        builder = self.builder
        bits: Any = self.integer(0)
        for leaf in arrays:
            steps = () if leaf.kind.is_contiguous else leaf.strides
            for word in (builder.ptrtoint(leaf.data, I64), *steps):
                bits = builder.or_(bits, builder.and_(word, self.integer(leaf.itemsize - 1)))
        return bits

    # --- finding --------------------------------------------------------------------------------------------

    def find(self, leaves: Sequence[_Leaf]) -> Any:
        """The record for these sizes: from the chain, or from Python."""
        builder = self.builder
        words = [n for leaf in leaves for n in leaf.shape]
        arrays = [leaf for leaf in leaves if isinstance(leaf.kind, ArrayLeaf)]
        words += [self.layout_of(leaf) for leaf in arrays if not leaf.kind.is_contiguous]
        words.append(self.misaligned(arrays))
        key = self.table(words)
        cell: Any = cgutils.add_global_variable(builder.module, POINTER, "tracejit.cell")
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

    def allocate(self, record: Any, outs: Mapping[int, tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Room for every output: the address of its data, and the array if it is one."""
        shapes = self.builder.inttoptr(self.word(record, at.SHAPES), POINTER)
        buffers: list[tuple[Any, Any]] = []
        start = 0
        for k, output in enumerate(self.outputs):
            dtype = numpy_support.from_dtype(np.dtype(output.dtype))
            sizes = [self.word(shapes, start + axis) for axis in range(output.ndim)]
            start += output.ndim
            if k in outs:
                array = outs[k][1]
                self.check_shape(record, k, array, sizes)
            elif output.is_scalar:
                data = cgutils.alloca_once(self.builder, self.context.get_data_type(dtype))
                buffers.append((data, None))
                continue
            else:
                kind = types.Array(dtype, output.ndim, "C")
                array = _empty_nd_impl(self.context, self.builder, kind, sizes)
                self.owned.append(partial(self.release, kind, array))
            buffers.append((array.data, array))
        return buffers

    def check_shape(self, record: Any, number: int, array: Any, sizes: Sequence[Any]) -> None:
        """Raise where an array of the caller has not the sizes of the output."""
        builder = self.builder
        differs: Any = ir.Constant(BIT, 0)
        shape = cgutils.unpack_tuple(builder, array.shape, len(sizes))
        for size, wanted in zip(shape, sizes):
            differs = builder.or_(differs, builder.icmp_signed("!=", size, wanted))
        with builder.if_then(differs, likely=False):
            table = builder.ptrtoint(self.table(shape), I64)
            self.ask("raise_shape_error", (builder.ptrtoint(record, I64), self.integer(number), table))

    def extent(self, kind: Any, data: Any, shape: Sequence[Any], strides: Sequence[Any]) -> list[Any]:
        """Where the elements of an array start and end."""
        builder = self.builder
        zero = self.integer(0)
        low = high = builder.ptrtoint(data, I64)
        itemsize = self.integer(np.dtype(kind.dtype).itemsize)
        is_empty: Any = ir.Constant(BIT, 0)
        if kind.is_contiguous:
            size: Any = itemsize
            for n in shape:
                size = builder.mul(size, n)
            return [low, builder.add(high, size)]
        for n, stride in zip(shape, strides):
            reach = builder.mul(builder.sub(n, self.integer(1)), stride)
            is_reversed = builder.icmp_signed("<", stride, zero)
            low = builder.add(low, builder.select(is_reversed, reach, zero))
            high = builder.add(high, builder.select(is_reversed, zero, reach))
            is_empty = builder.or_(is_empty, builder.icmp_signed("==", n, zero))
        return [low, builder.select(is_empty, low, builder.add(high, itemsize))]

    def separate(
        self,
        record: Any,
        leaves: Sequence[_Leaf],
        buffers: Sequence[tuple[Any, Any]],
        outs: Mapping[int, tuple[Any, Any]],
    ) -> dict[int, Any]:
        """Where to write what goes to arrays of the caller: apart, where these share memory with an input."""
        builder = self.builder
        arrays = [leaf for leaf in leaves if isinstance(leaf.kind, ArrayLeaf)]
        ranges = [x for a in arrays for x in self.extent(a.kind, a.data, a.shape, a.strides)] if outs else []
        copies: dict[int, Any] = {}
        for k, (numba_type, array) in outs.items():
            kind = ArrayLeaf(self.outputs[k].dtype, numba_type.ndim)
            shape = cgutils.unpack_tuple(builder, array.shape, numba_type.ndim)
            low, high = self.extent(kind, array.data, shape, ())
            args = (record, low, high, self.table(ranges), self.integer(len(arrays)))
            meets = self.shared(native_text.OVERLAPS, BIT, args)
            place = cgutils.alloca_once(builder, POINTER)
            builder.store(array.data, place)
            with builder.if_then(meets, likely=False):
                fresh = self.shared(native_text.ALLOCATE, POINTER, (builder.sub(high, low),))
                with builder.if_then(cgutils.is_null(builder, fresh), likely=False):
                    self.fail(record, self.integer(native_text.OUT_OF_MEMORY))
                builder.store(fresh, place)
            self.owned.append(partial(self.free_copy, place, array.data))
            self.check_apart(record, low, high, ranges[2 * len(arrays) :])
            ranges += [low, high]
            copies[k] = place
        return copies

    def check_apart(self, record: Any, low: Any, high: Any, others: Sequence[Any]) -> None:
        """Raise where an array in `out` shares memory with those before it."""
        builder = self.builder
        for other_low, other_high in zip(others[::2], others[1::2]):
            starts = builder.icmp_unsigned("<", low, other_high)
            ends = builder.icmp_unsigned("<", other_low, high)
            with builder.if_then(builder.and_(starts, ends), likely=False):
                self.fail(record, self.integer(native_text.OUT_OVERLAPS_OUT))

    def copy_back(self, buffers: Sequence[tuple[Any, Any]], copies: Mapping[int, Any]) -> None:
        """Copy what was computed apart to where the caller wants it."""
        builder = self.builder
        for k, place in copies.items():
            target, array = buffers[k]
            data = builder.load(place, typ=POINTER)
            with builder.if_then(self.differ(data, target), likely=False):
                itemsize = self.integer(np.dtype(self.outputs[k].dtype).itemsize)
                cgutils.raw_memcpy(builder, target, data, builder.mul(array.nitems, itemsize), 1)
            self.free_copy(place, target)

    def free_copy(self, place: Any, target: Any) -> None:
        """Free the memory that `place` points to, unless it is the caller's."""
        data = self.builder.load(place, typ=POINTER)
        with self.builder.if_then(self.differ(data, target), likely=False):
            self.shared(native_text.FREE, ir.VoidType(), (data,))

    def release(self, numba_type: Any, array: Any) -> None:
        self.context.nrt.decref(self.builder, numba_type, array._getvalue())

    def fail(self, record: Any, status: Any) -> None:
        """Return from the user's function with the error that a status means."""
        self.ask("raise_error", (self.builder.ptrtoint(record, I64), status))

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
                    self.fail(record, status)
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
        shift = self.integer(leaf.itemsize.bit_length() - 1)
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
                fixed = (self.call.spec, self.call.result)
                objects = [self.reference(pyapi)]
                objects += [pyapi.unserialize(pyapi.serialize_object(x)) for x in fixed]
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
            for give_back in self.owned:
                give_back()
            context.call_conv.return_exc(builder)
        return builder.load(answer, typ=I64)

    def reference(self, pyapi: Any) -> Any:
        """The reference to the function, as a Python object."""
        reference = self.call.reference
        if reference.path is not None:
            return pyapi.unserialize(pyapi.serialize_object(reference))
        # No other process can find the function: code with an address in it is not kept on disk by Numba.
        address = self.context.add_dynamic_addr(self.builder, id(reference), info=reference.name)
        pyapi.incref(address)
        return address

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

    def differ(self, a: Any, b: Any) -> Any:
        """Are two addresses different?"""
        builder = self.builder
        return builder.icmp_unsigned("!=", builder.ptrtoint(a, I64), builder.ptrtoint(b, I64))

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


@lower_getattr_generic(TransformedType)
def _lower_variant(context: Any, builder: Any, numba_type: Any, value: Any, attr: str) -> Any:
    return context.get_dummy_value()


@unbox(TransformedType)
def _unbox(numba_type: Any, obj: Any, c: Any) -> Any:
    return NativeValue(c.context.get_dummy_value())
