"""Dates in tables: days since 1970-01-01, where their order of day and month is certain."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?"
)
_PARTS = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})")
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400.0

Order = str
"""Which part is where: "ymd", "dmy" or "mdy"."""


def days_of(texts: Sequence[str], missing: Collection[str]) -> tuple[Floats, list[int]] | None:
    """Give the days since 1970-01-01 of a column of dates, and the rows that are none.

    Dates are 2024-03-31 (also with a time and a time zone), 2024/03/31, 31.03.2024, and with
    slashes or dashes at the day's or the month's place where a day above 12 shows which is which.

    Returns:
        (float64 (rows,), NaN where missing or no date; the rows that are no date), or None when
        these are not dates or their order cannot be told.

    Example:
        >>> days_of(["1970-01-02", "", "1970-01-03T12:00"], {""})[0].tolist()
        [1.0, nan, 2.5]
        >>> days_of(["03/31/2024", "02/01/2024"], {""})[0].tolist()
        [19813.0, 19754.0]
        >>> days_of(["03/04/2024"], {""}) is None
        True
    """
    present = [text for text in texts if text not in missing]
    # Most columns are no dates, which their first cells show.
    if not present or not any(map(_looks_like_date, present[:3])):
        return None
    orders = _orders(present)
    if len(orders) != 1:
        return None
    order = orders.pop()
    days = np.array([math.nan if text in missing else _day(text, order) for text in texts])
    wrong = [row for row, text in enumerate(texts) if text not in missing and math.isnan(days[row])]
    return days, wrong


def ambiguous(texts: Iterable[str]) -> bool:
    """Say whether all texts are dates of which nobody can tell the day from the month.

    >>> ambiguous(["03/04/2024", "05/06/2024"]), ambiguous(["31/04/2024"]), ambiguous([])
    (True, False, False)
    """
    present = list(texts)
    dates = bool(present) and all(_PARTS.fullmatch(text) for text in present)
    return dates and len(_orders(present)) > 1


def _looks_like_date(text: str) -> bool:
    return bool(_ISO.fullmatch(text) or _PARTS.fullmatch(text))


def _orders(texts: list[str]) -> set[Order]:
    """Give the orders of day and month that all the texts allow."""
    possible = {"ymd", "dmy", "mdy"}
    for text in texts:
        parts = _PARTS.fullmatch(text)
        if parts is None:
            if _ISO.fullmatch(text):
                possible &= {"ymd"}
            continue
        first, mark, second, third = parts.groups()
        if len(first) == 4:
            possible &= {"ymd"}
        elif mark == ".":  # with points the day is always first
            possible &= {"dmy"} if len(third) == 4 else set()
        else:
            possible &= {"dmy", "mdy"} if len(third) == 4 else set()
            if int(first) > 12:
                possible -= {"mdy"}
            if int(second) > 12:
                possible -= {"dmy"}
    return possible


def _day(text: str, order: Order) -> float:
    """Give the days since 1970-01-01, or NaN when it is no date."""
    try:
        parts = _PARTS.fullmatch(text)
        if parts is not None:
            year_at, month_at, day_at = (order.index(letter) for letter in "ymd")
            numbers = [int(parts.group(k)) for k in (1, 3, 4)]
            if len(parts.group((1, 3, 4)[year_at])) != 4:
                return math.nan
            moment = date(numbers[year_at], numbers[month_at], numbers[day_at])
            return float(moment.toordinal() - _EPOCH)
        if not _ISO.fullmatch(text):
            return math.nan
        return day_number(datetime.fromisoformat(text.replace(",", ".")))
    except (ValueError, OverflowError):
        return math.nan


def day_number(moment: datetime) -> float:
    """Give a moment's days since 1970-01-01; with a time zone, as in UTC.

    >>> day_number(datetime(1970, 1, 2, 6))
    1.25
    """
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - datetime(1970, 1, 1)).total_seconds() / _DAY


def date_text(days: float) -> str:
    """Write days since 1970-01-01 as a date, with the time where there is one.

    >>> date_text(19813.0), date_text(0.5)
    ('2024-03-31', '1970-01-01 12:00:00')
    """
    try:
        whole = date.fromordinal(_EPOCH + math.floor(days)).isoformat()
    except (ValueError, OverflowError):
        return f"day {days:g}"
    seconds = min(round((days - math.floor(days)) * _DAY), int(_DAY) - 1)
    if not seconds:
        return whole
    return f"{whole} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
