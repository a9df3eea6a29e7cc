"""Copying is flat in memory: ten times the events, the same peak."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from collecting import execute

from nightshift.settings import Settings
from nightshift.store import partitions
from nightshift.store.engine import begin
from nightshift.store.schema import migrate

# The peak of a process of its own: VmHWM starts anew with the program.
_PROGRAM = """
import re, sys, tempfile
from datetime import UTC, datetime
from pathlib import Path
from nightshift.collect import events
from nightshift.collect.window import Window
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.store import arrow, pseudonyms
from nightshift.store.engine import begin
from nightshift.writer import DatasetWriter

settings = Settings.load()
seen = Window(*(datetime(2017, 10, day, tzinfo=UTC) for day in (1, int(sys.argv[1]), 31)))
with begin(settings) as connection:
    ring = pseudonyms.keyring(connection, settings)
lake = Lake.of(settings)
with lake.scratch_folder() as scratch, arrow.session(settings) as session:
    events.list_items(session, seen, ())
    writer = DatasetWriter(lake, "test", scratch)
    done = events.copy(session, writer, "events.parquet", seen, settings.collect, ring)
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(done.kept, int(peak) // 1024)
"""


@pytest.mark.slow
def test_copying_events_is_flat_in_memory(settings: Settings) -> None:
    migrate(settings)
    with begin(settings) as connection:
        partitions.ensure(connection, [datetime(2017, 10, 1, tzinfo=UTC)])
    execute(
        settings,
        "insert into nightshift.items (item_id) select n::text from generate_series(0, 999) n",
    )
    execute(
        settings,
        "insert into nightshift.events (event_id, user_id, item_id, kind, occurred_at, session_id)"
        " select n::text, (n % 5003)::text, (n % 1000)::text, 'view',"
        " timestamptz '2017-10-01 00:00+00' + n * interval '1.7 seconds', md5(n::text)"
        " from generate_series(0, 1499999) n",
    )

    def copied(until_day: int) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(until_day)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        rows, megabytes = done.stdout.split()
        return int(rows), int(megabytes)

    few, small = copied(4)
    many, large = copied(30)

    assert many > 9 * few > 1_000_000
    # 1.3 million more rows are some 200 MB as Arrow.
    assert large - small < 70
