"""The load of a scenario: a checksummed transfer each way, idle connections, an ssh session that types.

load.py PROXY-PORT HOST BYTES BYTES-PER-SECOND IDLE SSH-COMMAND…

Prints "moving" when everything runs, and at the end, as JSON, when the bytes of each did not move. Fails if one
byte was wrong or one connection broke.
"""

import hashlib
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import transfer

proxy, host = int(sys.argv[1]), sys.argv[2]
size, rate, idle_count = (int(word) for word in sys.argv[3:6])
ssh = sys.argv[6:]
# Seconds without a byte after which a connection counts as broken.
PATIENCE = 120
# Seconds between two strokes of the typist.
STROKE = 0.05
failures = []
told = {}
transfers_done = threading.Event()


def exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        assert piece, f"ended after {len(data)} of {count} bytes"
        data += piece
    return data


def connect(port):
    stream = socket.create_connection(("127.0.0.1", proxy))
    stream.settimeout(PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack(">H", port))
    replies = exactly(stream, 12)
    assert replies[3] == 0, replies
    return stream


def echoed(stream, word):
    stream.sendall(word)
    assert exactly(stream, len(word)) == word, "another word came back"


def download():
    stream = connect(8002)
    stream.sendall(struct.pack(">QQ", size, rate))
    told["download"] = got = transfer.receive(stream)
    assert got["bytes"] == size and got["right"], got


def upload():
    stream = connect(8003)
    transfer.send(stream, size, rate)
    stream.shutdown(socket.SHUT_WR)
    said = b""
    while data := stream.recv(65536):
        said += data
    told["upload"] = got = json.loads(said)
    assert got["bytes"] == size and got["right"], got


class Typist:
    """Types on a terminal of another machine; each letter is seen before the next one."""

    def __init__(self):
        self.session = subprocess.Popen(ssh + ["sha256sum"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.silences = transfer.Silences()
        self.text = b""
        self.type(b"a")

    def type(self, letter):
        before = time.monotonic()
        self.session.stdin.write(letter)
        self.session.stdin.flush()
        shown = b"\r\n" if letter == b"\n" else letter
        assert self.read(len(shown)) == shown
        self.silences.moved(before)
        self.text += letter

    def read(self, count):
        data, out = b"", self.session.stdout.fileno()
        while len(data) < count:
            assert select.select([out], [], [], PATIENCE)[0], "no echo"
            piece = os.read(out, count - len(data))
            assert piece, "the terminal is gone"
            data += piece
        return data

    def work(self):
        while not transfers_done.is_set():
            self.type(b"muses\n"[len(self.text) % 6 :][:1])
            time.sleep(STROKE)
        self.type(b"\n")
        self.session.stdin.write(b"\x04")
        self.session.stdin.flush()
        assert self.read(64).decode() == hashlib.sha256(self.text).hexdigest(), "typed text has changed"
        # What is behind the digest.
        self.session.communicate(timeout=PATIENCE)
        assert self.session.returncode == 0, self.session.returncode
        told["typist"] = self.silences.told() | {"letters": len(self.text)}


def checked(work):
    def body():
        try:
            work()
        except Exception as error:
            failures.append(f"{work.__qualname__}: {error!r}")

    return threading.Thread(target=body)


def main():
    idle = [connect(8001) for _ in range(idle_count)]
    for number, stream in enumerate(idle):
        echoed(stream, b"here %d" % number)
    typist = Typist()
    transfers = [checked(download), checked(upload)]
    workers = [*transfers, checked(typist.work)]
    for worker in workers:
        worker.start()
    print("moving", flush=True)
    for worker in transfers:
        worker.join()
    transfers_done.set()
    workers[-1].join()
    for number, stream in enumerate(idle):
        try:
            echoed(stream, b"still here %d" % number)
        except Exception as error:
            failures.append(f"idle {number}: {error!r}")
    if failures:
        sys.exit("; ".join(failures[:5]))
    print(json.dumps(told))


main()
