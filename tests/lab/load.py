"""The load of a scenario: a transfer each way, 100 idle connections, and a session that types.

Every byte is checked; the longest silence of the typist and of the download is printed.
"""

import socket
import struct
import sys
import threading
import time

from serve import pattern

proxy, host, size = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
# Bytes per second of each transfer, so that it is under way when the failure comes.
RATE = 5_000_000
PIECE = 50_000
failures = []
silences = {}


def exactly(stream, count):
    data = b""
    while len(data) < count:
        piece = stream.recv(count - len(data))
        assert piece, f"ended after {len(data)} of {count} bytes"
        data += piece
    return data


def connect(port):
    stream = socket.create_connection(("127.0.0.1", proxy))
    stream.settimeout(60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.sendall(b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack(">H", port))
    replies = exactly(stream, 12)
    assert replies[3] == 0, replies
    return stream


def checked(work):
    def body():
        try:
            work()
        except Exception as error:
            failures.append(f"{work.__name__}: {error!r}")

    return threading.Thread(target=body)


def download():
    stream = connect(8002)
    stream.sendall(struct.pack(">Q", size))
    expected, at, longest, begin = pattern(size), 0, 0.0, time.monotonic()
    while True:
        before = time.monotonic()
        data = stream.recv(PIECE)
        longest = max(longest, time.monotonic() - before)
        if not data:
            break
        assert data == expected[at : at + len(data)], f"wrong byte after {at}"
        at += len(data)
        time.sleep(max(0.0, at / RATE - (time.monotonic() - begin)) if at / RATE < 30 else 0)
    assert at == size, f"{at} of {size} bytes"
    silences["download"] = longest


def upload():
    stream = connect(8003)
    data, begin = pattern(size), time.monotonic()
    for at in range(0, size, PIECE):
        stream.sendall(data[at : at + PIECE])
        time.sleep(max(0.0, at / RATE - (time.monotonic() - begin)))
    stream.shutdown(socket.SHUT_WR)
    count, good = struct.unpack(">Q?", exactly(stream, 9))
    assert (count, good) == (size, True), (count, good)


def typist():
    stream = connect(8001)
    longest, begin, number = 0.0, time.monotonic(), 0
    while time.monotonic() - begin < size / RATE:
        before = time.monotonic()
        key = struct.pack(">I", number)
        stream.sendall(key)
        assert exactly(stream, 4) == key
        longest = max(longest, time.monotonic() - before)
        number += 1
        time.sleep(0.02)
    silences["typist"] = longest


def main():
    idle = [connect(8001) for _ in range(100)]
    workers = [checked(work) for work in (download, upload, typist)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number, stream in enumerate(idle):
        try:
            word = b"still here %d" % number
            stream.sendall(word)
            assert exactly(stream, len(word)) == word
        except Exception as error:
            failures.append(f"idle {number}: {error!r}")
    if failures:
        sys.exit("; ".join(failures[:5]))
    told = ", ".join(f"{name} {span:.2f} s" for name, span in sorted(silences.items()))
    print(f"every byte right, {len(idle)} idle connections alive; longest silence: {told}")


main()
