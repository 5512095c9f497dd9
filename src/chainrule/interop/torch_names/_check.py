"""Which of PyTorch's names a script uses, read from its syntax: nothing of it is run.

A use is a dotted name that begins with an import of ``torch`` or ``torchvision``, as
``nn.Linear`` after ``import torch.nn as nn``. Local files that the script imports are read too.
Names that only run with a GPU (under ``if torch.cuda.is_available():``) or that the script can do
without (in ``try`` with ``except ImportError``) need not be there.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ._finder import ROOTS, _inside, module_of

OTHER_MEANING = {
    "torch.trace": "chainrule.trace records a function as a graph; x.trace() sums a diagonal",
    "torch.compile": "chainrule.compile takes functions; for a module compile its training step",
}
"""Names that chainrule gives to something else than PyTorch does."""

_ABSENT = object()
_FORGIVING = {"ImportError", "ModuleNotFoundError", "AttributeError", "Exception", "BaseException"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True, order=True)
class NameUse:
    """One place where a script names something of PyTorch's.

    Attributes:
        path: the file.
        line: its line, from 1.
        name: the full dotted name, as ``torch.nn.Linear``.
        missing: the part of the name that chainrule lacks; empty when all is there.
        hint: names near it, or what chainrule means by it.
    """

    path: str
    line: int
    name: str
    missing: str = ""
    hint: str = ""


def check_script(path: Path) -> list[NameUse]:
    """Every use of PyTorch's names in a script and in the local files that it imports.

    Args:
        path: the script.

    Returns:
        The uses in the order of files and lines.

    Raises:
        SyntaxError: when one of the files is no Python.
        OSError: when one cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     script = Path(folder, "script.py")
        ...     _ = script.write_text("import torch\\nx = torch.zeros(2)\\ntorch.hstak([x])")
        ...     [(use.line, use.name, use.hint) for use in check_script(script) if use.missing]
        [(3, 'torch.hstak', 'hstack, stack, vstack')]
    """
    root = path.resolve().parent
    waiting, seen, uses = [path.resolve()], {path.resolve()}, []
    shown = {path.resolve(): str(path)}
    while waiting:
        file = waiting.pop(0)
        tree = ast.parse(file.read_bytes(), filename=str(shown[file]))
        for local in _local_files(tree, file, root):
            if local not in seen:
                seen.add(local)
                waiting.append(local)
                shown[local] = str(path.parent / local.relative_to(root))
        reader = _Reader()
        reader.visit(tree)
        for line, name, needed in sorted(set(reader.found)):
            use = _resolved(shown[file], line, name)
            if needed or not use.missing:
                uses.append(use)
    return uses


def _local_files(tree: ast.Module, file: Path, root: Path) -> Iterator[Path]:
    """The files beside the script that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            base = root
        elif isinstance(node, ast.ImportFrom):
            base = root if node.level == 0 else file.parents[node.level - 1]
            module = node.module or ""
            names = [module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)]
        else:
            continue
        for name in names:
            yield from _files_of(base, name, root)


def _files_of(base: Path, name: str, root: Path) -> Iterator[Path]:
    parts = [part for part in name.split(".") if part]
    for count in range(1, len(parts) + 1):
        place = base.joinpath(*parts[:count])
        for candidate in (place.with_suffix(".py"), place / "__init__.py"):
            if candidate.is_file() and candidate.resolve().is_relative_to(root):
                yield candidate.resolve()


