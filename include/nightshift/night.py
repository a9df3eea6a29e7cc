"""A night: a half-open interval of time, `[start, end)`, in UTC.

What learns in a night sees events before `start`; what judges sees those in `[start, end)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from nightshift.errors import UsageError

DAY = timedelta(days=1)
INNER = "-inner"
_EXAMPLE = "give a date (2017-11-20), or start/end (2017-11-20/2017-11-27, times allowed)"
_STAMP = re.compile(r"(\d{8}T\d{6}Z)(?:\.(\d{6}))?")
_KEY = re.compile(rf"({_STAMP.pattern})-({_STAMP.pattern})")


def parse_time(text: str) -> datetime:
    """An ISO 8601 date or time (or a `stamp`) as aware UTC; one without a zone is taken as UTC."""
    stamped = _STAMP.fullmatch(text.strip())
    try:
        if stamped is not None:
            whole, micros = stamped.groups()
            return datetime.fromisoformat(whole).replace(microsecond=int(micros or 0))
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a date or time.", hint=_EXAMPLE) from error


def stamp(moment: datetime) -> str:
    """A time as a path component that sorts: `20171120T000000Z`, with microseconds behind if any.

    They stand behind the `Z`: before it, half past a second would sort before the second.
    """
    moment = moment.astimezone(UTC)
    seconds = f"{moment:%Y}".zfill(4) + f"{moment:%m%dT%H%M%SZ}"
    return seconds + (f".{moment.microsecond:06}" if moment.microsecond else "")


def microseconds(moment: datetime) -> int:
    """A time as events in memory have it: microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Night:
    """The half-open interval `[start, end)`; both ends aware, in UTC.

    An `inner` night is one that `tune` cuts out of the past: same interval or not, its datasets
    never lie where a real night's do.
    """

    start: datetime
    end: datetime
    inner: bool = False

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            moment: datetime = getattr(self, name)
            if moment.tzinfo is None:
                raise UsageError(f"night.{name} has no time zone.", hint="pass an aware datetime")
            object.__setattr__(self, name, moment.astimezone(UTC))
        if self.end <= self.start:
            raise UsageError(
                f"A night ends after it starts; got {self.start} to {self.end}.", hint=_EXAMPLE
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2017-11-20` (that day), `start/end`, or a night's key.

        >>> Night.parse("2017-11-20").key
        '2017-11-20'
        >>> Night.parse("2017-11-20/2017-11-27").key
        '20171120T000000Z-20171127T000000Z'
        """
        key = _KEY.fullmatch(text.strip())
        first, slash, last = (key[1], "-", key[4]) if key else text.partition("/")
        start = parse_time(first)
        try:
            return cls(start, parse_time(last) if slash else start + DAY)
        except OverflowError as error:
            raise UsageError(f"There is no day after {text!r}.", hint=_EXAMPLE) from error

    @property
    def key(self) -> str:
        """The partition key: the date for a UTC day, else both ends; safe in a path."""
        return f"{self._interval}{INNER if self.inner else ''}"

    @property
    def _interval(self) -> str:
        if self.end - self.start == DAY and self.start == self.start.replace(
            hour=0, minute=0, second=0, microsecond=0
        ):
            return self.start.date().isoformat()
        return f"{stamp(self.start)}-{stamp(self.end)}"

    def __str__(self) -> str:
        return self.key


def nights_between(first: datetime, last: datetime) -> list[Night]:
    """Daily nights (UTC) from the day of `first` up to and including the day of `last`."""
    first = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = (last - first) // DAY
    return [Night(first + i * DAY, first + (i + 1) * DAY) for i in range(days + 1)]
