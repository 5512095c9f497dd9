"""What PyTorch says the structured ops mean, written with its own functions."""

from typing import Any

import torch

from chainrule.dtypes import DType


def cast(x: Any, *, dtype: DType) -> Any:
    return x.to(getattr(torch, dtype.name))


def pad(x: Any, *, low: Any, high: Any, interior: Any) -> Any:
    gaps = list(zip(x.shape, interior, strict=True))
    spread = [(n - 1) * (g + 1) + 1 if n else 0 for n, g in gaps]
    out = x.new_zeros([a + n + b for a, n, b in zip(low, spread, high, strict=True)])
    at = tuple(slice(a, a + n, g + 1) for a, n, g in zip(low, spread, interior, strict=True))
    out[at] = x
    return out


def swap(x: Any, yes: bool) -> Any:
    return x.transpose(-1, -2) if yes else x


def take_add(g: Any, index: Any, *, axis: int, size: int) -> Any:
    rank = index.ndim
    flat = g.reshape((*g.shape[:axis], index.numel(), *g.shape[axis + rank :]))
    out = g.new_zeros((*g.shape[:axis], size, *g.shape[axis + rank :]))
    return out.index_add(axis, index.reshape(-1), flat)


def take(x: Any, index: Any, *, axis: int) -> Any:
    flat = x.index_select(axis, index.reshape(-1))
    return flat.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def scatter(g: Any, index: Any, *, axis: int, size: int) -> Any:
    shape = (*g.shape[:axis], size, *g.shape[axis + 1 :])
    return g.new_zeros(shape).scatter_add(axis, index, g)


def iota(*, shape: Any, axis: int, dtype: DType) -> Any:
    line = torch.arange(shape[axis], dtype=getattr(torch, dtype.name))
    return line.reshape([-1 if k == axis else 1 for k in range(len(shape))]).expand(shape)


def slicing(x: Any, *, starts: Any, stops: Any, steps: Any) -> Any:
    return x[tuple(map(slice, starts, stops, steps))]


def scan(c: Any, x: Any, k: Any, *, body: Any, length: int, reverse: bool) -> Any:
    firsts, seconds = [None] * length, [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        seconds[t] = c
        c = torch.tanh(c * k + x[t])
        firsts[t] = c * x[t]
    empty = c.new_zeros((0, 2))
    return (
        c,
        torch.stack(firsts) if length else empty,
        (torch.stack(seconds) if length else empty),
    )


def custom(first: Any, second: Any, x: Any, y: Any, *, rule: Any) -> Any:
    return first.detach() + 3 * (x - x.detach()), second.detach() + 2 * (y - y.detach())


def amax(x: Any, *, axes: Any, keepdims: bool) -> Any:
    return torch.amax(x, axes, keepdims) if axes else x.clone()


def total(x: Any, *, axes: Any, keepdims: bool) -> Any:
    return torch.sum(x, axes, keepdims) if axes else x.clone()


def argsort(x: Any, *, axis: int, descending: bool) -> Any:
    return torch.argsort(x.double(), dim=axis, descending=descending, stable=True)


def _bordered(x: Any, padding: Any, value: float = 0.0) -> Any:
    flat = [amount for pair in reversed(padding) for amount in pair]
    return torch.nn.functional.pad(x, flat, value=value)


def convolution(x: Any, w: Any, *, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    function = (torch.conv1d, torch.conv2d, torch.conv3d)[x.ndim - 3]
    return function(_bordered(x, padding), w, None, stride, 0, dilation, groups)


def _transpose(function: Any, shape: Any, g: Any) -> Any:
    """The transpose of a linear function: its vector-Jacobian product, anywhere."""
    anywhere = g.new_zeros(shape, requires_grad=True)
    value = function(anywhere.detach())
    (found,) = torch.autograd.grad(function(anywhere), anywhere, g, create_graph=True)
    return found if g.requires_grad or value.requires_grad else found.detach()


def convolution_input(g: Any, w: Any, *, size: Any, **at: Any) -> Any:
    shape = (g.shape[0], w.shape[1] * at["groups"], *size)
    return _transpose(lambda x: convolution(x, w, **at), shape, g)


def convolution_weight(x: Any, g: Any, *, kernel: Any, **at: Any) -> Any:
    shape = (g.shape[1], x.shape[1] // at["groups"], *kernel)
    return _transpose(lambda w: convolution(x, w, **at), shape, g)


def _unfolded(x: Any, window: Any, stride: Any, padding: Any, dilation: Any, value: float) -> Any:
    """The elements of all windows on one last axis, in row-major order."""
    x = _bordered(x, padding, value)
    for axis, (k, step, gap) in enumerate(zip(window, stride, dilation, strict=True)):
        x = x.unfold(2 + axis, (k - 1) * gap + 1, step)[..., ::gap]
    return x.flatten(2 + len(window))


def max_pool_index(x: Any, *, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    size = x.shape[2:]
    numbers = torch.arange(size.numel(), dtype=torch.float64).reshape(1, 1, *size)
    places = _unfolded(numbers, window, stride, padding, dilation, -1)
    values = _unfolded(x, window, stride, padding, dilation, float("-inf"))
    best = values.argmax(-1, keepdim=True)
    return places.expand(values.shape).gather(-1, best).squeeze(-1).long()


def max_pool(x: Any, **at: Any) -> Any:
    index = max_pool_index(x, **at)
    return x.flatten(2).gather(2, index.flatten(2)).reshape(index.shape)


def max_pool_input(g: Any, index: Any, *, size: Any, **at: Any) -> Any:
    shape = (*g.shape[:2], *size)
    flat = g.new_zeros((*g.shape[:2], torch.Size(size).numel()))
    return flat.scatter_add(2, index.flatten(2), g.flatten(2)).reshape(shape)


def window_sum(x: Any, *, window: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    return _unfolded(x, window, stride, padding, dilation, 0.0).sum(-1)


def window_spread(g: Any, *, size: Any, **at: Any) -> Any:
    return _transpose(lambda x: window_sum(x, **at), (*g.shape[:2], *size), g)
