"""Run the checks of the repository: `python tools/check.py lint test`.

`lint` is formatting, types, floors and file length; `test` is the four tiers of tests, each with
the time it is allowed on two cores. Tiers can be named: `python tools/check.py core engines`.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LONGEST_FILE = 800
"""Lines. Files are meant to stay under 500; here the check stops."""

BUDGETS = {"core": 4, "engines": 5, "realdata": 4, "browser": 2}
"""Minutes for each tier. Taking longer is reported; taking twice as long fails."""

PARALLEL = ("engines",)
"""Tiers whose files are shared out to two processes: compiling is most of their time."""

LINT = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy --strict": ["mypy"],
    "import-linter": ["lint-imports"],
}


def run(command: list[str], seconds: float | None = None) -> tuple[int, str]:
    """Run a command of this environment, showing its output; return its status and that output."""
    program = BIN / command[0]
    process = subprocess.Popen(
        [str(program), *command[1:]],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    lines: list[str] = []
    deadline = time.monotonic() + seconds if seconds else None
    for line in process.stdout:
        lines.append(line)
        print(line, end="", flush=True)
        if deadline is not None and time.monotonic() > deadline:
            process.kill()
            process.wait()
            return 124, "".join(lines)
    return process.wait(), "".join(lines)


def long_files() -> list[str]:
    """Return a line for each source file that is longer than the hard stop."""
    found = []
    for folder in ("src", "tests", "tools", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            count = path.read_text(encoding="utf-8").count("\n")
            if count > LONGEST_FILE:
                found.append(f"{path.relative_to(ROOT)}: {count} lines, the stop is {LONGEST_FILE}")
    return found


def lint() -> bool:
    """Run every static check, even after one has failed, and say which failed."""
    failed = []
    for name, command in LINT.items():
        print(f"-- {name}", flush=True)
        if run(command)[0] != 0:
            failed.append(name)
    too_long = long_files()
    if too_long:
        print("\n".join(too_long))
        failed.append("file length")
    print(f"lint: {'failed: ' + ', '.join(failed) if failed else 'clean'}", flush=True)
    return not failed


def install(programs: tuple[str, ...], packages: tuple[str, ...], purpose: str) -> None:
    """Install Debian's packages where that can be done without asking, unless a program is there.

    Tests that need them say that they skip where they are missing.
    """
    apt = shutil.which("apt-get")
    if any(shutil.which(name) for name in programs) or apt is None or os.geteuid() != 0:
        return
    print(f"-- installing {', '.join(packages)} for {purpose}", flush=True)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run([apt, "-q", *arguments], env=environment, **quiet, check=False)
        if done.returncode != 0:
            print(f"   apt-get failed: {purpose} will say that they skip")
            return


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The emulator, a linker and the C library of 64-bit Arm: 17 MB to download.
ARM = ("qemu-user", "binutils-aarch64-linux-gnu", "libc6-arm64-cross")
# An emulator of a whole PC with AVX-512, a linker and the C library's mathematics.
PC = ("bochs", "bochs-term", "binutils", "libc6-dev")


def tier(name: str) -> tuple[bool, dict[str, int], float]:
    """Run one tier; return whether it passed, its counts and the seconds it took."""
    if name == "browser":
        install(BROWSERS, BROWSERS[:1], "tests in a browser")
    if name == "engines":
        install(("aarch64-linux-gnu-ld",), ARM, "tests of code for Arm")
        install(("bochs",), PC, "tests of code for AVX-512")
    targets = [f"tests/{name}"]
    if name == "core":  # the examples in docstrings are tests too
        targets += ["--doctest-modules", "src/chainrule"]
    budget = 60 * BUDGETS[name]
    print(f"-- tests: {name} (budget {BUDGETS[name]} minutes)", flush=True)
    start = time.monotonic()
    workers = ["-n", "2", "--dist", "loadfile"] if name in PARALLEL else []
    status, output = run(["pytest", "-q", "--durations=5", *workers, *targets], seconds=2 * budget)
    seconds = time.monotonic() - start
    counts = dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
    tail = output.strip().splitlines()[-1] if output.strip() else ""
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", tail):
        counts[word] = int(number)
    if seconds > budget:
        print(f"   {name} took {seconds:.0f} s, more than its budget of {budget} s")
    empty = status == 5  # pytest's status for "no tests were collected"
    return status == 0 or empty, counts, seconds


def test(names: list[str]) -> bool:
    """Run tiers and print one table and one closing line for all of them."""
    results = {name: tier(name) for name in names if (ROOT / "tests" / name).is_dir()}
    print("\ntier       passed  failed  skipped  seconds")
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for name, (_, counts, seconds) in results.items():
        counts["failed"] += counts.pop("error")
        total = {word: total[word] + counts[word] for word in total}
        row = "".join(f"{counts[word]:8d}" for word in ("passed", "failed", "skipped"))
        print(f"{name:9s}{row} {seconds:8.0f}")
    broken = [name for name, (good, _, _) in results.items() if not good]
    if broken:
        print(f"failed: {', '.join(broken)}")
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return not broken


def main(words: list[str]) -> int:
    """Run what is named: `lint`, `test`, or tiers."""
    unknown = set(words) - {"lint", "test", *BUDGETS}
    if unknown or not words:
        print(f"usage: check.py [lint] [test] [{'] ['.join(BUDGETS)}]", file=sys.stderr)
        return 2
    good = lint() if "lint" in words else True
    tiers = list(BUDGETS) if "test" in words else [name for name in BUDGETS if name in words]
    if tiers:
        good = test(tiers) and good
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
