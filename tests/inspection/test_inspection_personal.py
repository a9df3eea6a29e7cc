"""Personal data: every sort is found and masked, look-alikes of a shop are not."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.inspection.detectors.check_digits import IBAN_LENGTHS, iban, luhn
from nightshift.inspection.detectors.personal import mask, personal_data

PLANTED = [
    ("email", "write to ada.lovelace@example.co.uk please"),
    ("email", "ada(at)example(dot)org"),
    ("email", "почта: иван@почта.рф"),
    ("email", "ａｄａ＠example．com"),
    ("phone", "call +49 170 1234567"),
    ("phone", "call +1 (555) 123-4567"),
    ("phone", "(555) 123-4567"),
    ("phone", "555-123-4567"),
    ("phone", "06 12 34 56 78"),
    ("phone", "tel 030/123 4567"),
    ("phone", "اتصل +٩٦٦ ٥٠ ١٢٣ ٤٥٦٧"),
    ("card", "4111 1111 1111 1111"),
    ("card", "my visa 4111-1111-1111-1111 thanks"),
    ("card", "amex 378282246310005"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "pay gb29nwbk60161331926819 now"),
    ("iban", "NL91ABNA0417164300"),
    ("ip_address", "from 192.168.10.254"),
    ("ip_address", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
    ("social_security", "ssn 078-05-1120"),
    ("long_number", "customer 123456789"),
    ("long_number", "१२३४५६७८९०"),
    ("address", "221B Baker Street, London"),
    ("address", "12 Oak Hill Rd."),
    ("address", "9 Elm Drive, Apt 3"),
    ("address", "Musterstraße 12a"),
    ("address", "12 rue de la Paix"),
    ("address", "Calle Mayor 5"),
    ("address", "Springfield, IL 62704"),
    ("address", "〒150-0001"),
    ("address", "ул. Ленина, 5"),
    ("address", "PO Box 1234"),
]
HARMLESS = [
    "usb 3.2.1 hub",
    "screws 4 x 40 mm 200 pcs",
    "iphone 15 pro max 256",
    "5w-30 oil 5l",
    "12-24 months romper",
    "1111 2222 3333",
    "ratio 16:9:4",
    "@home decor",
    "50+ sunscreen",
    "wd40 400 ml",
    "b12 1000 mcg 100 ct",
    "lego 75192",
    "size 38-40-42",
    "via rail toy train",
    "court shoes 39",
    "street art book",
    "2 tb external hard drive",
    "7 piece food court, set",
]


def sort_of(text: str) -> str | None:
    found: str | None = personal_data(pl.Series([text]))[0]
    return found


def masked(text: str) -> str:
    shown: str = pl.select(mask(pl.lit(text))).item()
    return shown


@pytest.mark.parametrize(("sort", "text"), PLANTED)
def test_planted_personal_data_is_named_and_masked(sort: str, text: str) -> None:
    assert sort_of(text) == sort
    assert "█" in masked(text)
    assert sort_of(masked(text)) is None


@pytest.mark.parametrize("text", HARMLESS)
def test_what_a_shop_writes_is_left_alone(text: str) -> None:
    assert sort_of(text) is None
    assert masked(text) == text


def test_null_and_empty_texts_hold_nothing() -> None:
    assert personal_data(pl.Series([None, "", "milk"], dtype=pl.String)).to_list() == [None] * 3
    assert personal_data(pl.Series([], dtype=pl.String)).to_list() == []


def luhn_digit(number: str) -> str:
    """The check digit by the textbook, one digit at a time."""
    doubled = [int(d) * (2 if i % 2 == 0 else 1) for i, d in enumerate(reversed(number))]
    return str(-sum(d // 10 + d % 10 for d in doubled) % 10)


@given(st.text("0123456789", min_size=12, max_size=18).filter(lambda n: int(n) > 0), st.data())
@settings(max_examples=200, deadline=None)
def test_luhn_accepts_every_valid_number_and_no_single_wrong_digit(
    number: str, data: st.DataObject
) -> None:
    valid = number + luhn_digit(number)
    place = data.draw(st.integers(0, len(valid) - 1))
    wrong_digit = str((int(valid[place]) + data.draw(st.integers(1, 9))) % 10)
    wrong = valid[:place] + wrong_digit + valid[place + 1 :]
    assert luhn([valid]).tolist() == [True]
    if int(wrong) > 0:
        assert luhn([wrong, valid]).tolist() == [False, True]


@given(st.sampled_from(sorted(IBAN_LENGTHS)), st.data())
@settings(max_examples=200, deadline=None)
def test_iban_accepts_every_valid_number_and_no_single_wrong_sign(
    country: str, data: st.DataObject
) -> None:
    size = IBAN_LENGTHS[country] - 4
    account = data.draw(
        st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=size, max_size=size)
    )
    value = int("".join(str(int(sign, 36)) for sign in account + country + "00"))
    valid = f"{country}{98 - value % 97:02d}{account}"
    place = data.draw(st.integers(4, len(valid) - 1))
    other = data.draw(st.sampled_from("0123456789").filter(lambda d: d != valid[place]))
    assert iban(valid)
    assert iban(valid + "REST")
    if valid[place].isdigit():  # ISO 7064 finds every single wrong digit
        assert not iban(valid[:place] + other + valid[place + 1 :])
    assert not iban(valid[:-1])


def test_a_number_without_its_check_digit_is_a_long_number_not_a_card() -> None:
    assert sort_of("4111111111111112") == "long_number"
    assert sort_of("4111 1111 1111 1112") is None
