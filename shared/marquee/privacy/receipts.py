"""Signed receipts of finished erasure requests.

A receipt is one line of JSON. It is signed with Ed25519 over the JSON without the signature, with a key derived from
the secret ``privacy_key``. The public key suffices to verify it. The user appears only as a keyed hash.
"""

from __future__ import annotations

import hmac
from datetime import datetime

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from marquee.errors import ReceiptRefused

FORMAT = 1


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Receipt for one user.

    - ``user``: keyed hash of the user id, in hexadecimal
    - ``steps``: time at which each step finished
    - ``removed``: number of rows or objects removed, by table, collection or kind
    - ``deleted``: versions of deleted models, which were trained on data of the user
    - ``serving``: versions of the models in service at the end
    - ``remains``: places that the request did not reach, with the reasons
    """

    format: int = FORMAT
    user: str
    requested: datetime
    finished: datetime
    steps: dict[str, str]
    removed: dict[str, int]
    deleted: tuple[str, ...] = ()
    serving: tuple[str, ...] = ()
    remains: tuple[str, ...] = ()
    public_key: str = ""
    signature: str = ""


def sign_receipt(receipt: Receipt, key: str) -> str:
    """Return the receipt with its signature, as one line of JSON."""
    unsigned = msgspec.structs.replace(receipt, public_key=public_key(key), signature="")
    signature = _private_key(key).sign(msgspec.json.encode(unsigned, order="deterministic")).hex()
    return msgspec.json.encode(msgspec.structs.replace(unsigned, signature=signature), order="deterministic").decode()


def public_key(key: str) -> str:
    """Return the public key, in hexadecimal, that verifies receipts signed with ``key``."""
    return _private_key(key).public_key().public_bytes_raw().hex()


def verify_receipt(text: str | bytes, expected_public_key: str) -> Receipt:
    """Return the receipt in ``text`` after verifying its signature with ``expected_public_key`` (hexadecimal).

    Raises :class:`ReceiptRefused` if ``text`` is not a receipt, was modified, or was signed with another key.
    """
    try:
        receipt = msgspec.json.decode(text, type=Receipt)
        if receipt.public_key != expected_public_key:
            raise ReceiptRefused(
                f"the receipt was signed by {receipt.public_key[:64]!a}, not by {expected_public_key[:64]!a}"
            )
        unsigned = msgspec.json.encode(msgspec.structs.replace(receipt, signature=""), order="deterministic")
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(expected_public_key))
        public.verify(bytes.fromhex(receipt.signature), unsigned)
    except InvalidSignature as error:
        raise ReceiptRefused("the signature does not belong to the content: the receipt was changed") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ReceiptRefused(f"it is not a receipt of `marquee privacy forget`: {error}") from error
    return receipt


def _private_key(key: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(key.encode(), b"receipts", "sha256"))
