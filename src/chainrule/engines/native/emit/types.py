"""Types and values of the native code that the engine writes.

A :class:`Type` is an element type and a number of lanes; lanes 0 is a scalar. The element types are
those of :mod:`chainrule.dtypes` (``bool`` is a one-bit mask here, one byte in memory) and ``ptr``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ....dtypes import DType

_ELEMENT = {
    "float32": "float",
    "float64": "double",
    "int32": "i32",
    "int64": "i64",
    "uint8": "i8",
    "uint32": "i32",
    "bool": "i1",
    "ptr": "ptr",
}
_SUFFIX = {"float": "f32", "double": "f64"}
BYTES = {"float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1, "uint32": 4, "bool": 1}


@dataclass(frozen=True, slots=True)
class Type:
    """An element type by name, and its number of lanes (0 for a scalar).

    Example:
        >>> Type("float32", 16).text, Type("bool").text, Type("float64", 4).suffix
        ('<16 x float>', 'i1', 'v4f64')
    """

    name: str
    lanes: int = 0
    text: str = field(init=False, compare=False, repr=False, default="")

    def __post_init__(self) -> None:
        element = _ELEMENT[self.name]
        object.__setattr__(self, "text", f"<{self.lanes} x {element}>" if self.lanes else element)

    @property
    def element(self) -> str:
        """LLVM's name of the element type."""
        return _ELEMENT[self.name]

    @property
    def suffix(self) -> str:
        """The part of an intrinsic's name that stands for this type."""
        element = _SUFFIX.get(self.element, self.element)
        return f"v{self.lanes}{element}" if self.lanes else element

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.name in ("float32", "float64")

    @property
    def is_signed(self) -> bool:
        """Whether the elements are integers with a sign."""
        return self.name in ("int32", "int64")

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory."""
        return BYTES[self.name]

    def with_lanes(self, lanes: int) -> Type:
        """The same element type in another number of lanes."""
        return self if lanes == self.lanes else Type(self.name, lanes)

    def named(self, name: str) -> Type:
        """Another element type in the same number of lanes."""
        return self if name == self.name else Type(name, self.lanes)


FLOAT32 = Type("float32")
FLOAT64 = Type("float64")
INT32 = Type("int32")
INT64 = Type("int64")
UINT8 = Type("uint8")
UINT32 = Type("uint32")
BOOL = Type("bool")
PTR = Type("ptr")


def of(dtype: DType, lanes: int = 0) -> Type:
    """The type of an array's elements once they are in registers.

    Example:
        >>> from chainrule.dtypes import uint8
        >>> of(uint8, 16).text
        '<16 x i8>'
    """
    return Type(dtype.name, lanes)


class Value:
    """A typed value: a name or a literal.

    ``fixed`` says that it is the same wherever the function is (a literal, an argument, or computed
    from such at the entry), so what is computed from fixed values alone can go to the entry too.
    ``number`` is the Python number of a literal; ``product`` the factors where it is a product.
    """

    __slots__ = ("fixed", "number", "product", "text", "type")

    def __init__(
        self, text: str, type: Type, fixed: bool = False, number: float | int | None = None
    ) -> None:
        self.text = text
        self.type = type
        self.fixed = fixed
        self.number = number
        self.product: tuple[Value, Value] | None = None

    def __repr__(self) -> str:
        return f"{self.type.text} {self.text}"

    @property
    def lanes(self) -> int:
        """Number of lanes, 0 for a scalar."""
        return self.type.lanes


def literal(number: float | int, type: Type) -> Value:
    """A constant of a type; a vector holds it in every lane.

    Example:
        >>> literal(0.5, FLOAT32), literal(3, Type("int32", 4))
        (float 0x3FE0000000000000, <4 x i32> splat (i32 3))
    """
    text = _element_text(number, type)
    if type.lanes:
        text = f"splat ({type.element} {text})"
    return Value(text, type, fixed=True, number=number)


def vector_literal(numbers: list[float] | list[int], type: Type) -> Value:
    """A constant vector with its own number in each lane."""
    element = type.element
    inner = ", ".join(f"{element} {_element_text(number, type)}" for number in numbers)
    return Value(f"<{inner}>", type, fixed=True)


def _element_text(number: float | int, type: Type) -> str:
    if type.name == "float32":
        return _hexadecimal(_rounded(float(number)))
    if type.name == "float64":
        return _hexadecimal(float(number))
    if type.name == "bool":
        return "true" if number else "false"
    bits = 8 * type.bytes
    wrapped = int(number) & ((1 << bits) - 1)
    return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)


def _rounded(number: float) -> float:
    """The nearest float32; beyond its range, infinity, as a cast gives."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _hexadecimal(number: float) -> str:
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
