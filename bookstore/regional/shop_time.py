"""The time zone of the store: of every date that a person reads, and of every "today".

Moments are stored in UTC.  The rules of the zones are those of the package `tzdata`.
"""

from datetime import UTC, date, datetime, time, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

from tzlocal import get_localzone

_name = ""


def set_zone(name: str) -> None:
    """Use this zone in this process (IANA, such as Europe/Berlin); "" is that of the machine."""
    global _name
    _name = name


def zone() -> tzinfo:
    """The time zone of the store."""
    return _zone(_name)


@cache
def _zone(name: str) -> tzinfo:
    return ZoneInfo(name) if name else get_localzone()


def local(moment: datetime) -> datetime:
    """This moment in the time zone of the store."""
    return moment.astimezone(zone())


def day_of(moment: datetime) -> date:
    """The day in the store at this moment."""
    return local(moment).date()


def start_of(day: date) -> datetime:
    """The first moment of a day in the store.

    That is not 0:00 where summer time begins at midnight (Santiago, Cairo, Beirut, Havana).
    """
    # A time that does not exist has the offset before the gap, so that it becomes the gap's end.
    midnight = datetime.combine(day, time.min, zone())
    return midnight.astimezone(UTC).astimezone(zone())
