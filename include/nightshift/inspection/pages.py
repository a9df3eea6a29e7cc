"""Our templates around the Data Docs; all of them escape."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader

from nightshift.inspection.batch import Batch

if TYPE_CHECKING:
    from nightshift.night import Night

TEMPLATES = PackageLoader("nightshift.inspection", "templates")


@cache
def _environment() -> Any:
    return Environment(loader=TEMPLATES, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def render_index(batches: list[Batch], links: dict[str, str], night: Night) -> str:
    """The list of batches; `links` holds each batch's page by name, relative to the index."""
    html: str = (
        _environment()
        .get_template("index.html")
        .render(night=night.key, batches=batches, links=links)
    )
    return html
