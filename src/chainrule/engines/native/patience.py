"""Long native calls during which Ctrl-C is seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_LOOK_SECONDS = 0.1  # some systems wake a waiting thread for a signal, others do not


def patiently(call: Callable[[], Any], stop: Callable[[], None]) -> Any:
    """Make a long call so that signals are handled while it runs.

    Python hands signals to its main thread alone, between two of its own instructions. There the
    call is made by another thread, and the main thread waits for it.

    Args:
        call: calls native code.
        stop: asks that code to end; called when a signal's handler raises.

    Returns:
        What the call returned.

    Raises:
        BaseException: what the call raised, or what the handler did: KeyboardInterrupt at Ctrl-C,
            when the call has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()
    ended = threading.Event()
    results: list[Any] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=work, name="chainrule-long", daemon=True)
    thread.start()
    interrupt: BaseException | None = None
    while thread.is_alive():
        try:
            ended.wait(_LOOK_SECONDS)
            if ended.is_set():
                thread.join()
        except BaseException as raised:
            interrupt = raised
            stop()
    if interrupt is not None:
        raise interrupt
    if errors:
        raise errors[0]
    return results[0]
