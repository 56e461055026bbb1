"""Eight float64 at once: a type that kernels hold in variables, and what they do with it.

The compiler makes of it what the machine has: one register, or two or four narrower ones. Each of the eight lanes sees the same
operations in the same order on any machine, so bits do not depend on how wide its registers are. Rows are rows of arrays
[row, column] with columns contiguous, of float64 or float32; float32 is widened when it is read, and rounded when it is written.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel.models import PrimitiveModel
from numba.core.types import UniTuple  # type: ignore[attr-defined]
from numba.extending import intrinsic, register_model

__all__ = [
    "LANES", "add8", "fma8", "last8", "load8", "load_some8", "mul8", "shift8", "splat8", "store8", "store_some8", "sum8",
    "transpose8", "zero8",
]  # fmt: skip

LANES = 8
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_I32 = ir.IntType(32)


class _Eight(types.Type):
    """Numba's type of eight float64."""

    def __init__(self) -> None:
        super().__init__(name="float64x8")


@register_model(_Eight)
class _EightModel(PrimitiveModel):
    """An LLVM vector, wherever it is held."""

    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VECTOR)


_EIGHT = _Eight()


@intrinsic
def splat8(typing_context, value):
    """Eight times the value."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0])

    return _EIGHT(types.float64), generate


@intrinsic
def zero8(typing_context):
    """Eight zeros."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(_VECTOR, [0.0] * LANES)

    return _EIGHT(), generate


@intrinsic
def fma8(typing_context, a, b, c):
    """``a * b + c``, rounded once."""

    def generate(context, builder, signature, arguments):
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f64"
        )
        return builder.call(function, arguments)

    return _EIGHT(_EIGHT, _EIGHT, _EIGHT), generate


@intrinsic
def mul8(typing_context, a, b):
    """``a * b``."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return _EIGHT(_EIGHT, _EIGHT), generate


@intrinsic
def add8(typing_context, a, b):
    """``a + b``."""

    def generate(context, builder, signature, arguments):
        return builder.fadd(*arguments)

    return _EIGHT(_EIGHT, _EIGHT), generate


@intrinsic
def sum8(typing_context, a):
    """The sum of the eight, in pairs."""

    def generate(context, builder, signature, arguments):
        terms = [builder.extract_element(arguments[0], _I32(k)) for k in range(LANES)]
        while len(terms) > 1:
            terms = [builder.fadd(a, b) for a, b in zip(terms[::2], terms[1::2], strict=True)]
        return terms[0]

    return types.float64(_EIGHT), generate


@intrinsic
def load8(typing_context, array, row, column):
    """``array[row, column : column + 8]``."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element = _element(signature.args[0])
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1:])
        vector = ir.VectorType(element, LANES)
        value = builder.load(builder.bitcast(address, vector.as_pointer()), align=_size(element), typ=vector)
        return value if element == _DOUBLE else builder.fpext(value, _VECTOR)

    return _EIGHT(array, types.int64, types.int64), generate


@intrinsic
def store8(typing_context, array, row, column, value):
    """``array[row, column : column + 8] = value``."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element = _element(signature.args[0])
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1:3])
        vector = ir.VectorType(element, LANES)
        value = arguments[3] if element == _DOUBLE else builder.fptrunc(arguments[3], vector)
        builder.store(value, builder.bitcast(address, vector.as_pointer()), align=_size(element))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, _EIGHT), generate


@intrinsic
def load_some8(typing_context, array, row, column, count):
    """``array[row, column : column + count]``, and zeros; nothing beyond is read. At least one, at most eight."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element, count = _element(signature.args[0]), arguments[3]
        value = ir.Constant(_VECTOR, [0.0] * LANES)
        for k in range(LANES):
            lane = count.type(k)
            there = builder.icmp_signed("<", lane, count)
            column = builder.add(arguments[2], builder.select(there, lane, count.type(0)))
            address = _address(context, builder, signature.args[0], arguments[0], (arguments[1], column))
            one = builder.load(builder.bitcast(address, element.as_pointer()), align=_size(element), typ=element)
            wide = one if element == _DOUBLE else builder.fpext(one, _DOUBLE)
            value = builder.insert_element(value, builder.select(there, wide, _DOUBLE(0.0)), _I32(k))
        return value

    return _EIGHT(array, types.int64, types.int64, types.int64), generate


@intrinsic
def store_some8(typing_context, array, row, column, value, count):
    """``array[row, column : column + count] = value[:count]``."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element, count = _element(signature.args[0]), arguments[4]
        for k in range(LANES):
            with builder.if_then(builder.icmp_signed("<", count.type(k), count)):
                column = builder.add(arguments[2], count.type(k))
                address = _address(context, builder, signature.args[0], arguments[0], (arguments[1], column))
                one = builder.extract_element(arguments[3], _I32(k))
                one = one if element == _DOUBLE else builder.fptrunc(one, element)
                builder.store(one, builder.bitcast(address, element.as_pointer()), align=_size(element))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, _EIGHT, types.int64), generate


@intrinsic
def shift8(typing_context, before, now):
    """The last of the eight before, and seven of those now: each one's predecessor."""

    def generate(context, builder, signature, arguments):
        return _shuffle(builder, arguments[0], arguments[1], list(range(LANES - 1, 2 * LANES - 1)))

    return _EIGHT(_EIGHT, _EIGHT), generate


@intrinsic
def last8(typing_context, a):
    """The last of the eight."""

    def generate(context, builder, signature, arguments):
        return builder.extract_element(arguments[0], _I32(LANES - 1))

    return types.float64(_EIGHT), generate


@intrinsic
def transpose8(typing_context, a, b, c, d, e, f, g, h):
    """Rows of a square of eight by eight, made of its columns, or the other way round."""

    def generate(context, builder, signature, arguments):
        rows = list(arguments)
        for width in (4, 2, 1):  # squares of this width change places across the diagonal of squares twice as wide
            first = [lane if not lane & width else LANES + lane - width for lane in range(LANES)]
            second = [lane + width if not lane & width else LANES + lane for lane in range(LANES)]
            for k in range(LANES):
                if not k & width:
                    upper, lower = rows[k], rows[k + width]
                    rows[k] = _shuffle(builder, upper, lower, first)
                    rows[k + width] = _shuffle(builder, upper, lower, second)
        return context.make_tuple(builder, signature.return_type, rows)

    return UniTuple(_EIGHT, LANES)(*(_EIGHT,) * LANES), generate


def _has_rows(array):
    return (
        isinstance(array, types.Array)
        and array.ndim == 2
        and array.layout == "C"
        and array.dtype in (types.float64, types.float32)
    )


def _element(kind):
    return _DOUBLE if kind.dtype == types.float64 else ir.FloatType()


def _size(element):
    return 8 if element == _DOUBLE else 4


def _splat(builder, value):
    vector = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, _I32(0))
    return _shuffle(builder, vector, ir.Constant(_VECTOR, ir.Undefined), [0] * LANES)


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, LANES), lanes))


def _address(context, builder, kind, array, indices):
    """Address of an entry, in bytes."""
    struct = context.make_array(kind)(context, builder, array)
    row_stride, _ = cgutils.unpack_tuple(builder, struct.strides, kind.ndim)
    row, column = indices
    address = builder.bitcast(struct.data, ir.IntType(8).as_pointer())
    address = builder.gep(address, [builder.mul(row, row_stride)])
    return builder.gep(address, [builder.mul(column, column.type(_size(_element(kind))))])
