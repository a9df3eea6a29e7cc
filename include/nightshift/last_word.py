"""The last word of a command: one line of JSON at a place that outlives its process.

In a pod Kubernetes reads that file into the container's status: the result of a stage that is
done, or the error with its cause and its way out. Elsewhere the file is not there, and nothing is
written.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

LIMIT_BYTES = 4096
"""Kubernetes cuts a longer termination message, and cut JSON says nothing."""

log = logging.getLogger("nightshift.last_word")


def leave(path: Path, text: str) -> None:
    """Write a JSON object to `path` if that is a file which may be written; long texts are cut."""
    if not (path.is_file() and os.access(path, os.W_OK)):
        return
    try:
        path.write_text(shortened(text))
    except OSError as error:  # what the command came to stays so
        log.warning("the last word could not be left at %s: %s", path, error)


def shortened(text: str) -> str:
    """The same JSON object in at most `LIMIT_BYTES`: its longest texts lose their ends."""
    while len(text.encode()) > LIMIT_BYTES:
        word = json.loads(text)
        longest = max(word, key=lambda name: len(str(word[name])))
        whole = str(word[longest])
        word[longest] = whole[: len(whole) // 2] + " …"
        text = json.dumps(word, ensure_ascii=False)
    return text
