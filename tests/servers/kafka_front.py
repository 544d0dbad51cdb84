"""A proxy of the embedded broker that adds TLS and SASL, in Kafka's protocol.

It answers only SaslHandshake and SaslAuthenticate, and forwards everything else to the broker.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress

from tests.servers.kafka_proxy import KafkaProxy, receive, send
from tests.servers.sasl import MECHANISMS, Exchange

_HANDSHAKE, _AUTHENTICATE = 17, 36
_AUTHENTICATION_FAILED = 58


class KafkaFront(KafkaProxy):
    """A proxy of the broker on ``port``.

    With ``context`` it uses TLS. With ``passresponse``, by user name, clients authenticate by PLAIN or SCRAM.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        passresponse: Mapping[str, str] | None = None,
    ) -> None:
        self._context, self._passresponse = context, passresponse
        super().__init__(port)

    def serve(self, client: socket.socket) -> None:
        """Serve one client; one that does not trust the certificate ends here."""
        secure = self._context.wrap_socket(client, server_side=True) if self._context else client
        with secure, self.connect_broker() as broker:
            if self._passresponse is not None and not self._authenticate(secure, broker):
                return
            back = threading.Thread(target=_pump, args=(broker, secure), daemon=True)
            back.start()
            _pump(secure, broker)
            back.join()

    def _authenticate(self, client: socket.socket, broker: socket.socket) -> bool:
        """Authenticate the client, and return the result; forward its other requests to the broker."""
        exchange: Exchange | None = None
        while True:
            request = receive(client)
            key, version, correlation, length = struct.unpack(">hhih", request[:10])
            body = request[10 + max(0, length) :]
            if key == _HANDSHAKE:
                exchange = MECHANISMS[body[2:].decode()](self._passresponse or {})
                send(client, struct.pack(">ihi", correlation, 0, 1) + body)
            elif key == _AUTHENTICATE and exchange:
                response = exchange.answer(body[4:])
                send(client, _encode_authentication(correlation, version, response))
                if response is None or exchange.done:
                    return response is not None
            else:
                send(broker, request)
                send(client, receive(broker))


def _encode_authentication(correlation: int, version: int, response: bytes | None) -> bytes:
    """Return the answer to SaslAuthenticate; ``response`` is the mechanism's, or None for a refusal."""
    if response is None:
        reason = b"Authentication failed"
        head = struct.pack(">ihh", correlation, _AUTHENTICATION_FAILED, len(reason)) + reason
    else:
        head = struct.pack(">ihh", correlation, 0, -1)
    answer = head + struct.pack(">i", len(response or b"")) + (response or b"")
    return answer + (struct.pack(">q", 0) if version >= 1 else b"")


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            sink.sendall(chunk)
    for connection in (source, sink):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
