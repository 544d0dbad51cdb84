"""Comparison of a package's certificate with the certificates that its site trusts.

``python -m infra.android.certificate CERTIFICATES ASSETLINKS`` reads the output of ``apksigner verify --print-certs``
and the site's ``/.well-known/assetlinks.json``. Android opens the site's links in the app only if they match.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "app.marquee"


def read_fingerprint(output: str) -> str:
    """Return the SHA-256 of the signer's certificate in the format of assetlinks.json.

    Raises ``ValueError`` unless ``output`` names exactly one certificate.
    """
    found = re.findall(r"^(?:V[\d.]+ )?Signer.* certificate SHA-256 digest: ([0-9a-f]{64})$", output, re.M)
    if len(set(found)) != 1:
        raise ValueError(f"apksigner names {len(set(found))} certificates; a package must have one:\n{output}")
    return ":".join(re.findall("..", found[0].upper()))


def list_trusted(statements: str) -> set[str]:
    """Return the fingerprints in ``statements``, the content of assetlinks.json.

    Raises ``ValueError`` if it is not a list of statements.
    """
    try:
        return {
            fingerprint
            for statement in json.loads(statements)
            if statement["target"]["package_name"] == PACKAGE
            and "delegate_permission/common.handle_all_urls" in statement["relation"]
            for fingerprint in statement["target"]["sha256_cert_fingerprints"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the site's assetlinks.json is not a list of statements: {error!r}") from error


def main(arguments: Sequence[str]) -> int:
    """Print the result, and return 0 if the site trusts the package's certificate, otherwise 1."""
    try:
        certificates, statements = (Path(argument).read_text() for argument in arguments)
        fingerprint, trusted = read_fingerprint(certificates), list_trusted(statements)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if fingerprint in trusted:
        print(f"the site trusts the package's certificate {fingerprint}")
        return 0
    print(
        f"the package is signed with {fingerprint}, but the site trusts {sorted(trusted) or 'no certificate'}; "
        "add the fingerprint to the app's MARQUEE_ANDROID_CERTIFICATES, or sign with a trusted key",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
