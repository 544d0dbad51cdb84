"""What stands before the embedded broker, which has neither TLS nor users: Kafka's protocol on the wire.

Of the protocol only SaslHandshake and SaslAuthenticate are answered here; all else is the broker's. See
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
    """Listens on ``address`` and hands everything to the broker on ``port``, once it is there.

    ``context``: speak TLS. ``passwords``, by user name: ask for them first, by PLAIN or SCRAM.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        self._port, self._context, self._passwords = port, context, passwords
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Stream) -> None:
        # A client that trusts somebody else, or that gives up, ends its own connection only.
        with suppress(OSError), client:
            secure = self._context.wrap_socket(client, server_side=True) if self._context else client
            with secure, socket.create_connection(("127.0.0.1", self._port)) as broker:
                if self._passwords is not None and not self._authenticated(secure, broker):
                    return
                back = threading.Thread(target=_pump, args=(broker, secure), daemon=True)
                back.start()
                _pump(secure, broker)
                back.join()

    def _authenticated(self, client: Stream, broker: Stream) -> bool:
        """Answer the client until it has said who it is; what else it asks meanwhile the broker answers."""
        exchange: Exchange | None = None
        while True:
            request = _receive(client)
            key, version, correlation, length = struct.unpack(">hhih", request[:10])
            body = request[10 + max(0, length) :]
            if key == _HANDSHAKE:
                exchange = MECHANISMS[body[2:].decode()](self._passwords or {})
                _send(client, struct.pack(">ihi", correlation, 0, 1) + body)
            elif key == _AUTHENTICATE and exchange:
                words = exchange.answer(body[4:])
                _send(client, _authentication(correlation, version, words))
                if words is None or exchange.done:
                    return words is not None
            else:
                _send(broker, request)
                _send(client, _receive(broker))


def _authentication(correlation: int, version: int, words: bytes | None) -> bytes:
    """SaslAuthenticate's answer; ``words`` are the mechanism's, or None for a refusal."""
    if words is None:
        reason = b"Authentication failed"
        head = struct.pack(">ihh", correlation, _AUTHENTICATION_FAILED, len(reason)) + reason
    else:
        head = struct.pack(">ihh", correlation, 0, -1)
    answer = head + struct.pack(">i", len(words or b"")) + (words or b"")
    return answer + (struct.pack(">q", 0) if version >= 1 else b"")


def _receive(topic_key: Stream) -> bytes:
    (size,) = struct.unpack(">i", _exactly(topic_key, 4))
    return _exactly(topic_key, size)


def _exactly(topic_key: Stream, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = topic_key.recv(size - len(found))
        if not more:
            raise ConnectionResetError("ended in the middle")
        found += more
    return found


def _send(topic_key: Stream, message: bytes) -> None:
    topic_key.sendall(struct.pack(">i", len(message)) + message)


def _pump(source: Stream, sink: Stream) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for topic_key in (source, sink):
        with suppress(OSError):
            topic_key.shutdown(socket.SHUT_RDWR)
