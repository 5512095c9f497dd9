"""The command line: `chainrule derive`, `train`, `demo`, `runs`, `resume`, `report`."""

from __future__ import annotations

import sys
import warnings
from typing import Any


def main() -> None:
    """Run the command line; a mistake of the user's prints what to do and exits with 2."""
    from ..errors import ChainruleError
    from .app import app

    warnings.showwarning = _note
    try:
        app()
    except ChainruleError as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        raise SystemExit(130) from None


def _fail(text: str) -> None:
    """Print an error and leave with 2, the status of a wrong command line."""
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(2)


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as a note to the user, without the line of our code that raised it."""
    print(f"note: {message}", file=sys.stderr)
