"""What every test leans on: tiers from folders, shared data, reproducible property tests."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
TIERS = ("core", "engines", "realdata", "browser")

# In CI the examples are the same in every run; elsewhere a failure prints the blob that repeats it.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    print_blob=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("here", deadline=None, print_blob=True, max_examples=25)
settings.load_profile("ci" if os.environ.get("CI") else "here")

# Jobs in the background of a shell start with interrupts ignored; tests that interrupt need them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the tier that its folder names."""
    for item in items:
        for tier in TIERS:
            if (ROOT / "tests" / tier) in item.path.parents:
                item.add_marker(tier)


def data_folder() -> Path:
    """Return the folder of real data: `$CHAINRULE_TEST_DATA`, or `shared/data` by the checkout."""
    named = os.environ.get("CHAINRULE_TEST_DATA")
    return Path(named) if named else ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Give `shared_data("tabular/iris.csv")`: the path, or a skip that says what is missing."""

    def find(name: str) -> Path:
        path = data_folder() / name
        if not path.exists():
            pytest.skip(f"no real data at {path}: set CHAINRULE_TEST_DATA to the folder holding it")
        return path

    return find


@pytest.fixture(autouse=True)
def _own_run_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs that a test stores out of the checkout, and compile everything anew."""
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    monkeypatch.setenv("CHAINRULE_HOME", str(tmp_path / "chainrule-runs"))
