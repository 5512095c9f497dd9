"""`chainrule run SCRIPT.py`: a PyTorch script, unmodified, on chainrule."""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import Annotated, Any, Optional, TextIO

import typer

SETTINGS = {"allow_interspersed_args": False, "ignore_unknown_options": True}
"""What stands behind the script's name is the script's, options too."""


def run(
    script: Annotated[Path, typer.Argument(help="A Python script that imports torch.")],
    arguments: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads the older form in every version
        typer.Argument(help="What the script finds in sys.argv."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the names that it uses, and run nothing.")
    ] = False,
) -> None:
    """Run a PyTorch script as it is: torch and torchvision mean chainrule in it.

    First every name of theirs that the script and its local files use is looked up; if some are
    missing, they are listed with their lines, and nothing is run.
    """
    status = run_script(script, arguments or [], check=check)
    if status:
        raise typer.Exit(status)


def run_script(script: Path, arguments: list[str], check: bool = False) -> int:
    """Check a script's names, and run it as ``python SCRIPT ...`` would.

    Args:
        script: the file.
        arguments: the rest of its ``sys.argv``.
        check: whether to stop after the check.

    Returns:
        The exit status: 0, 1 after an exception of the script's, 2 when names are missing.

    Raises:
        SystemExit: when the script leaves by itself.
    """
    from ..interop.torch_names import check_script, describe

    if not script.is_file():
        print(f"error: there is no script {script}", file=sys.stderr)
        return 2
    try:
        uses = check_script(script)
        code = compile(script.read_bytes(), str(script.absolute()), "exec", dont_inherit=True)
    except SyntaxError as error:
        print("".join(traceback.format_exception_only(error)), end="", file=sys.stderr)
        return 1
    print(describe(uses), file=sys.stderr, flush=True)
    if any(use.missing for use in uses):
        return 2
    return 0 if check else _execute(code, script, arguments)


def _execute(code: CodeType, script: Path, arguments: list[str]) -> int:
    from ..interop.torch_names import serving

    main = ModuleType("__main__")
    main.__dict__.update(__file__=code.co_filename, __builtins__=__builtins__)
    sys.modules["__main__"] = main
    sys.argv = [str(script), *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = str(script.resolve().parent)
    warnings.showwarning = _show
    with serving():
        try:
            exec(code, main.__dict__)  # noqa: S102 - the user's own script, as python runs it
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            own = _from_script(error.__traceback__, code.co_filename)
            traceback.print_exception(error.with_traceback(own))
            return 1
    return 0


def _from_script(trace: TracebackType | None, filename: str) -> TracebackType | None:
    """The part of a traceback that begins in the script, as python shows it."""
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename != filename:
        first = first.tb_next
    return first or trace


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> Any:
    """Show a warning with its place, as python does."""
    text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)
