"""An issuer of OIDC tokens that signs them and serves the certificates to verify them."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

AUDIENCE = "https://ingest.example.edu"
ACCOUNT = "push@project.iam.gserviceaccount.com"


class Key:
    """A private key with a self-signed certificate."""

    def __init__(self, key_id: str) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        certificate = builder.sign(self._key, hashes.SHA256())
        self.id, self.pem = key_id, certificate.public_bytes(serialization.Encoding.PEM).decode()

    def token(self, **changed: object) -> str:
        """Return a valid token, with the given claims changed."""
        now = int(time.time())
        claims: dict[str, object] = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": ACCOUNT,
            "email_verified": True,
            "iat": now,
            "exp": now + 600,
        }
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signer = crypt.RSASigner.from_string(private, self.id)  # type: ignore[no-untyped-call]
        return str(jwt.encode(signer, claims | changed).decode())  # type: ignore[no-untyped-call]


class Issuer:
    """An HTTP server of the certificates of its ``keys`` at ``url``."""

    def __init__(self, *keys: Key) -> None:
        self.keys, self.requests, self.status = list(keys), 0, 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests += 1
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(json.dumps({key.id: key.pem for key in issuer.keys}).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/certs"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
