"""The sentence encoder at work: loaded, and a text near its paraphrase."""

from __future__ import annotations

import time
from collections.abc import Iterator

from nightshift.commands.checks import FAIL, OK, Finding
from nightshift.errors import NightshiftError
from nightshift.settings import Settings

_NEAR = ("red running shoes for men", "men's running shoes, red")
_FAR = "a book about sourdough bread"


def encodes(settings: Settings) -> Iterator[Finding]:
    """Load it, encode three texts, and compare: two say the same, one does not."""
    from nightshift.compute import set_up_torch
    from nightshift.text.encoder import Encoder

    begun = time.monotonic()
    try:
        set_up_torch(settings)
        one, other, far = Encoder(settings).encode([*_NEAR, _FAR])
    except NightshiftError as error:
        yield Finding(FAIL, "encoding", error.message, error.hint)
        return
    near, apart = float(one @ other), float(one @ far)
    good = near > apart
    yield Finding(
        OK if good else FAIL,
        "encoding",
        f"{len(one)} numbers a text, {time.monotonic() - begun:.1f} s; cosine {near:.2f} of two "
        f"texts that say the same, {apart:.2f} of two that do not",
        "" if good else "text.encoder is no sentence encoder: choose another",
    )
