"""Writes every byte that crosses the interfaces of this namespace into a file: capture.py FILE"""

import socket
import sys

EVERY_PROTOCOL = 3
SO_RCVBUFFORCE = 33
# What arrives while others have the processor waits here; the default holds a few packets only.
ROOM = 64 << 20

capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
capture.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
with open(sys.argv[1], "wb", buffering=0) as out:
    while True:
        out.write(capture.recv(1 << 18))
