"""What Paddle Serving calls the types of elements: numbers, and the field of a tensor that has the elements.

| number | type | field in JSON and protobuf |
|---|---|---|
| 0 | INT64 | `int64_data` |
| 1 | FP32 | `float_data` |
| 2 | INT32 | `int_data` |
| 3 | FP64 | `float64_data` |
| 4 | INT16 | `int_data` |
| 5 | FP16 | `float_data` |
| 7 | UINT8 | `uint32_data` |
| 8 | INT8 | `int_data` |
| 9 | BOOL | `bool_data` |
| 20, and 12 in pipelines | STRING | `data`, and `str_data` in pipelines |
| 13 in pipelines | BYTES | `byte_data`, an array as `numpy.save` writes it |

Numbers may be in `tensor_content`, too, as they lie in memory: Paddle Serving has FP16, UINT8 and INT8 there alone. 6
is BF16, 10 and 11 are complex numbers: no data type here is that.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

from mindspore_serving.tensor import DataType

TEXT: Final = 20
PIPELINE_TEXT: Final = 12
PIPELINE_BYTES: Final = 13
CONTENT: Final = "tensor_content"


class Element(NamedTuple):
    """A type of elements.

    Attributes:
        dtype: Our data type.
        field: Where a tensor has the elements.
    """

    dtype: DataType
    field: str


NUMBERS: Final = MappingProxyType(
    {
        0: Element(DataType.INT64, "int64_data"),
        1: Element(DataType.FLOAT32, "float_data"),
        2: Element(DataType.INT32, "int_data"),
        3: Element(DataType.FLOAT64, "float64_data"),
        4: Element(DataType.INT16, "int_data"),
        5: Element(DataType.FLOAT16, "float_data"),
        7: Element(DataType.UINT8, "uint32_data"),
        8: Element(DataType.INT8, "int_data"),
        9: Element(DataType.BOOL, "bool_data"),
    }
)
"""Types of elements of one size, by number."""
WIDE: Final = MappingProxyType(
    {
        "int64_data": DataType.INT64,
        "float_data": DataType.FLOAT32,
        "int_data": DataType.INT32,
        "float64_data": DataType.FLOAT64,
        "uint32_data": DataType.UINT32,
        "bool_data": DataType.BOOL,
    }
)
"""Fields of numbers, and what one of their elements is on the wire."""
IN_CONTENT: Final = frozenset((DataType.FLOAT16, DataType.UINT8, DataType.INT8))
"""Types that Paddle Serving reads and writes in `tensor_content` alone."""
NUMBER_OF: Final = MappingProxyType({one.dtype: number for number, one in NUMBERS.items()})
