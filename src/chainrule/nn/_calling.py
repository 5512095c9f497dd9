"""A module's call with the registered hooks around it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..config import STATE
from ._backward import BackwardWatch

if TYPE_CHECKING:
    from ._module import Module


def call_with_hooks(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the hooks before, `forward`, and the hooks after; mark what backward hooks wait for."""
    for hook in tuple(module._pre_hooks.values()):
        if hook.with_kwargs:
            changed = hook.call(module, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        else:
            changed = hook.call(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
    watch = None
    if module._backward_hooks and STATE.grad_enabled:
        watch = BackwardWatch(partial(_run_backward_hooks, module))
        args = watch.inputs(args)
    output = module.forward(*args, **kwargs)
    if watch is not None:
        output = watch.outputs(output)
    for hook in tuple(module._hooks.values()):
        extra = (args, kwargs) if hook.with_kwargs else (args,)
        changed = hook.call(module, *extra, output)
        if changed is not None:
            output = changed
    return output


def _run_backward_hooks(
    module: Module, gradients: tuple[Any, ...], upstream: tuple[Any, ...]
) -> Any:
    """Show the gradients to every hook; return what the last change made of the first, or None."""
    replaced = None
    for hook in tuple(module._backward_hooks.values()):
        changed = hook.call(module, gradients, upstream)
        if changed is not None:
            gradients = changed if isinstance(changed, tuple) else (changed,)
            replaced = gradients
    return replaced
