"""The command line: `chainrule derive`, `train`, `predict`, `data`, `runs`, `resume`, `report`...

Exit codes: 0, it is done; 1, it failed although it was asked for rightly (a full disk, a training
that breaks, a script that raises); 2, it was asked for wrongly (an option, a name, a file that
cannot be used); 130, it was stopped with Ctrl+C. Results go to standard output, messages to
standard error; with `--json` standard output is one JSON document.
"""

from __future__ import annotations

import errno
import sys
import warnings
from typing import Any

FAILED, WRONG_USE, STOPPED = 1, 2, 130
_NO_SUCH_PLACE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR)
_NO_SUCH_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def main() -> None:
    """Run the command line; an error prints what to do and exits with 1 or 2."""
    from ..errors import ChainruleError, EngineError, MissingExtraError, NonFiniteError
    from ..io import StorageError
    from .app import app

    warnings.showwarning = _note
    try:
        app()
    except StorageError as error:
        _fail(str(error), WRONG_USE if error.errno in _NO_SUCH_PLACE else FAILED)
    except (NonFiniteError, EngineError, MissingExtraError) as error:
        _fail(str(error), FAILED)
    except ChainruleError as error:
        _fail(str(error), WRONG_USE)
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        sys.stderr.close()
        raise SystemExit(0) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        status = WRONG_USE if isinstance(error, _NO_SUCH_FILE) else FAILED
        _fail(f"{place}{error.strerror or error}", status)
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        raise SystemExit(STOPPED) from None


def _fail(text: str, status: int) -> None:
    """Print an error and leave."""
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(status)


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as a note to the user, without the line of our code that raised it."""
    print(f"note: {message}", file=sys.stderr)
