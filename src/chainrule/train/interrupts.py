"""Ctrl-C ends a training between two steps, so that the model is never half updated."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """While the block runs, the first Ctrl-C asks the training to stop; a second one insists.

    Only Python's own handler of Ctrl-C is replaced, and only in the main thread; elsewhere the
    block changes nothing.

    Args:
        stop: called at the first Ctrl-C, to end a loop that runs outside of Python.

    Example:
        >>> with Interrupts(lambda: None) as interrupts:
        ...     signal.raise_signal(signal.SIGINT)
        ...     print(interrupts.asked)
        True
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.asked = False
        self._stop = stop
        self._replaced = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._replaced = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            signal.default_int_handler(number, frame)
        self.asked = True
        self._stop()
