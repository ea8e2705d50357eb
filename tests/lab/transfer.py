"""One direction of a checksummed transfer, and when its bytes moved."""

import hashlib
import os
import time

# Bytes sent at once.
PIECE = 64 * 1024
# Silences shorter than this are not told, seconds.
SHORT = 0.03


class Silences:
    """When nothing moved: pairs of seconds on the clock that all processes of a machine share."""

    def __init__(self):
        self.first = self.last = time.monotonic()
        self.spans = []

    def moved(self, since=None):
        now = time.monotonic()
        since = self.last if since is None else since
        if now - since > SHORT:
            self.spans.append((since, now))
        self.last = now

    def told(self):
        return {"first": self.first, "last": self.last, "silences": self.spans}


def send(stream, size, rate):
    """Sends `size` bytes that never repeat, at `rate` bytes per second, and their SHA-256.

    What a silence delays is not caught up: a transfer lasts as long as it would, and the silence.
    """
    digest, noise = hashlib.sha256(), os.urandom(PIECE)
    left, number, due = size, 0, time.monotonic()
    while left:
        piece = (number.to_bytes(8, "big") + noise[8:])[: min(PIECE, left)]
        digest.update(piece)
        stream.sendall(piece)
        left -= len(piece)
        number += 1
        due = max(due + len(piece) / rate, time.monotonic() - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))
    stream.sendall(digest.digest())


def receive(stream):
    """Reads to the end: how many bytes came, whether they were right, and when."""
    digest, tail, count, silences = hashlib.sha256(), b"", 0, Silences()
    while data := stream.recv(256 * 1024):
        silences.moved()
        data = tail + data
        tail = data[-32:]
        digest.update(data[:-32])
        count += len(data) - len(tail)
    return {"bytes": count, "right": tail == digest.digest()} | silences.told()
