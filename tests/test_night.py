"""Nights: what may be written for one, and that their keys sort, return and fit in a path."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.errors import UsageError
from nightshift.night import DAY, Night, nights_between, parse_time, stamp

settings.load_profile("ci")  # the same examples in every run, and no deadline: machines are busy

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 27), timezones=ZONES)
LENGTHS = st.timedeltas(timedelta(microseconds=1), timedelta(days=2))


@given(MOMENTS, LENGTHS)
def test_a_night_is_parsed_from_its_ends_and_from_its_key(start: datetime, length: timedelta):
    night = Night(start, start + length)

    assert Night.parse(f"{start.isoformat()}/{(start + length).isoformat()}") == night
    assert Night.parse(night.key) == night


@given(MOMENTS, LENGTHS)
def test_a_key_is_one_plain_path_component(start: datetime, length: timedelta):
    assert re.fullmatch(r"[0-9TZ.-]+", Night(start, start + length).key)


@given(MOMENTS, MOMENTS)
def test_stamps_sort_as_their_times(one: datetime, other: datetime):
    assert (stamp(one) < stamp(other)) == (one < other)
    assert (stamp(one) == stamp(other)) == (one == other)


@given(MOMENTS, st.timedeltas(timedelta(microseconds=-5), timedelta(microseconds=5)))
def test_stamps_sort_within_a_second(one: datetime, apart: timedelta):
    other = one + apart
    assert (stamp(one) < stamp(other)) == (one < other)


@given(st.dates(datetime(1, 1, 1).date(), datetime(9999, 12, 30).date()))
def test_a_date_is_that_day_in_utc(day):
    night = Night.parse(day.isoformat())

    assert night.key == day.isoformat()
    assert night.start == datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert night.end - night.start == DAY


@given(st.text())
def test_any_text_is_a_night_or_a_usage_error(text: str):
    with suppress(UsageError):
        night = Night.parse(text)
        assert night.start < night.end


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2017-13-01", "2017-11-20/2017-11-20", "2017-11-21/2017-11-20", "9999-12-31",
     "0001-01-01T00:00+05:00", "2017-11-20/", "/2017-11-20", "2017-11-20-2017-11-21"],
)  # fmt: skip
def test_what_is_no_night_says_how_to_write_one(text: str):
    with pytest.raises(UsageError) as caught:
        Night.parse(text)
    assert "2017-11-20/2017-11-27" in caught.value.hint


def test_zones_are_the_same_night_and_no_zone_is_utc():
    assert Night.parse("2017-11-20T02:00+02:00/2017-11-21T01:00+01:00").key == "2017-11-20"
    assert parse_time("2017-11-20 05:00") == datetime(2017, 11, 20, 5, tzinfo=UTC)
    with pytest.raises(UsageError, match="no time zone"):
        Night(datetime(2017, 11, 20), datetime(2017, 11, 21))


def test_a_day_that_starts_at_noon_is_not_taken_for_a_date():
    assert Night.parse("2017-11-20T12:00").key == "20171120T120000Z-20171121T120000Z"


@pytest.mark.parametrize("first", ["2017-11-20", "2017-11-20T23:59"])
@pytest.mark.parametrize("last", ["2017-11-22", "2017-11-22T01:00"])
def test_nights_between_are_whole_days_the_last_one_included(first: str, last: str):
    nights = nights_between(parse_time(first), parse_time(last))

    assert [night.key for night in nights] == ["2017-11-20", "2017-11-21", "2017-11-22"]
    assert nights_between(parse_time("2017-11-23"), parse_time(last)) == []
