"""A record becomes a C function of numbers: LLVM text around the record's address, and its machine code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracejit.interop import native_text
from tracejit.interop.records import Record
from tracejit.runtime.native import ENTRY, NativeProgram, compile_llvm, load


@dataclass(frozen=True)
class Form:
    """What a C function takes and gives.

    kind: "number" for `double (double)`, "numbers" for `double (int n, double *x)` of n numbers, "array" for
        the same of one array, "filter" for `int (double *x, intptr_t n, double *result, void *user_data)`
    count: how many numbers, or elements of the array
    has_data: whether `void *user_data` follows, which is the function's last argument
    """

    kind: str
    count: int
    has_data: bool = False

    @property
    def parameters(self) -> str:
        data = ", ptr %user_data" if self.has_data and self.kind != "filter" else ""
        return {
            "number": f"double %x{data}",
            "numbers": f"i32 %n, ptr %x{data}",
            "array": f"i32 %n, ptr %x{data}",
            "filter": "ptr %x, i64 %n, ptr %result, ptr %user_data",
        }[self.kind]

    @property
    def addresses(self) -> list[str]:
        """Where the data of each leaf is."""
        found = ["%x.1"] if self.kind == "number" else ["%x"]
        if self.kind == "numbers":
            found = [f"%x.{k}" for k in range(self.count)]
        return [*found, "%user_data"] if self.has_data else found


def compile_c(record: Record, result: str, form: Form) -> NativeProgram:
    """The machine code of a C function that runs the record; its result is "float64" or "float32"."""
    return load(compile_llvm(native_text.TEXT + print_function(record.address, result, form)))


def print_function(record: int, result: str, form: Form) -> str:
    """The text of the C function: NaN, or failure, where the number of arguments or an index is wrong."""
    is_filter = form.kind == "filter"
    returns = "i32" if is_filter else "double"
    failure = "i32 0" if is_filter else "double 0x7FF8000000000000"
    llvm_type = {"float64": "double", "float32": "float"}[result]
    addresses = [*form.addresses, "%answer"]
    lines = [
        f"define {returns} @{ENTRY}({form.parameters}) {{",
        "entry:",
        f"  %answer = alloca {llvm_type}, align 8",
        f"  %data = alloca [{len(addresses) + 2} x ptr], align 8",
        *_arguments(form),
        "good:",
        *_stores(addresses),
        f"  %status = call i64 @{native_text.RUN}(ptr inttoptr (i64 {record} to ptr), ptr %data, ptr null)",
        "  %failed = icmp ne i64 %status, 0",
        "  br i1 %failed, label %bad, label %give",
        "give:",
    ]
    if result == "float32":
        lines += ["  %short = load float, ptr %answer, align 8", "  %value = fpext float %short to double"]
    else:
        lines.append("  %value = load double, ptr %answer, align 8")
    if is_filter:
        lines += ["  store double %value, ptr %result, align 8", "  ret i32 1"]
    else:
        lines.append("  ret double %value")
    return "\n".join([*lines, "bad:", f"  ret {failure}", "}"]) + "\n"


def _arguments(form: Form) -> list[str]:
    if form.kind == "number":
        return ["  %x.1 = alloca double, align 8", "  store double %x, ptr %x.1, align 8", "  br label %good"]
    width = "i64" if form.kind == "filter" else "i32"
    lines: list[str] = []
    if form.kind == "numbers":
        lines = [f"  %x.{k} = getelementptr double, ptr %x, i64 {k}" for k in range(form.count)]
    check = f"  %is.other = icmp ne {width} %n, {form.count}"
    return [*lines, check, "  br i1 %is.other, label %bad, label %good"]


def _stores(addresses: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for k, address in enumerate(addresses):
        lines.append(f"  %place.{k} = getelementptr ptr, ptr %data, i64 {k}")
        lines.append(f"  store ptr {address}, ptr %place.{k}, align 8")
    return lines
