"""``vmap``: a function written for one example, run for many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import OptionError, ShapeError
from ..graph.node import Node, make_aval
from ..graph.walk import topological
from ..ops.batch import Pair, replay
from ._shape import axis_of
from ._tensor import Tensor
from ._trace import rebuild, trace


def vmap(function: Callable[..., Any], in_dims: Any = 0, out_dims: int = 0) -> Callable[..., Any]:
    """A function of one example as a function of a batch of them.

    The function is traced once on an example's shapes; each op is then applied to the whole batch.
    Gradients taken inside it are per-example gradients.

    Args:
        function: Python code on tensors.
        in_dims: which axis of each argument counts the examples; None for an argument that all
            examples share. One number for all arguments, or a tuple.
        out_dims: where the axis stands in the results.

    Returns:
        A function of the batched arguments.

    Raises:
        ShapeError: when the arguments have different numbers of examples.
        EngineError: for an op that has no batching rule, by name.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> vmap(lambda row: (row * row).sum())(x)
        tensor([ 5., 25.])
    """

    def batched(*arguments: Tensor) -> Any:
        dims = in_dims if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(arguments)
        if len(dims) != len(arguments):
            raise OptionError(
                f"vmap: in_dims names {len(dims)} arguments, and {len(arguments)} were given"
            )
        moved = [
            one if dim is None else _first(one, dim)
            for one, dim in zip(arguments, dims, strict=True)
        ]
        size = _size(moved, dims)
        examples = [
            one if dim is None else _example(one) for one, dim in zip(moved, dims, strict=True)
        ]
        traced = trace(function, *examples)
        pairs: list[Pair] = [
            (one.node, dim is not None) for one, dim in zip(moved, dims, strict=True)
        ]
        pairs += [(handle.node, False) for handle in traced.captured]
        if traced.rebound:
            raise OptionError(
                "vmap: the function changes a tensor from outside of it, which would have to hold a"
                " value for each example.\n  fix: return the new values instead"
            )
        graph = traced.graph
        given = dict(zip(graph.inputs, pairs, strict=True))
        outputs = replay(topological(graph.outputs), graph.outputs, given, size)
        return rebuild(traced.structure, [_placed(pair, size, out_dims) for pair in outputs])

    return batched


def _first(tensor: Tensor, dim: int) -> Tensor:
    axis = axis_of(dim, tensor.ndim)
    rest = [k for k in range(tensor.ndim) if k != axis]
    result: Tensor = tensor.permute(axis, *rest) if axis else tensor
    return result


def _size(tensors: Sequence[Tensor], dims: Sequence[int | None]) -> int:
    sizes = {one.size(0) for one, dim in zip(tensors, dims, strict=True) if dim is not None}
    if len(sizes) != 1:
        raise ShapeError(
            f"vmap: the arguments have {sorted(sizes) or 'no'} examples.\n"
            "  expected: one number of examples, on the axes that in_dims names"
        )
    return int(sizes.pop())


def _example(tensor: Tensor) -> Tensor:
    """A stand-in of one example's shape: only its shape is read."""
    aval = make_aval(tuple(tensor.shape)[1:], tensor.dtype)
    node = Node(tensor._node.op, (), {}, aval, requires_grad=tensor.dtype.is_float)
    return Tensor(node)


def _placed(pair: Pair, size: int, out_dim: int) -> Tensor:
    node, batched = pair
    result = Tensor(node if batched else node.expand((size, *node.shape)))
    axis = axis_of(out_dim, result.ndim)
    if axis == 0:
        return result
    order = [*range(1, axis + 1), 0, *range(axis + 1, result.ndim)]
    moved: Tensor = result.permute(*order)
    return moved
