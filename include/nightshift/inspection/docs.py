"""Data Docs: Great Expectations' own pages, one per batch, and an index.

Two things about those pages are ours, and both are rules:

* **A page is a function of the samples.** It goes into the dataset's digest, so it may hold no
  clock and no random id. What Great Expectations stamps with the moment of validation carries the
  night's start instead (run name: the night; run time: its start), load time and fingerprint of
  the batch are left out, and element ids are counted instead of drawn.
* **A page is inert.** Great Expectations renders table cells without escaping. Every string that
  comes from a sample is escaped before it is rendered, and the page loads nothing, runs no script
  and says so in its Content-Security-Policy.

Files in the lake carry their hash in their name, so the index links to the names that the pages
really got, and nothing links back.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from nightshift.inspection.batch import Batch
from nightshift.inspection.pages import render_index

if TYPE_CHECKING:
    from nightshift.night import Night
    from nightshift.writer import DatasetWriter

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_CHARS = 60


def write(writer: DatasetWriter, batches: list[Batch], night: Night) -> dict[str, str]:
    """Write `docs/<strategy>-<kind>.html` and `docs/index.html`; the page of each batch by name."""
    pages: dict[str, str] = {}
    links: dict[str, str] = {}
    for number, batch in enumerate(batches):
        from nightshift.inspection.data_docs import render_batch  # imports great_expectations

        clean = _UNSAFE.sub("_", f"{batch.strategy}-{batch.kind}")[:_NAME_CHARS]
        name = f"docs/{clean}.html"
        if name in pages.values():
            name = f"docs/{clean}-{number}.html"
        entry = writer.write_bytes(name, render_batch(batch, night).encode())
        pages[batch.name] = name
        links[batch.name] = PurePosixPath(entry.path).name
    writer.write_bytes("docs/index.html", render_index(batches, links, night).encode())
    return pages
