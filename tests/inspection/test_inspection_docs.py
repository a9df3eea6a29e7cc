"""Data Docs: there, linked, repeatable, and inert whatever a sample says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from sample_factory import STRATEGY, Shop, all_kinds, changed, good_samples

from nightshift.inspection.data_docs import escaped

ATTACK = "<script>alert('x')</script> <img src=x onerror=alert(1)> {{7*7}} ${7*7} milk"
ATTACKER = '"><script>alert(2)</script>'


class Page(HTMLParser):
    """Tags, attributes and the visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pages(shop: Shop) -> dict[str, Path]:
    """Files of the Data Docs of samples with attacks in every column that is shown."""
    samples = changed(all_kinds(shop), 0, item_id=ATTACKER, user_key=ATTACKER)
    samples = changed(samples, 1, scores=ATTACK, text=ATTACK)
    samples = changed(samples, 125, sample_id=ATTACKER, text=ATTACK)
    samples = changed(samples, 126, strategy=ATTACKER, shard="attack-000")
    samples = changed(samples, 127, text="card 4111 1111 1111 1111")
    manifest, lake = shop.inspect(samples)
    return {e.name: lake.local_path(e) for e in manifest.named("docs/")}


def test_there_is_a_page_per_batch_and_the_index_links_to_each_file(pages: dict[str, Path]) -> None:
    index = pages["docs/index.html"]
    links = [attrs["href"] for tag, attrs in Page(index.read_text()).tags if tag == "a"]
    assert len(links) == len(pages) - 1 == 1 + len(STRATEGY)
    linked = {(index.parent / str(link)).resolve() for link in links}
    assert linked == {path.resolve() for path in pages.values()} - {index.resolve()}


def test_a_page_is_great_expectations_own_with_our_rules_and_examples(
    pages: dict[str, Path],
) -> None:
    page = Page(pages["docs/llm_queries-query.html"].read_text())
    text = re.sub(r"\s+", " ", page.text)
    assert "Expectation Suite: query" in text
    assert "Great Expectations Version" in text
    assert "values must be greater than or equal to 0.3 and less than or equal to 1.0." in text
    assert "1 unexpected values found." in text
    assert "no personal data" in text
    assert "rejected_share" in text


def test_no_sample_reaches_a_page_as_markup(pages: dict[str, Path]) -> None:
    for name, path in pages.items():
        html = path.read_text()
        page = Page(html)
        assert "<script" not in html, name
        assert not [t for t, _ in page.tags if t in {"script", "img", "iframe", "link", "object"}]
        assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    shown = Page(pages["docs/llm_queries-query.html"].read_text()).text
    assert "<script>alert('x')</script> <img src=x onerror=alert(1)>" in shown


def test_a_page_loads_nothing_and_forbids_scripts(pages: dict[str, Path]) -> None:
    for path in pages.values():
        html = path.read_text()
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", html)
        policies = [
            a.get("content") for t, a in Page(html).tags if t == "meta" and "http-equiv" in a
        ]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
        assert not re.search(r"url\(|@import", html)


def test_a_page_holds_no_clock_and_no_personal_data(pages: dict[str, Path]) -> None:
    for path in pages.values():
        html = path.read_text()
        stamps = set(re.findall(r"\b20\d\d-?\d\d-?\d\d(?:T[\d:.]+Z)?", html))
        assert stamps <= {"2017-05-20", "2017-05-20T00:00:00Z", "2017-05-20T00:00:00.000000Z"}
        assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}", html)
        assert "4111" not in html
        assert "/tmp" not in html


def test_a_good_batch_has_a_page_too(shop: Shop) -> None:
    manifest, lake = shop.inspect(good_samples(shop, "negative"))
    page = lake.local_path(manifest.file("docs/negatives-negative.html")).read_text()
    assert "Succeeded" in page
    assert "100%" in page


def test_escaping_reaches_every_string() -> None:
    assert escaped({"a": ["<b>", ("&", 1)], "n": None, "f": 0.5}) == {
        "a": ["&lt;b&gt;", ["&amp;", 1]],
        "n": None,
        "f": 0.5,
    }
    assert pl.Series([escaped("'\"")]).item() == "&#x27;&quot;"
