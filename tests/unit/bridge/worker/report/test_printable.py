"""Text from outside is shown, not obeyed; numbers read as a microscopist writes them."""

from __future__ import annotations

import math

import pytest

from cryobridge.bridge.worker.report.printable import printable, shortened
from cryobridge.bridge.worker.report.quantities import angstrom, counted, in_digits, percent


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("half1.mrc", "half1.mrc"),
        ("Größe 1 Å 地図.mrc", "Größe 1 Å 地図.mrc"),
        ("a\nb\tc\x1b[1m", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}[1m"),
        ("crm.\u202efdp", "crm.\N{REPLACEMENT CHARACTER}fdp"),
        ("\udcff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_only_what_is_there_to_be_seen_is_kept(raw, shown):
    assert printable(raw) == shown


def test_long_names_lose_their_middle():
    assert shortened("a" * 10 + "b" * 10, 9) == "aaaa…bbbb"
    assert shortened("a" * 9, 9) == "a" * 9
    assert len(shortened("x" * 1000, 44)) == 44


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3.0, "3.00 Å"),
        (9.994, "9.99 Å"),
        (12.34, "12.3 Å"),
        (math.inf, "not measured"),
        (math.nan, "not known"),
    ],
)
def test_resolutions(value, words):
    assert angstrom(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.5, "50 %"), (0.034, "3.4 %"), (0.0001, "less than 0.1 %"), (0.0, "0.0 %"), (math.nan, "not known")],
)
def test_shares(value, words):
    assert percent(value) == words


def test_a_rounded_zero_has_no_sign():
    assert in_digits(-0.001) == "0.00"
    assert in_digits(-0.04, 1) == "0.0"
    assert in_digits(math.inf) == "not known"


def test_one_has_no_plural() -> None:
    assert [counted(number, "epoch") for number in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
