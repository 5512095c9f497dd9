"""The progress bar: one line of rich, drawn when told and never by a thread of its own."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .progress import describe

WIDE = 104  # columns


class Bar:
    """Epochs as a bar, with the newest numbers behind it.

    Args:
        epochs: how many make it full.
        console: where to draw; standard error when not given.

    Example:
        >>> import io
        >>> bar = Bar(4, Console(file=io.StringIO(), force_terminal=True, width=80))
        >>> bar.draw(2, 20, {"loss": 0.5})
        >>> bar.close()
        >>> "2/4" in bar.console.file.getvalue()
        True
    """

    def __init__(self, epochs: int, console: Console | None = None) -> None:
        self.console = console if console is not None else Console(stderr=True)
        # The numbers are what is read: on a narrow terminal the bar and the clock give way to them.
        wide = self.console.width >= WIDE
        clock = [TimeRemainingColumn(compact=True)] if wide else []
        self._progress = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24 if wide else 6),
            TextColumn("{task.fields[numbers]}"),
            *clock,
            console=self.console,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("training", total=epochs, numbers="")
        self._progress.start()

    def draw(self, epoch: float, step: int, numbers: Mapping[str, float]) -> None:
        """Draw the bar at `epoch` with the newest numbers."""
        self._progress.update(self._task, completed=epoch, numbers=describe(numbers), refresh=True)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Leave the bar as last drawn."""
        self._progress.stop()
