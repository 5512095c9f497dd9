"""Everything that the next training step depends on, as plain data, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import StoreError
from ..io.arrays import Array
from ..tensor import Tensor
from ..tensor._random import default_generator
from .checkpoint import Tree

FORMAT = 1
_ATOMS = frozenset((int, float, bool, str, type(None)))


def collect_state(model: Any, optimizer: Any) -> Tree:
    """The state of model, optimizer and random streams: arrays, numbers and text.

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(2, 1)
        >>> state = collect_state(model, cr.optim.SGD(model.parameters(), lr=0.1))
        >>> sorted(state)
        ['format', 'model', 'optimizer', 'random', 'transient']
    """
    saved = model.state_dict(keep_vars=True)
    transient = _transient(model, saved)
    return {
        "format": FORMAT,
        "model": {name: handle._node.value().copy() for name, handle in saved.items()},
        "transient": {name: handle._node.value().copy() for name, handle in transient},
        "optimizer": plain(optimizer.state_dict()),
        "random": default_generator().get_state(),
    }


def restore_state(tree: Tree, model: Any, optimizer: Any) -> None:
    """Put back what :func:`collect_state` collected.

    Raises:
        StoreError: it was made by a newer chainrule.
        ModuleError: the model has other parameters than the one that was saved.
    """
    if tree["format"] != FORMAT:
        raise StoreError(
            f"this checkpoint was made by a newer chainrule.\n  given: format {tree['format']}\n"
            f"  expected: {FORMAT}\n  fix: update chainrule"
        )
    model.load_state_dict(tree["model"])
    for name, tensor in _transient(model, model.state_dict()):
        tensor.data = Tensor(tree["transient"][name])
    optimizer.load_state_dict(tree["optimizer"])
    default_generator().set_state(tree["random"])


def _transient(model: Any, saved: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Buffers that a state dict leaves out: a training still depends on them."""
    return [(name, tensor) for name, tensor in model.named_buffers() if name not in saved]


def plain(content: Any) -> Any:
    """Tensors as arrays of their own, containers kept.

    Example:
        >>> plain({"step": Tensor([1.0])})
        {'step': array([1.], dtype=float32)}
    """
    if type(content) in _ATOMS:
        return content
    if isinstance(content, Tensor):
        array: Array = content.detach().numpy().copy()
        return array
    if isinstance(content, dict):
        return {key: plain(item) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(plain(item) for item in content)
    return content


def restore_callbacks(callbacks: Sequence[Any], states: Sequence[Any]) -> None:
    """Give callbacks that keep a state the one that was saved."""
    for callback, state in zip(callbacks, states, strict=False):
        if state is not None and hasattr(callback, "load_state_dict"):
            callback.load_state_dict(state)
