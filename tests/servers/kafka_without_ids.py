"""A proxy that makes a broker old: without topic ids, as Kafka before 2.8.

It lowers the highest versions of Metadata and Fetch in the answers to ApiVersions, so that clients do not ask for
topic ids. See https://kafka.apache.org/protocol.html.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

from tests.servers.kafka_front import _receive, _send

_FETCH, _METADATA, _OFFSET_COMMIT, _API_VERSIONS = 1, 3, 8, 18
_HIGHEST = {_METADATA: 9, _FETCH: 12}


class KafkaWithoutIds:
    """A proxy at ``address`` of the broker on ``port``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.commits: list[bytes] = []
        """The OffsetCommit requests: the embedded broker forgets the metadata of a commit."""
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

    def _serve(self, client: socket.socket) -> None:
        versions: dict[int, int] = {}
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._port)) as broker:
            back = threading.Thread(target=self._answer, args=(broker, client, versions), daemon=True)
            back.start()
            with suppress(OSError):
                while True:
                    request = _receive(client)
                    key, version, correlation = struct.unpack(">hhi", request[:8])
                    if key == _OFFSET_COMMIT:
                        self.commits.append(request)
                    if key == _API_VERSIONS:
                        versions[correlation] = version
                    _send(broker, request)
            broker.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answer(self, broker: socket.socket, client: socket.socket, versions: dict[int, int]) -> None:
        with suppress(OSError):
            while True:
                answer = _receive(broker)
                (correlation,) = struct.unpack(">i", answer[:4])
                if correlation in versions:
                    answer = _lower_versions(bytearray(answer), versions.pop(correlation))
                _send(client, answer)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _lower_versions(answer: bytearray, version: int) -> bytes:
    at = 6  # After the correlation id and the error code.
    if version >= 3:  # A compact array: its length plus one, as a varint; each entry ends with a tag byte.
        length = shift = 0
        while True:
            byte = answer[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        length, step = length - 1, 7
    else:
        (length,) = struct.unpack(">i", answer[at : at + 4])
        at, step = at + 4, 6
    for entry in range(at, at + length * step, step):
        key, _, highest = struct.unpack(">hhh", answer[entry : entry + 6])
        if key in _HIGHEST:
            answer[entry + 4 : entry + 6] = struct.pack(">h", min(highest, _HIGHEST[key]))
    return bytes(answer)
