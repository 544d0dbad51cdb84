"""A proxy that makes a broker old: without topic ids, as Kafka before 2.8.

It lowers the highest versions of Metadata and Fetch in the answers to ApiVersions, so that clients do not ask for
topic ids.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

from tests.servers.kafka_proxy import KafkaProxy, receive, send

_FETCH, _METADATA, _OFFSET_COMMIT, _API_VERSIONS = 1, 3, 8, 18
_HIGHEST = {_METADATA: 9, _FETCH: 12}


class KafkaWithoutIds(KafkaProxy):
    """A proxy of the broker on ``port``.

    ``commits`` has the OffsetCommit requests: the embedded broker forgets the metadata of a commit.
    """

    def __init__(self, port: int) -> None:
        self.commits: list[bytes] = []
        super().__init__(port)

    def serve(self, client: socket.socket) -> None:
        """Forward requests and answers."""
        versions: dict[int, int] = {}
        with self.connect_broker() as broker:
            back = threading.Thread(target=self._answer, args=(broker, client, versions), daemon=True)
            back.start()
            with suppress(OSError):
                while True:
                    request = receive(client)
                    key, version, correlation = struct.unpack(">hhi", request[:8])
                    if key == _OFFSET_COMMIT:
                        self.commits.append(request)
                    if key == _API_VERSIONS:
                        versions[correlation] = version
                    send(broker, request)
            broker.shutdown(socket.SHUT_RDWR)
            back.join()

    def _answer(self, broker: socket.socket, client: socket.socket, versions: dict[int, int]) -> None:
        with suppress(OSError):
            while True:
                answer = receive(broker)
                (correlation,) = struct.unpack(">i", answer[:4])
                if correlation in versions:
                    answer = _lower_versions(bytearray(answer), versions.pop(correlation))
                send(client, answer)
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
