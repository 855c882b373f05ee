"""The functions that compiled callers share, as LLVM text: a record is found by sizes, and run.

A record is what `records.py` packs: int64 words, at the positions named there.
"""

from __future__ import annotations

from tracejit.interop import records as at
from tracejit.runtime.abi import CONTENT

FIND = "tracejit_find"
RUN = "tracejit_run"
OVERLAPS = "tracejit_overlaps"
ALLOCATE = "PyMem_RawMalloc"
FREE = "PyMem_RawFree"

# Statuses that no index check has.
OUT_OF_MEMORY = -1
OUT_OVERLAPS_OUT = -2


def _word(register: str, position: int, kind: str = "i64") -> str:
    """Load a word of the record `%r`."""
    address = f"{register}.at"
    return (
        f"  {address} = getelementptr i64, ptr %r, i64 {position}\n"
        f"  {register} = load {kind}, ptr {address}, align 8"
    )


TEXT = f"""
declare ptr @{ALLOCATE}(i64)
declare void @{FREE}(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; The record of the site that `cell` points to with these `n` words as its key, or null.
define ptr @{FIND}(ptr %cell, ptr %key, i64 %n) {{
entry:
  %site = load atomic ptr, ptr %cell acquire, align 8
  %unknown = icmp eq ptr %site, null
  br i1 %unknown, label %miss, label %known
known:
  %head = load atomic ptr, ptr %site acquire, align 8
  br label %record
record:
  %r = phi ptr [ %head, %known ], [ %next, %differs ]
  %end = icmp eq ptr %r, null
  %words = getelementptr i64, ptr %r, i64 {at.KEY}
  br i1 %end, label %miss, label %compare
compare:
  %k = phi i64 [ 0, %record ], [ %k1, %same ]
  %all = icmp eq i64 %k, %n
  br i1 %all, label %hit, label %word
word:
  %a.at = getelementptr i64, ptr %key, i64 %k
  %b.at = getelementptr i64, ptr %words, i64 %k
  %a = load i64, ptr %a.at, align 8
  %b = load i64, ptr %b.at, align 8
  %equal = icmp eq i64 %a, %b
  br i1 %equal, label %same, label %differs
same:
  %k1 = add i64 %k, 1
  br label %compare
differs:
  %next = load atomic ptr, ptr %r acquire, align 8
  br label %record
hit:
  ret ptr %r
miss:
  ret ptr null
}}

; Do the bytes from `low` to `high` share memory with one of `n` ranges (pairs of words), or with an array
; that the program of the record captured?
define i1 @{OVERLAPS}(ptr %r, i64 %low, i64 %high, ptr %ranges, i64 %n) {{
entry:
  %none = icmp eq i64 %low, %high
  br i1 %none, label %no, label %inputs
inputs:
  %k = phi i64 [ 0, %entry ], [ %k1, %input ]
  %end = icmp eq i64 %k, %n
  br i1 %end, label %captured, label %input
input:
  %from.at = getelementptr [2 x i64], ptr %ranges, i64 %k
  %to.at = getelementptr i64, ptr %from.at, i64 1
  %from = load i64, ptr %from.at, align 8
  %to = load i64, ptr %to.at, align 8
  %starts = icmp ult i64 %low, %to
  %ends = icmp ult i64 %from, %high
  %empty = icmp eq i64 %from, %to
  %full = xor i1 %empty, true
  %meets = and i1 %starts, %ends
  %shares = and i1 %meets, %full
  %k1 = add i64 %k, 1
  br i1 %shares, label %yes, label %inputs
captured:
{_word("%count", at.CAPTURE_COUNT)}
{_word("%list", at.CAPTURES, "ptr")}
  br label %captures
captures:
  %c = phi i64 [ 0, %captured ], [ %c1, %capture ]
  %c.end = icmp eq i64 %c, %count
  br i1 %c.end, label %no, label %capture
capture:
  %object.at = getelementptr [3 x i64], ptr %list, i64 %c
  %first.at = getelementptr i64, ptr %object.at, i64 1
  %last.at = getelementptr i64, ptr %object.at, i64 2
  %object = load ptr, ptr %object.at, align 8
  %first = load i64, ptr %first.at, align 8
  %last = load i64, ptr %last.at, align 8
  %base.at = getelementptr i8, ptr %object, i64 {CONTENT}
  %base = load i64, ptr %base.at, align 8
  %c.from = add i64 %base, %first
  %c.to = add i64 %base, %last
  %c.starts = icmp ult i64 %low, %c.to
  %c.ends = icmp ult i64 %c.from, %high
  %c.shares = and i1 %c.starts, %c.ends
  %c1 = add i64 %c, 1
  br i1 %c.shares, label %yes, label %captures
yes:
  ret i1 true
no:
  ret i1 false
}}

; Run the program of a record on `data`: the addresses of inputs and outputs, then two free places.
; `strides`, in elements, are those of all axes of all inputs. Returns 0, the number of an index check that
; failed, or {OUT_OF_MEMORY} where there is no memory for the workspace.
define i64 @{RUN}(ptr %r, ptr %data, ptr %strides) noinline {{
entry:
  %status = alloca i64, align 8
  store i64 0, ptr %status, align 8
{_word("%table.n", at.TABLE_WORDS)}
  %table = alloca i64, i64 %table.n, align 16
{_word("%template", at.TEMPLATE, "ptr")}
  %bytes = shl i64 %table.n, 3
  call void @llvm.memcpy.p0.p0.i64(ptr align 8 %table, ptr align 8 %template, i64 %bytes, i1 false)
{_word("%places", at.DATA_COUNT)}
  %status.place = getelementptr ptr, ptr %data, i64 %places
  store ptr %status, ptr %status.place, align 8
{_word("%size", at.WORKSPACE_BYTES)}
{_word("%site", at.SITE, "ptr")}
  %slot = getelementptr i64, ptr %site, i64 {at.BLOCK}
  %needs = icmp ne i64 %size, 0
  br i1 %needs, label %take, label %ready
take:
  %kept = atomicrmw xchg ptr %slot, ptr null acq_rel, align 8
  %is.kept = icmp ne ptr %kept, null
  br i1 %is.kept, label %measure, label %make
measure:
  %length = load i64, ptr %kept, align 8
  %fits = icmp sge i64 %length, %size
  br i1 %fits, label %ready, label %enlarge
enlarge:
  call void @{FREE}(ptr %kept)
  br label %make
make:
  %room = add i64 %size, 72
  %made = call ptr @{ALLOCATE}(i64 %room)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %no.memory, label %fresh
fresh:
  store i64 %size, ptr %made, align 8
  br label %ready
no.memory:
  ret i64 {OUT_OF_MEMORY}
ready:
  %block = phi ptr [ null, %entry ], [ %kept, %measure ], [ %made, %fresh ]
  %number = ptrtoint ptr %block to i64
  %above = add i64 %number, 71
  %aligned = and i64 %above, -64
  %workspace = inttoptr i64 %aligned to ptr
  %after = add i64 %places, 1
  %workspace.place = getelementptr ptr, ptr %data, i64 %after
  store ptr %workspace, ptr %workspace.place, align 8
{_word("%picks.n", at.PICK_COUNT)}
{_word("%picks", at.PICKS, "ptr")}
  br label %pick
pick:
  %p = phi i64 [ 0, %ready ], [ %p1, %picked ]
  %p.end = icmp eq i64 %p, %picks.n
  br i1 %p.end, label %picks.done, label %picked
picked:
  %where.at = getelementptr [2 x i64], ptr %picks, i64 %p
  %what.at = getelementptr i64, ptr %where.at, i64 1
  %where = load i64, ptr %where.at, align 8
  %what = load i64, ptr %what.at, align 8
  %cell = getelementptr ptr, ptr %data, i64 %what
  %handle = getelementptr i8, ptr %cell, i64 -{CONTENT}
  %entry.at = getelementptr i64, ptr %table, i64 %where
  store ptr %handle, ptr %entry.at, align 8
  %p1 = add i64 %p, 1
  br label %pick
picks.done:
{_word("%steps.n", at.STRIDE_COUNT)}
{_word("%steps", at.STRIDES, "ptr")}
  br label %step
step:
  %s = phi i64 [ 0, %picks.done ], [ %s1, %stepped ]
  %s.end = icmp eq i64 %s, %steps.n
  br i1 %s.end, label %steps.done, label %stepped
stepped:
  %to.at = getelementptr [2 x i64], ptr %steps, i64 %s
  %from.at = getelementptr i64, ptr %to.at, i64 1
  %to = load i64, ptr %to.at, align 8
  %from = load i64, ptr %from.at, align 8
  %stride.at = getelementptr i64, ptr %strides, i64 %from
  %stride = load i64, ptr %stride.at, align 8
  %target = getelementptr i64, ptr %table, i64 %to
  store i64 %stride, ptr %target, align 8
  %s1 = add i64 %s, 1
  br label %step
steps.done:
{_word("%code", at.ENTRY, "ptr")}
{_word("%constants", at.CONSTANTS, "ptr")}
  call void %code(ptr %table, ptr %constants)
  br i1 %needs, label %give, label %done
give:
  %is.small = icmp sle i64 %size, {at.KEPT_BYTES}
  br i1 %is.small, label %keep, label %free.if
keep:
  %other = atomicrmw xchg ptr %slot, ptr %block acq_rel, align 8
  br label %free.if
free.if:
  %spare = phi ptr [ %other, %keep ], [ %block, %give ]
  %is.spare = icmp ne ptr %spare, null
  br i1 %is.spare, label %drop, label %done
drop:
  call void @{FREE}(ptr %spare)
  br label %done
done:
  %result = load i64, ptr %status, align 8
  ret i64 %result
}}
"""
