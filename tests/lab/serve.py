"""Services of the lab: an HTTP server of patterns (8000), an echo (8001), a source and a sink (8002, 8003)."""

import http.server
import socket
import socketserver
import struct
import threading


def pattern(size):
    block = bytes(range(251)) * 4000
    return (block * (size // len(block) + 1))[:size]


class Http(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = pattern(int(self.path.rsplit("/", 1)[1]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        count = 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                count += len(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        else:
            count = len(self.rfile.read(int(self.headers["Content-Length"])))
        body = str(count).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Source(socketserver.BaseRequestHandler):
    """Sends as many bytes of the pattern as it is asked for, then ends."""

    def handle(self):
        size = struct.unpack(">Q", self.request.recv(8, socket.MSG_WAITALL))[0]
        self.request.sendall(pattern(size))


class Sink(socketserver.BaseRequestHandler):
    """Reads to the end and says whether it was the pattern, and how much."""

    def handle(self):
        got = bytearray()
        while data := self.request.recv(1 << 20):
            got += data
        good = got == pattern(len(got))
        self.request.sendall(struct.pack(">Q?", len(got), good))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    for port, handler in [(8001, Echo), (8002, Source), (8003, Sink)]:
        threading.Thread(target=Server(("", port), handler).serve_forever, daemon=True).start()
    http.server.ThreadingHTTPServer(("", 8000), Http).serve_forever()
