"""Personal data, by its shape in any language; a number with a check digit must pass its check."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.addresses import ADDRESS
from nightshift.inspection.detectors.check_digits import iban, luhn
from nightshift.inspection.detectors.fold import plain

_CARD = r"\b\d(?:[ .-]?\d){12,18}\b"
_IBAN = r"(?i)\b[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"

# First match names the sort. No pattern needs to see a word of any language but addresses do.
_SHAPES = {
    "email": r"(?i)[\p{L}\p{N}._%+-]+\s?(?:@|[(\[]\s?at\s?[)\]])\s?[\p{L}\p{N}-]+"
    r"(?:\s?(?:\.|[(\[]\s?dot\s?[)\]])\s?[\p{L}\p{N}-]+)*\s?(?:\.|[(\[]\s?dot\s?[)\]])\s?\p{L}{2,}",
    "ip_address": rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b"
    r"|(?i:\b(?:[0-9a-f]{1,4}:){3,7}(?:[0-9a-f]{1,4}\b|:)|\b[0-9a-f]{1,4}::[0-9a-f]{1,4}\b)",
    "social_security": r"\b\d{3}-\d{2}-\d{4}\b",
    "phone": r"(?:\+|\b00)\d(?:[ ().\-/]{0,3}\d){6,14}\b"
    r"|\(\d{2,5}\)[ .-]?\d{3,4}[ .-]?\d{3,4}\b"
    r"|\b\d{3}[-. ]\d{3}[-. ]\d{4}\b"
    r"|\b0\d{1,4}[-./ ]\d{2,4}(?:[-./ ]?\d{2,4}){1,4}\b",
    "long_number": r"\d{9,}",
    "address": ADDRESS,
}
_MASKED = (_CARD, _IBAN, *_SHAPES.values())


def personal_data(texts: pl.Series) -> pl.Series:
    """[texts] the sort of personal data (`email`, `card`, `iban` …) in each text; null: none."""
    frame = pl.DataFrame({"text": texts}).select(text=plain(pl.col("text"))).with_row_index("row")
    found: pl.Expr = pl.lit(None, pl.String)
    for name, pattern in reversed(_SHAPES.items()):
        found = pl.when(pl.col("text").str.contains(pattern)).then(pl.lit(name)).otherwise(found)
    return frame.select(
        pl.when(_rows(_cards(frame)))
        .then(pl.lit("card"))
        .when(_rows(_ibans(frame)))
        .then(pl.lit("iban"))
        .otherwise(found)
        .alias("personal_data")
    ).to_series()


def mask(text: pl.Expr) -> pl.Expr:
    """The text with everything that looks personal blacked out; for what a person is shown."""
    masked = plain(text)
    for pattern in _MASKED:
        masked = masked.str.replace_all(pattern, "█")
    return masked


def _rows(rows: pl.Series) -> pl.Expr:
    return pl.col("row").is_in(rows.implode())


def _candidates(frame: pl.DataFrame, pattern: str, noise: str) -> pl.DataFrame:
    """One row per match: `row`, `match` without separators. Few texts have any."""
    return (
        frame.filter(pl.col("text").str.contains(pattern))
        .select("row", match=pl.col("text").str.extract_all(pattern))
        .explode("match")
        .with_columns(pl.col("match").str.replace_all(noise, "").str.to_uppercase())
    )


def _cards(frame: pl.DataFrame) -> pl.Series:
    found = _candidates(frame, _CARD, r"\D")
    return found.filter(pl.Series(luhn(found["match"].to_list()), dtype=pl.Boolean))["row"]


def _ibans(frame: pl.DataFrame) -> pl.Series:
    found = _candidates(frame, _IBAN, r"[^A-Za-z0-9]")
    passed = [iban(match) for match in found["match"]]  # only what has an IBAN's shape
    return found.filter(pl.Series(passed, dtype=pl.Boolean))["row"]
