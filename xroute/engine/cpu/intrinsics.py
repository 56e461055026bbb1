"""What numba does not offer by name: a fused multiply-add, a cache prefetch, and arrays whose references nobody counts.

The fused multiply-add rounds once, the same way in a vector loop and in its remainder, so that results cannot depend on
where a series is cut; leaving the contraction to the compiler would not promise that.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.types import StarArgTuple, Tuple  # type: ignore[attr-defined]
from numba.extending import intrinsic

__all__ = ["fma", "prefetch", "prefetch_entry", "uncounted"]


@intrinsic
def fma(typing_context, a, b, c):
    """Return ``a * b + c`` in float64 with one rounding."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@intrinsic
def prefetch(typing_context, array, row, column):
    """Ask for the cache line of ``array[row, column]``; no effect on any result."""
    if not (isinstance(array, types.Array) and array.ndim == 2):
        return None

    def generate(context, builder, signature, arguments):
        _ask_for(context, builder, signature.args[0], arguments[0], arguments[1:])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@intrinsic
def prefetch_entry(typing_context, array, index):
    """Ask for the cache line of ``array[index]``; no effect on any result."""
    if not (isinstance(array, types.Array) and array.ndim == 1):
        return None

    def generate(context, builder, signature, arguments):
        _ask_for(context, builder, signature.args[0], arguments[0], arguments[1:])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
def uncounted(typing_context, *arrays):
    """The arrays, for nobody to count references to them or to slices of them; whoever calls must keep them alive.

    Each count is an atomic operation, on memory that threads share: for a reach, many together cost as much as its arithmetic.
    """
    if not all(isinstance(array, types.Array) for array in arrays):
        return None

    def generate(context, builder, signature, arguments):
        values = cgutils.unpack_tuple(builder, arguments[0], len(arrays))
        made = []
        for kind, value in zip(arrays, values, strict=True):
            struct = context.make_array(kind)(context, builder, value)
            struct.meminfo = cgutils.get_null_value(struct.meminfo.type)
            made.append(struct._getvalue())
        return context.make_tuple(builder, signature.return_type, made)

    return Tuple(arrays)(StarArgTuple(arrays)), generate


def _ask_for(context, builder, kind, array, indices):
    """Emit the prefetch of an entry of an array."""
    struct = context.make_array(kind)(context, builder, array)
    strides = cgutils.unpack_tuple(builder, struct.strides, kind.ndim)
    byte = ir.IntType(8).as_pointer()
    address = builder.bitcast(struct.data, byte)
    for index, stride in zip(indices, strides, strict=True):
        address = builder.gep(address, [builder.mul(index, stride)])
    i32 = ir.IntType(32)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32]), "llvm.prefetch.p0"
    )
    builder.call(function, [address, i32(0), i32(2), i32(1)])
