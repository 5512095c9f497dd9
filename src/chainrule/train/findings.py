"""What a diagnosis found in a run, as plain data that the store keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ..errors import OptionError

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[str, ...] = get_args(Severity)


@dataclass(frozen=True)
class Finding:
    """One thing that a diagnosis found.

    Attributes:
        kind: what it is, for example ``"dead-units"``.
        severity: ``"info"``, ``"warning"`` or ``"error"``.
        where: the layer, column, epoch or file concerned; '' for the whole run.
        evidence: the numbers that show it, by name: anything JSON can hold.
        why: what the numbers mean, in a sentence.
        remedy: what to do.

    Example:
        >>> finding = Finding("dead-units", "warning", "0", {"share": 0.4}, "40 % never fire.",
        ...                   "Lower the learning rate.")
        >>> print(finding)
        warning dead-units (0): 40 % never fire. Lower the learning rate.
    """

    kind: str
    severity: Severity
    where: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise OptionError(
                f"a finding's severity must be one of {', '.join(SEVERITIES)}.\n"
                f"  given: {self.severity!r}"
            )

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.severity} {self.kind}{place}: {self.why} {self.remedy}".rstrip()
