"""`chainrule run`: the names that a script uses, imports that give chainrule, running as python."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from chainrule.interop.torch_names import NameUse, check_script, describe, serving

SOURCE = Path(__file__).resolve().parents[2] / "src"
RUN = "from chainrule.cli import main; main()"
HEAD = "import torch\nimport torch.nn as nn\nimport torch.nn.functional as F\n"


def write(folder: Path, name: str, code: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    return path


def check(folder: Path, code: str) -> list[NameUse]:
    return check_script(write(folder, "script.py", code))


def missing(uses: list[NameUse]) -> list[tuple[int, str]]:
    return [(use.line, use.missing) for use in uses if use.missing]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, "run", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_names_are_collected_with_their_lines(tmp_path: Path) -> None:
    uses = check(tmp_path, HEAD + "x = torch.zeros(2)\nlayer = nn.Linear(2, 3)\ny = F.relu(x)\n")
    assert [(use.line, use.name) for use in uses] == [
        (1, "torch"),
        (2, "torch.nn"),
        (3, "torch.nn.functional"),
        (4, "torch.zeros"),
        (5, "torch.nn.Linear"),
        (6, "torch.nn.functional.relu"),
    ]
    assert describe(uses) == "6 torch names used, all present"


def test_each_name_counts_once(tmp_path: Path) -> None:
    uses = check(tmp_path, "import torch\ntorch.ones(1)\ntorch.ones(2)\n")
    assert describe(uses) == "2 torch names used, all present"
    assert describe(check(tmp_path, "import torch\n")) == "1 torch name used, all present"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import torch\ntorch.zeroes(2)", [(2, "torch.zeroes")]),
        ("import torch as t\n\nt.nn.Linera(2, 3)", [(3, "torch.nn.Linera")]),
        (
            "import torch.distributed as dist\ndist.init()",
            [(1, "torch.distributed"), (2, "torch.distributed")],
        ),
        ("from torch import nn\nclass A(nn.Modul): pass", [(2, "torch.nn.Modul")]),
        ("from torch.nn import Linear, Linnear", [(1, "torch.nn.Linnear")]),
        ("from torch.nn import functional as F\nF.rellu", [(2, "torch.nn.functional.rellu")]),
        ("import torchvision\ntorchvision.models.resnet18()", [(2, "torchvision.models")]),
        ("import torch\ntorch.Tensor.nothing", [(2, "torch.Tensor.nothing")]),
        ("import torch\ndef f():\n    return torch.no", [(3, "torch.no")]),
        ("def f():\n    import torch as q\n    q.no", [(3, "torch.no")]),
        ("import torch\nf = lambda x, y=torch.no: x", [(2, "torch.no")]),
        ("import torch\ndef f(x: torch.Tensr): pass", [(2, "torch.Tensr")]),
        ("import torch\n@torch.no()\ndef f(): pass", [(2, "torch.no")]),
        ("import torch\ntorch.backends.cudnn.benchmark = True", []),
        ("import torch.backends.cudnn as cudnn\ncudnn.deterministic = True", []),
        ("import torch\ntorch.nn.Linear(2, 3).weight.nothing", []),
        ("import torch.nn as nn\ndef f(nn): return nn.nothing", []),
        ("import torch.nn as nn\nf = lambda nn: nn.nothing", []),
        ("import torch\ndef f():\n    torch = 3\n    return torch.nothing", []),
        ("from torch.nn import *\nLinear(2, 3)", []),
        ("from .torch import x\nimport numpy.nothing", []),
        ("import torch\ntorch.trace(torch.eye(2))", [(2, "torch.trace")]),
    ],
)
def test_what_is_missing(code: str, expected: list[Any], tmp_path: Path) -> None:
    assert missing(check(tmp_path, code)) == expected


def test_near_names_are_given(tmp_path: Path) -> None:
    (use,) = [use for use in check(tmp_path, "from torch import nn\nnn.Linera") if use.missing]
    assert "Linear" in use.hint
    assert f"{tmp_path / 'script.py'}:2: torch.nn.Linera (near: Linear" in describe([use])
    (use,) = [use for use in check(tmp_path, "import torch\ntorch.trace") if use.missing]
    assert "x.trace() sums a diagonal" in describe([use])


def test_names_that_a_script_can_do_without_need_not_be_there(tmp_path: Path) -> None:
    code = """
        import torch
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            SummaryWriter = None
        try:
            torch.nothing()
        except (AttributeError, ValueError):
            pass
        try:
            torch.something()
        except ValueError:
            torch.other()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        else:
            torch.cuda.no()
    """
    uses = check(tmp_path, code)
    assert [name for _, name in missing(uses)] == [
        "torch.something",
        "torch.other",
        "torch.cuda.no",
    ]


def test_local_files_are_read_too(tmp_path: Path) -> None:
    write(tmp_path, "helper.py", "import torch\ntorch.no1\nimport script\n")
    write(tmp_path, "models/__init__.py", "from .net import Net\n")
    write(tmp_path, "models/net.py", "from torch import nn\nfrom . import parts\nNet = nn.no2\n")
    write(tmp_path, "models/parts.py", "from torch import nn\nnn.no3\n")
    write(tmp_path, "unused.py", "import torch\ntorch.no4\n")
    script = write(tmp_path, "script.py", "import helper, os\nfrom models import Net\n")
    found = {(Path(use.path).name, use.missing) for use in check_script(script) if use.missing}
    assert found == {
        ("helper.py", "torch.no1"),
        ("net.py", "torch.nn.no2"),
        ("parts.py", "torch.nn.no3"),
    }


def test_imports_give_chainrule_inside_the_block_only() -> None:
    import chainrule

    before = {name for name in sys.modules if name.partition(".")[0] == "torch"}
    kept = sys.modules.get("torch")
    with serving():
        import torch
        import torch.backends.cudnn as cudnn
        import torch.nn.functional as functional
        import torchvision.datasets
        import torchvision.transforms as transforms
        from torch.utils.data import DataLoader

        assert torch is chainrule
        assert functional is chainrule.nn.functional
        assert cudnn is chainrule.backends.cudnn
        assert torchvision.datasets is chainrule.data.datasets
        assert transforms is chainrule.data.transforms
        assert DataLoader is chainrule.data.DataLoader
        assert chainrule.__spec__ is not None and chainrule.__spec__.name == "chainrule"
        with pytest.raises(ModuleNotFoundError, match=r"nothing that stands for torch\.jit"):
            import torch.jit
    assert sys.modules.get("torch") is kept
    assert {name for name in sys.modules if name.partition(".")[0] == "torch"} == before


def test_a_script_runs_as_with_python(tmp_path: Path) -> None:
    write(tmp_path, "folder/beside.py", "VALUE = 7\n")
    code = """
        import sys
        import torch
        from beside import VALUE
        print(__name__, sys.argv, VALUE)
        print(__file__)
        print(sys.path[0])
        print(sys.modules["__main__"].VALUE, torch.__name__, torch.ones(2).sum().item())
        print([name for name in sys.modules if name.startswith("torch._")])
    """
    write(tmp_path, "folder/script.py", code)
    done = run(tmp_path, "folder/script.py", "one", "--lr", "0.1", "--help", "-x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "__main__ ['folder/script.py', 'one', '--lr', '0.1', '--help', '-x'] 7",
        str(tmp_path / "folder" / "script.py"),
        str(tmp_path / "folder"),
        "7 chainrule 2.0",
        "[]",
    ]
    assert done.stderr == "3 torch names used, all present\n"


def test_nothing_runs_when_names_are_missing(tmp_path: Path) -> None:
    write(tmp_path, "script.py", "import torch\nprint('ran')\ntorch.hstak([])\ntorch.hstak([])\n")
    done = run(tmp_path, "script.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[:2] == [
        "1 of 2 torch names used is missing; nothing was run",
        "  script.py:3: torch.hstak (near: hstack, stack, vstack)",
    ]
    assert "script.py:4: torch.hstak" in done.stderr


def test_check_runs_nothing(tmp_path: Path) -> None:
    write(tmp_path, "script.py", "import torch\nprint('ran')\n")
    done = run(tmp_path, "--check", "script.py")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "1 torch name used, all present\n"


def test_a_traceback_begins_in_the_script(tmp_path: Path) -> None:
    code = "import torch\n\ndef f(x):\n    return x @ torch.ones(3)\n\nf(torch.ones(2))\n"
    write(tmp_path, "script.py", code)
    done = run(tmp_path, "script.py")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[2] == f'  File "{tmp_path / "script.py"}", line 6, in <module>'
    assert any("return x @ torch.ones(3)" in line for line in lines)
    assert "ShapeError" in done.stderr and "run_script" not in done.stderr


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("import sys; sys.exit(5)", 5, ""),
        ("raise SystemExit", 0, ""),
        ("import torch\nx = (", 1, "SyntaxError"),
        ("raise ValueError('mine')", 1, "ValueError: mine"),
        ("import warnings; warnings.warn('look', stacklevel=1)", 0, "script.py:1: UserWarning"),
    ],
)
def test_how_a_script_ends(code: str, status: int, text: str, tmp_path: Path) -> None:
    write(tmp_path, "script.py", code)
    done = run(tmp_path, "script.py")
    assert done.returncode == status
    assert text in done.stderr


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    done = run(tmp_path, "nowhere.py")
    assert (done.returncode, done.stderr) == (2, "error: there is no script nowhere.py\n")


def test_torch_itself_stays_out_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    code = "import sys, torch\nprint('torch._C' in sys.modules, torch.__name__)"
    write(tmp_path, "script.py", code)
    done = run(tmp_path, "script.py")
    assert done.stdout == "False chainrule\n", done.stderr