class _Reader(ast.NodeVisitor):
    """Collects (line, dotted name, whether it must be there) from one file."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str, bool]] = []
        self._scopes: list[dict[str, str | None]] = [{}]
        self._needed = True

    def _use(self, node: ast.AST, name: str) -> None:
        self.found.append((getattr(node, "lineno", 0), name, self._needed))

    def _meaning(self, name: str) -> str | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return None

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            first = alias.name.partition(".")[0]
            if first in ROOTS:
                self._use(node, alias.name)
                self._scopes[-1][alias.asname or first] = alias.name if alias.asname else first

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or module.partition(".")[0] not in ROOTS:
            return
        for alias in node.names:
            if alias.name == "*":
                self._use(node, module)
                inside = module_of(module)
                public = [one for one in dir(inside) if inside and not one.startswith("_")]
                self._scopes[-1].update({one: f"{module}.{one}" for one in public})
            else:
                self._use(node, f"{module}.{alias.name}")
                self._scopes[-1][alias.asname or alias.name] = f"{module}.{alias.name}"

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        meaning = self._meaning(inner.id) if isinstance(inner, ast.Name) else None
        if meaning is None:
            self.visit(inner)
        elif isinstance(node.ctx, ast.Load):
            self._use(node, ".".join([meaning, *reversed(parts)]))
        elif len(parts) > 1:  # a switch is set, as torch.backends.cudnn.benchmark = True
            self._use(node, ".".join([meaning, *reversed(parts[1:])]))

    def visit_Name(self, node: ast.Name) -> None:
        meaning = self._meaning(node.id)
        if meaning is not None and isinstance(node.ctx, ast.Load):
            self._use(node, meaning)

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        self.visit(test)
        asks = isinstance(test, ast.Call) and self._dotted(test.func) == "torch.cuda.is_available"
        self._visit_all(node.body, needed=not asks)
        self._visit_all(node.orelse)

    def visit_Try(self, node: ast.Try) -> None:
        forgiven = any(_forgives(handler) for handler in node.handlers)
        self._visit_all(node.body, needed=not forgiven)
        self._visit_all([*node.handlers, *node.orelse, *node.finalbody])

    def _dotted(self, node: ast.expr) -> str:
        before, self.found = self.found, []
        self.visit(node)
        names, self.found = self.found, before
        return names[0][1] if len(names) == 1 else ""

    def _visit_all(self, nodes: Iterable[ast.AST], needed: bool = True) -> None:
        before = self._needed
        self._needed = before and needed
        for node in nodes:
            self.visit(node)
        self._needed = before

    def _visit_function(self, node: Any) -> None:
        for outer in (*getattr(node, "decorator_list", ()), *_defaults(node.args)):
            self.visit(outer)
        body = node.body if isinstance(node.body, list) else [node.body]
        self._scopes.append(dict.fromkeys(_bound(node.args, body)))
        self._visit_all(body)
        self._scopes.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function


def _forgives(handler: ast.ExceptHandler) -> bool:
    kind = handler.type
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(one is None or (isinstance(one, ast.Name) and one.id in _FORGIVING) for one in kinds)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    notes = [one.annotation for one in every if one.annotation is not None]
    return [*arguments.defaults, *(one for one in arguments.kw_defaults if one), *notes]


def _bound(arguments: ast.arguments, body: Sequence[ast.AST]) -> set[str]:
    """The names that a function's arguments and assignments hide."""
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    names = {one.arg for one in (*every, arguments.vararg, arguments.kwarg) if one is not None}
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            waiting.extend(ast.iter_child_nodes(node))
    return names


def _resolved(path: str, line: int, name: str) -> NameUse:
    """The use, with what chainrule lacks of it."""
    if name in OTHER_MEANING:
        return NameUse(path, line, name, name, OTHER_MEANING[name])
    first, *rest = name.split(".")
    found: Any = module_of(first)
    at = first
    for part in rest:
        if not isinstance(found, (ModuleType, type)):
            break
        inner = _member(found, part)
        at = f"{at}.{part}"
        if inner is _ABSENT:
            near = difflib.get_close_matches(part, _public(found), 3, 0.6)
            return NameUse(path, line, name, at, ", ".join(near))
        found = inner
    return NameUse(path, line, name)


def _member(holder: Any, name: str) -> Any:
    if not isinstance(holder, ModuleType):
        return getattr(holder, name, _ABSENT)
    found = _inside(holder, name)
    return _ABSENT if found is None and not hasattr(holder, name) else found


def _public(holder: Any) -> list[str]:
    return [name for name in dir(holder) if not name.startswith("_")]


def describe(uses: Sequence[NameUse]) -> str:
    """What the check found, in words: one line, and one for each missing name.

    Example:
        >>> print(describe([NameUse("a.py", 1, "torch"), NameUse("a.py", 2, "torch.zeros")]))
        2 torch names used, all present
        >>> print(describe([NameUse("a.py", 2, "torch.hstak", "torch.hstak", "hstack, stack")]))
        1 of 1 torch names used is missing; nothing was run
          a.py:2: torch.hstak (near: hstack, stack)
    """
    names = {use.name for use in uses}
    missing = [use for use in uses if use.missing]
    if not missing:
        return f"{len(names)} torch name{'' if len(names) == 1 else 's'} used, all present"
    count = len({use.name for use in missing})
    verb = "is" if count == 1 else "are"
    lines = [f"{count} of {len(names)} torch names used {verb} missing; nothing was run"]
    for use in missing:
        meant = use.hint if use.name in OTHER_MEANING else f"near: {use.hint}"
        lines.append(
            f"  {use.path}:{use.line}: {use.missing}" + (f" ({meant})" if use.hint else "")
        )
    return "\n".join(lines)
