"""The command line: `chainrule derive`, `train`, `demo`, `runs`, `resume`, `report`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a mistake of the user's prints what to do and exits with 2."""
    from ..errors import ChainruleError
    from .app import app

    try:
        app()
    except (ChainruleError, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("\nstopped.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader, `head` for example, has seen enough
        sys.stderr.close()
        raise SystemExit(0) from None


def fail(text: str) -> None:
    """Print an error and leave with 2, the status of a wrong command line."""
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(2)
