"""What can be computed: one record per primitive, all of them in :data:`ALL`."""

from __future__ import annotations

from ..graph.node import CONSTANT as CONSTANT
from ..graph.node import INPUT as INPUT
from ..graph.node import Op as Op
from . import convolution, custom, elementwise, index, order, pooling, reduction, scan, shape
from ._apply import apply as apply
from ._apply import cast_node as cast_node
from ._apply import constant as constant
from ._apply import constant_array as constant_array
from ._apply import literal_dtype as literal_dtype
from ._apply import where_am_i as where_am_i
from ._runtime import runtime as runtime
from .convolution import CONVOLUTION as CONVOLUTION
from .convolution import CONVOLUTION_INPUT as CONVOLUTION_INPUT
from .convolution import CONVOLUTION_WEIGHT as CONVOLUTION_WEIGHT
from .custom import CUSTOM as CUSTOM
from .elementwise import ABS as ABS
from .elementwise import ADD as ADD
from .elementwise import CAST as CAST
from .elementwise import COS as COS
from .elementwise import DETACH as DETACH
from .elementwise import DIV as DIV
from .elementwise import EQ as EQ
from .elementwise import ERF as ERF
from .elementwise import EXP as EXP
from .elementwise import EXPM1 as EXPM1
from .elementwise import FLOOR as FLOOR
from .elementwise import FLOOR_DIV as FLOOR_DIV
from .elementwise import GE as GE
from .elementwise import GT as GT
from .elementwise import LE as LE
from .elementwise import LOG as LOG
from .elementwise import LOG1P as LOG1P
from .elementwise import LOGICAL_AND as LOGICAL_AND
from .elementwise import LOGICAL_NOT as LOGICAL_NOT
from .elementwise import LOGICAL_OR as LOGICAL_OR
from .elementwise import LT as LT
from .elementwise import MAXIMUM as MAXIMUM
from .elementwise import MINIMUM as MINIMUM
from .elementwise import MUL as MUL
from .elementwise import NE as NE
from .elementwise import NEG as NEG
from .elementwise import POW as POW
from .elementwise import RELU as RELU
from .elementwise import SHIFT_RIGHT as SHIFT_RIGHT
from .elementwise import SIGMOID as SIGMOID
from .elementwise import SIGN as SIGN
from .elementwise import SIN as SIN
from .elementwise import SOFTPLUS as SOFTPLUS
from .elementwise import SQRT as SQRT
from .elementwise import SUB as SUB
from .elementwise import TANH as TANH
from .elementwise import WHERE as WHERE
from .expr import Expr as Expr
from .index import GATHER as GATHER
from .index import RANDOM_BITS as RANDOM_BITS
from .index import SCATTER_ADD as SCATTER_ADD
from .index import TAKE as TAKE
from .index import TAKE_ADD as TAKE_ADD
from .order import ARGSORT as ARGSORT
from .order import CUMSUM as CUMSUM
from .pooling import MAX_POOL as MAX_POOL
from .pooling import MAX_POOL_INDEX as MAX_POOL_INDEX
from .pooling import MAX_POOL_INPUT as MAX_POOL_INPUT
from .pooling import WINDOW_SPREAD as WINDOW_SPREAD
from .pooling import WINDOW_SUM as WINDOW_SUM
from .product import MATMUL as MATMUL
from .reduction import AMAX as AMAX
from .reduction import ARGMAX as ARGMAX
from .reduction import SUM as SUM
from .scan import PICK as PICK
from .scan import SCAN as SCAN
from .shape import CONCAT as CONCAT
from .shape import EXPAND as EXPAND
from .shape import FLIP as FLIP
from .shape import IOTA as IOTA
from .shape import PAD as PAD
from .shape import PERMUTE as PERMUTE
from .shape import RESHAPE as RESHAPE
from .shape import SLICE as SLICE

ALL: tuple[Op, ...] = (
    *elementwise.UNARY,
    *elementwise.BINARY,
    *elementwise.COMPARISONS,
    *elementwise.OTHERS,
    MATMUL,
    *reduction.ALL,
    *shape.ALL,
    *index.ALL,
    *order.ALL,
    *convolution.ALL,
    *pooling.ALL,
    *scan.ALL,
    *custom.ALL,
)
BY_NAME: dict[str, Op] = {op.name: op for op in ALL}
