"""The certificate of a package against the statement of its site."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from infra.android.certificate import list_trusted, main, read_fingerprint

DIGEST = "ab" * 32
FINGERPRINT = ":".join(["AB"] * 32)
OUTPUT = f"Signer #1 certificate DN: CN=Marquee\nSigner #1 certificate SHA-256 digest: {DIGEST}\n"


def statement(fingerprint: str, package: str = "app.marquee") -> str:
    target = {"namespace": "android_app", "package_name": package, "sha256_cert_fingerprints": [fingerprint]}
    return json.dumps([{"relation": ["delegate_permission/common.handle_all_urls"], "target": target}])


def compare(folder: Path, output: str, statements: str) -> int:
    (folder / "certificates.txt").write_text(output)
    (folder / "assetlinks.json").write_text(statements)
    return main([str(folder / "certificates.txt"), str(folder / "assetlinks.json")])


def test_package_that_the_site_vouches_for_passes(tmp_path: Path) -> None:
    """Upper case with colons is the form of assetlinks.json."""
    assert read_fingerprint(OUTPUT) == FINGERPRINT
    assert compare(tmp_path, OUTPUT, statement(FINGERPRINT)) == 0


@pytest.mark.parametrize("statements", ["[]", statement("00:11"), statement(FINGERPRINT, "app.other")])
def test_package_that_the_site_does_not_vouch_for_fails(
    tmp_path: Path, statements: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the setting."""
    assert compare(tmp_path, OUTPUT, statements) == 1
    assert "MARQUEE_ANDROID_CERTIFICATES" in capsys.readouterr().err


@pytest.mark.parametrize("statements", ["<html>", "{}x", '[{"relation": []}]', "3"])
def test_site_with_another_document_fails(tmp_path: Path, statements: str) -> None:
    """A page of a login or an error is no statement."""
    assert compare(tmp_path, OUTPUT, statements) == 1


def test_package_with_two_signers_or_none_fails() -> None:
    """Phones would compare with all of them."""
    with pytest.raises(ValueError, match="0 certificates"):
        read_fingerprint("")
    with pytest.raises(ValueError, match="2 certificates"):
        read_fingerprint(OUTPUT + OUTPUT.replace(DIGEST, "cd" * 32))


def test_site_vouches_for_packages_by_name() -> None:
    """Other packages of a site do not count."""
    assert list_trusted(statement(FINGERPRINT)) == {FINGERPRINT}
    assert list_trusted(statement(FINGERPRINT, "app.other")) == set()
