"""One batch's page of the Data Docs: Great Expectations' renderer, made repeatable and inert."""

from __future__ import annotations

import html
from copy import deepcopy
from itertools import count
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader

from nightshift.inspection import summary
from nightshift.inspection.batch import Batch
from nightshift.inspection.expectations import great_expectations
from nightshift.inspection.pages import TEMPLATES

if TYPE_CHECKING:
    from nightshift.night import Night

_PAGE = "data_docs_page.html"
_DROPPED = ("unexpected_index_query", "unexpected_index_list", "unexpected_list")
"""Of a result: row numbers of a frame that is gone, and values beyond the shown ones."""
_EXAMPLE_COLUMNS = ("reasons", "sample_id", "item_id", "user_key", "text", "scores")


def render_batch(batch: Batch, night: Night) -> str:
    """The page as HTML; the same samples give the same bytes.

    Args:
        night: stands in for the clock: run name and run time are its key and its start.
    """
    great_expectations()
    from great_expectations.core.run_identifier import RunIdentifier

    result = deepcopy(batch.result)
    result.meta = {
        "great_expectations_version": result.meta["great_expectations_version"],
        "run_id": RunIdentifier(run_name=night.key, run_time=night.start),
        "batch_spec": {"data_asset_name": escaped(batch.name)},
    }
    for answer in result.results:
        shown = {name: value for name, value in answer.result.items() if name not in _DROPPED}
        answer.result = escaped(shown)
    document = _page_renderer().render(result)
    overview, *columns = document.sections
    document.sections = [overview, _reasons(batch), _examples(batch), *columns]
    page: str = _view().render(document)
    return page


def escaped(value: Any) -> Any:
    """`value` with every string in it HTML-escaped, keys left alone."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, dict):
        return {key: escaped(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [escaped(inner) for inner in value]
    return value


def _reasons(batch: Batch) -> Any:
    """A section that says which rule stands behind each reason, and how many rows failed it."""
    from great_expectations.render import RenderedSectionContent, RenderedTableContent

    configs = [answer.expectation_config for answer in batch.result.results]
    rules = {c.meta["reason"]: (c.meta["because"], c.kwargs["column"]) for c in configs}
    table = [
        [reason, because, column, str(batch.failed.get(reason, 0))]
        for reason, (because, column) in rules.items()
    ]
    table += [[f"gate {gate.name}", "", str(gate), ""] for gate in batch.gates]
    header = ["reason", "what must hold", "column", "rows that fail"]
    block = RenderedTableContent(table=escaped(table), header_row=header)
    return RenderedSectionContent(section_name="Rules and gates", content_blocks=[block])


def _examples(batch: Batch) -> Any:
    """A section with accepted and quarantined rows, as Great Expectations' own blocks."""
    from great_expectations.render import (
        RenderedHeaderContent,
        RenderedSectionContent,
        RenderedTableContent,
    )

    blocks: list[Any] = []
    for which in ("quarantined", "accepted"):
        rows = summary.examples(batch, which)
        blocks.append(RenderedHeaderContent(header=f"Examples: {which}"))
        if rows:
            table = [[escaped(_cell(row[name])) for name in _EXAMPLE_COLUMNS] for row in rows]
            blocks.append(RenderedTableContent(table=table, header_row=list(_EXAMPLE_COLUMNS)))
    return RenderedSectionContent(section_name="Examples", content_blocks=blocks)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


def _page_renderer() -> Any:
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    class _Page(ValidationResultsPageRenderer):  # type: ignore[misc]
        @classmethod
        def _render_validation_header(cls, validation_results: Any) -> Any:
            """Without the link to a suite's page of its own: this page is all there is."""
            block = super()._render_validation_header(validation_results)
            block.subheader.string_template["styling"]["params"].pop("expectation_suite_name")
            return block

    return _Page()


def _view() -> Any:
    from great_expectations.render.view import DefaultJinjaPageView

    class _View(DefaultJinjaPageView):  # type: ignore[misc]
        _template = _PAGE

        def __init__(self) -> None:
            super().__init__()
            self.env.loader = ChoiceLoader([TEMPLATES, self.env.loader])
            numbers = count(1)
            self.env.filters["generate_html_element_uuid"] = lambda prefix="": (
                f"{prefix}{next(numbers)}"
            )

    return _View()
