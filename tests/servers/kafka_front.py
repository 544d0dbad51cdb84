"""A proxy of the embedded broker that adds TLS and SASL, in Kafka's protocol.

It answers only SaslHandshake and SaslAuthenticate, and forwards everything else to the broker. See
https://kafka.apache.org/protocol.html.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress

from tests.servers.sasl import MECHANISMS, Exchange

_HANDSHAKE, _AUTHENTICATE = 17, 36
_AUTHENTICATION_FAILED = 58
Stream = socket.socket


class KafkaFront:
    """A proxy at ``address`` of the broker on ``port``.

    With ``context`` it uses TLS. With ``passresponse``, by user name, clients authenticate by PLAIN or SCRAM.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        passresponse: Mapping[str, str] | None = None,
    ) -> None:
        self._port, self._context, self._passresponse = port, context, passresponse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Stream) -> None:
        # A client that does not trust the certificate, or disconnects, ends only its own connection.
        with suppress(OSError), client:
            secure = self._context.wrap_socket(client, server_side=True) if self._context else client
            with secure, socket.create_connection(("127.0.0.1", self._port)) as broker:
                if self._passresponse is not None and not self._authenticate(secure, broker):
                    return
                back = threading.Thread(target=_pump, args=(broker, secure), daemon=True)
                back.start()
                _pump(secure, broker)
                back.join()

    def _authenticate(self, client: Stream, broker: Stream) -> bool:
        """Authenticate the client, and return the result; forward its other requests to the broker."""
        exchange: Exchange | None = None
        while True:
            request = _receive(client)
            key, version, correlation, length = struct.unpack(">hhih", request[:10])
            body = request[10 + max(0, length) :]
            if key == _HANDSHAKE:
                exchange = MECHANISMS[body[2:].decode()](self._passresponse or {})
                _send(client, struct.pack(">ihi", correlation, 0, 1) + body)
            elif key == _AUTHENTICATE and exchange:
                response = exchange.answer(body[4:])
                _send(client, _encode_authentication(correlation, version, response))
                if response is None or exchange.done:
                    return response is not None
            else:
                _send(broker, request)
                _send(client, _receive(broker))


def _encode_authentication(correlation: int, version: int, response: bytes | None) -> bytes:
    """Return the answer to SaslAuthenticate; ``response`` is the mechanism's, or None for a refusal."""
    if response is None:
        reason = b"Authentication failed"
        head = struct.pack(">ihh", correlation, _AUTHENTICATION_FAILED, len(reason)) + reason
    else:
        head = struct.pack(">ihh", correlation, 0, -1)
    answer = head + struct.pack(">i", len(response or b"")) + (response or b"")
    return answer + (struct.pack(">q", 0) if version >= 1 else b"")


def _receive(connection: Stream) -> bytes:
    (size,) = struct.unpack(">i", _read_exactly(connection, 4))
    return _read_exactly(connection, size)


def _read_exactly(connection: Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the connection ended within a message")
        data += more
    return data


def _send(connection: Stream, message: bytes) -> None:
    connection.sendall(struct.pack(">i", len(message)) + message)


def _pump(source: Stream, sink: Stream) -> None:
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            sink.sendall(chunk)
    for connection in (source, sink):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
