"""Vector registers for numba: sixteen numbers that are loaded, multiplied and added as one.

numba leaves vector instructions to the compiler's judgement, which keeps sums in memory that would fit into
registers, and takes half of the width that AVX-512 has. Here the width is said; where the machine's registers
are shorter the compiler takes several. Every multiply-add rounds once and sums are added up in one written
order, so the bits are the same on every machine that has the instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from marquee.models.numba_cache import numba

cgutils, types, models = numba.core.cgutils, numba.core.types, numba.core.datamodel.models
# Typed as what numba makes of it: something to call from compiled code.
intrinsic: Any = numba.extending.intrinsic

LANES = 16
"""Numbers that are one here: widths and offsets are multiples of it."""

_PLACE = ir.IntType(32)
_PLACES = ir.VectorType(_PLACE, LANES)
_INDEX = ir.IntType(64)


class _Lanes(types.Type):
    """The type of a register's content: ``number`` is float32, or float64, which fills two registers."""

    def __init__(self, number: Any) -> None:
        self.number = number
        super().__init__(f"Lanes({number})")


@numba.extending.register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(manager[kind.number].get_value_type(), LANES))


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """The sixteen numbers of a flat array from ``index`` on."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_at(context, builder, signature.args[0], *arguments), align=4)

    return _Lanes(array.dtype)(array, types.intp), emit


@intrinsic
def broadcast_load(typing: Any, array: Any, index: Any) -> Any:
    """The number at ``index`` of a flat array; unlike ``array[index]`` it does not count from the end."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]]))

    return array.dtype(array, types.intp), emit


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a register to a flat array from ``index`` on."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, value = arguments
        builder.store(value, _at(context, builder, signature.args[0], array, index), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


@intrinsic
def broadcast(typing: Any, number: Any) -> Any:
    """A number, sixteen times."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return _Lanes(number)(number), emit


def _of_two(emit: Callable[[Any, Any, Any], Any]) -> Any:
    def operation(typing: Any, x: Any, y: Any) -> Any:
        return x(x, y), lambda _, builder, __, arguments: emit(builder, *arguments)

    return intrinsic(operation)


def _of_three(emit: Callable[[Any, Any, Any, Any], Any]) -> Any:
    def operation(typing: Any, x: Any, y: Any, z: Any) -> Any:
        return x(x, y, z), lambda _, builder, __, arguments: emit(builder, *arguments)

    return intrinsic(operation)


times = _of_two(lambda builder, x, y: builder.fmul(x, y))
"""``times(x, y)`` is x * y."""
plus = _of_two(lambda builder, x, y: builder.fadd(x, y))
"""``plus(x, y)`` is x + y."""
plus_times = _of_three(lambda builder, z, x, y: _llvm(builder, "fma", x, y, z))
"""``plus_times(z, x, y)`` is z + x * y, rounded once."""
minus_times = _of_three(lambda builder, z, x, y: _llvm(builder, "fma", builder.fneg(x), y, z))
"""``minus_times(z, x, y)`` is z - x * y, rounded once."""


@intrinsic
def inverse_root(typing: Any, x: Any) -> Any:
    """1 / sqrt(x)."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        root = _llvm(builder, "sqrt", *arguments)
        return builder.fdiv(ir.Constant(root.type, [1.0] * LANES), root)

    return x(x), emit


@intrinsic
def with_last(typing: Any, x: Any, number: Any) -> Any:
    """``x`` with ``number`` in the last place."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.insert_element(*arguments, ir.Constant(_PLACE, LANES - 1))

    return x(x, number), emit


@numba.extending.register_jitable
def aligned(numbers: int) -> NDArray[np.float32]:
    """A flat float32 array, of zeros, that begins where a register's worth of memory does.

    A register's load then touches one line of the cache, and not two.
    """
    room = np.zeros(numbers + LANES, np.float32)
    first = (-room.ctypes.data // 4) % LANES
    return room[first : first + numbers]


@intrinsic
def horizontal_sum(typing: Any, x: Any) -> Any:
    """The sum of the sixteen: halves are added to halves."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value,) = arguments
        half = LANES // 2
        while half:
            places = ir.Constant(_PLACES, [(k + half) % LANES for k in range(LANES)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, places))
            half //= 2
        return builder.extract_element(value, ir.Constant(_PLACE, 0))

    return x.number(x), emit


@intrinsic
def add_square(typing: Any, width: Any, x: Any, y: Any, count: Any, out: Any) -> Any:
    """``out`` [16, 16] += the sum over k < count of x[k, :16]^T y[k, :16]; it stays in registers meanwhile.

    ``width``, a tuple: how far apart the rows of all three are. ``x``, ``y``, ``out``: (flat array, offset).
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        left, right, into = (_begin(context, builder, kinds[k], arguments[k]) for k in (1, 2, 4))
        places = [_vector_at(builder, into, ir.Constant(_INDEX, row * len(width))) for row in range(LANES)]
        sums = [cgutils.alloca_once_value(builder, builder.load(place, align=4)) for place in places]
        with cgutils.for_range(builder, arguments[3]) as loop:
            at = builder.mul(loop.index, ir.Constant(_INDEX, len(width)))
            vector = builder.load(_vector_at(builder, right, at), align=4)
            for row, partial in enumerate(sums):
                number = builder.load(builder.gep(left, [builder.add(at, ir.Constant(_INDEX, row))]))
                new = _llvm(builder, "fma", _spread(builder, number), vector, builder.load(partial))
                builder.store(new, partial)
        for place, partial in zip(places, sums, strict=True):
            builder.store(builder.load(partial), place, align=4)
        return context.get_dummy_value()

    return types.void(width, x, y, types.intp, out), emit


def _begin(context: Any, builder: Any, kind: Any, pair: Any) -> Any:
    array, index = cgutils.unpack_tuple(builder, pair, 2)
    return builder.gep(context.make_array(kind.types[0])(context, builder, array).data, [index])


def _vector_at(builder: Any, begin: Any, index: Any) -> Any:
    vector = ir.VectorType(begin.type.pointee, LANES)
    return builder.bitcast(builder.gep(begin, [index]), vector.as_pointer())


def _at(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return _vector_at(builder, context.make_array(kind)(context, builder, array).data, index)


def _spread(builder: Any, number: Any) -> Any:
    anything = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(anything, number, ir.Constant(_PLACE, 0))
    return builder.shuffle_vector(first, anything, ir.Constant(_PLACES, [0] * LANES))


def _llvm(builder: Any, name: str, *arguments: Any) -> Any:
    vector = arguments[0].type
    kind = ir.FunctionType(vector, [vector] * len(arguments))
    size = "f64" if isinstance(vector.element, ir.DoubleType) else "f32"
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}{size}")
    return builder.call(function, arguments)
