"""Receipts: valid as they were signed, refused after any change or by another key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from marquee.errors import ReceiptRefused
from marquee.privacy.receipts import Receipt, public_key, sign_receipt, verify_receipt

KEY = "k" * 32
NOW = datetime(2026, 11, 30, tzinfo=UTC)
RECEIPT = Receipt(user="ab" * 16, requested=NOW, finished=NOW, steps={"rows": "x"}, removed={"ratings": 3})


def test_verify_receipt_returns_what_was_signed() -> None:
    """The public key is enough to verify."""
    found = verify_receipt(sign_receipt(RECEIPT, KEY), public_key(KEY))
    assert (found.user, found.removed, found.finished) == (RECEIPT.user, RECEIPT.removed, NOW)


@pytest.mark.parametrize(
    ("old", "new"), [('"ratings":3', '"ratings":4'), ("abab", "abac"), ('"signature":"', '"signature":"00'), ("{", "[")]
)
def test_verify_receipt_changed_raises(old: str, new: str) -> None:
    """Any change of the content or of the signature is noticed."""
    text = sign_receipt(RECEIPT, KEY)
    assert old in text
    with pytest.raises(ReceiptRefused):
        verify_receipt(text.replace(old, new, 1), public_key(KEY))


def test_verify_receipt_of_other_key_raises() -> None:
    """A receipt that another key signed is refused, although its signature is valid."""
    with pytest.raises(ReceiptRefused, match="was signed by"):
        verify_receipt(sign_receipt(RECEIPT, "o" * 32), public_key(KEY))
