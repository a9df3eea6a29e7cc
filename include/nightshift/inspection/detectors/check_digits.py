"""Numbers with a check digit: payment cards (Luhn, 1954; ISO/IEC 7812), IBANs (ISO 13616)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_CARD_DIGITS = 19  # the longest card number of ISO/IEC 7812

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30,
    "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "SA": 24, "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23,
    "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def luhn(numbers: list[str]) -> npt.NDArray[np.bool_]:
    """Does each string of ASCII digits (at most 19) pass Luhn's check. [numbers]"""
    if not numbers:
        return np.zeros(0, dtype=np.bool_)
    # Zeros in front change no sum, so all numbers can stand right-aligned in one matrix.
    padded = np.array([number.zfill(_CARD_DIGITS) for number in numbers], dtype=f"U{_CARD_DIGITS}")
    digits = padded.view(np.uint32).reshape(len(numbers), _CARD_DIGITS).astype(np.int64) - ord("0")
    digits[:, -2::-2] *= 2
    sums = np.where(digits > 9, digits - 9, digits).sum(axis=1)
    passed: npt.NDArray[np.bool_] = (sums % 10 == 0) & (digits.sum(axis=1) > 0)
    return passed


def iban(candidate: str) -> bool:
    """Does an upper-case alphanumeric string start with a valid IBAN (length and mod 97)."""
    length = IBAN_LENGTHS.get(candidate[:2])
    if length is None or len(candidate) < length:
        return False
    moved = candidate[4:length] + candidate[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1
