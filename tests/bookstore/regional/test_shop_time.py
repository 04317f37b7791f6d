"""Days in the store's time zone, in every zone that there is."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest

from bookstore.regional import shop_time
from config.settings import InvalidSettings, read_settings
from tests.e2e.programs import ROOT

YEARS = (2025, 2026, 2027)


@pytest.fixture(autouse=True)
def zone_of_the_machine():
    yield
    shop_time.set_zone("")


def changes(zone):
    """The days on which the offset of a zone changes, and their neighbours."""
    day, last = date(YEARS[0], 1, 1), date(YEARS[-1], 12, 31)
    before = None
    while day <= last:
        offset = datetime(day.year, day.month, day.day, 12, tzinfo=zone).utcoffset()
        if before is not None and offset != before:
            yield from (day - timedelta(days=1), day, day + timedelta(days=1))
        before = offset
        day += timedelta(days=1)


def test_a_day_begins_with_its_first_moment_in_every_zone():
    checked = 0
    for name in sorted(available_timezones()):
        shop_time.set_zone(name)
        for day in {*changes(ZoneInfo(name)), date(2026, 3, 1)}:
            start, end = shop_time.start_of(day), shop_time.start_of(day + timedelta(days=1))
            just_before = start.astimezone(UTC) - timedelta(microseconds=1)
            assert shop_time.day_of(start) == day, (name, day)
            assert shop_time.day_of(just_before) == day - timedelta(days=1), (name, day)
            hours = (end.astimezone(UTC) - start.astimezone(UTC)) / timedelta(hours=1)
            assert 22 <= hours <= 26, (name, day)
            checked += 1
    assert checked > 1000


@pytest.mark.parametrize(
    ("name", "day", "clock"),
    [
        ("America/Santiago", date(2026, 9, 6), "01:00"),
        ("Africa/Cairo", date(2026, 4, 24), "01:00"),
        ("Asia/Beirut", date(2026, 3, 29), "01:00"),
        ("America/Havana", date(2026, 3, 8), "01:00"),
        ("Atlantic/Azores", date(2026, 3, 29), "01:00"),
        ("Europe/Berlin", date(2027, 3, 28), "00:00"),
    ],
)
def test_where_summer_time_begins_at_midnight(name, day, clock):
    shop_time.set_zone(name)

    assert f"{shop_time.start_of(day):%Y-%m-%d %H:%M}" == f"{day} {clock}"


@pytest.mark.parametrize("name", ["Berlin", "Europe/berlin ", "UTC+1", "../etc/passwd"])
def test_an_unknown_zone_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.setenv("BOOKSTORE_TIME_ZONE", name)

    with pytest.raises(InvalidSettings, match="BOOKSTORE_TIME_ZONE"):
        read_settings(tmp_path / "none")


#: A date of the machine, not of the store.
MACHINE = re.compile(r"\.astimezone\(\)|date\.today\(|datetime\.now\(\)|fromtimestamp\((?!.*UTC)")
SOURCES = [
    path
    for room in ("bookstore", "web", "admin", "actors", "config")
    for suffix in ("py", "html")
    for path in Path(ROOT, room).rglob(f"*.{suffix}")
]


def test_no_module_uses_the_time_zone_of_the_machine():
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MACHINE.search(line)
    ]

    assert wrong == []
    assert MACHINE.search("moment.astimezone().date()")
