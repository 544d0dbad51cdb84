"""The base of proxies of a broker, and the framing of Kafka's protocol: https://kafka.apache.org/protocol.html."""

from __future__ import annotations

import socket
import struct
import threading
from abc import ABC, abstractmethod
from contextlib import suppress


class KafkaProxy(ABC):
    """A proxy at ``address`` of the broker on ``port``, with a thread for each client."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def connect_broker(self) -> socket.socket:
        """Return a new connection to the broker."""
        return socket.create_connection(("127.0.0.1", self._port))

    @abstractmethod
    def serve(self, client: socket.socket) -> None:
        """Serve one client until it disconnects. An ``OSError`` ends only this connection."""

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            self.serve(client)


def receive(connection: socket.socket) -> bytes:
    """Return the next message, without its size."""
    (size,) = struct.unpack(">i", _read_exactly(connection, 4))
    return _read_exactly(connection, size)


def send(connection: socket.socket, message: bytes) -> None:
    """Send a message, preceded by its size."""
    connection.sendall(struct.pack(">i", len(message)) + message)


def _read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the connection ended within a message")
        data += more
    return data
