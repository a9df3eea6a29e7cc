"""Postal addresses: the one sort of personal data that has no shape without some words."""

from __future__ import annotations

_US_STATES = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]"
    "|T[NX]|UT|V[AT]|W[AIVY]"
)
_PATTERNS = (
    # 221B Baker Street; 12 Oak Hill Rd.
    r"(?i:\b\d{1,5}[a-z]?,?\s+(?:[\p{L}'.-]+\s+){1,3}"
    r"(?:street|avenue|ave|road|rd|boulevard|blvd)\.?(?:\s*(?:,|\d|apt|unit|suite|#)|$))",
    # 9 Elm Drive, Apt 3. (Without the flat it may be a hard drive.)
    r"(?i:\b\d{1,5}[a-z]?,?\s+(?:[\p{L}'.-]+\s+){1,3}"
    r"(?:st|lane|ln|drive|dr|court|ct|terrace|crescent)\.?,?\s+(?:apt|unit|suite|flat|#)\.?\s*\d)",
    # Musterstraße 12a; Keizersgracht 12
    r"(?i:\p{L}{2,}(?:stra(?:ß|ss)e|str\.|gasse|platz|weg|allee|straat|gracht|laan|gatan|vägen)"
    r"\s+\d{1,4}\s?[a-z]?\b)",
    # 12 bis, rue de la Paix
    r"(?i:\b\d{1,4}\s*(?:bis|ter)?,?\s+(?:rue|boulevard|chemin|impasse|quai)\s+\p{L})",
    # Calle Mayor 5; Via Roma, 10; Rua Augusta 1500
    r"(?i:\b(?:calle|avenida|avda|plaza|carrer|rua|via|viale|piazza)\.?\s+(?:\p{L}+\s+){0,3}\p{L}+"
    r",?\s+(?:n[ºo°.]?\s*)?\d{1,4}\b)",
    # ул. Ленина, 5
    r"(?i:\b(?:ул|улица|просп|проспект|пер)\.?\s+\p{L}+(?:\s+\p{L}+)?,?\s+(?:д\.?\s*)?\d{1,4}\b)",
    r"〒\s?\d{3}-?\d{4}|\p{Han}{1,6}[都道府県市区町村][^\s]{0,12}\d{1,4}[-−丁番]\d{1,4}",
    r"(?i:\bp\.?\s?o\.?\s?box\s+\d+)",
    # Springfield, IL 62704. (British postcodes alone are no evidence: T8 4FT is a tube, B12 5MG a
    # vitamin.)
    rf"\b(?:{_US_STATES})\s+\d{{5}}(?:-\d{{4}})?\b",
)
ADDRESS = "|".join(_PATTERNS)
