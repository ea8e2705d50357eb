"""Services of the lab.

8000: HTTP: patterns, an upload counter, git by its own CGI program, a page with many assets and a WebSocket.
8001: echo. 8002, 8003: source and sink of checksummed transfers.
"""

import base64
import functools
import hashlib
import http.server
import json
import os
import selectors
import socket
import socketserver
import struct
import subprocess
import sys
import threading

import transfer

GIT_ROOT = sys.argv[1] if len(sys.argv) > 1 else "/nonexistent"
# Scripts and pictures of the page, each.
ASSETS = 100
# Set when the page says that it has everything; only then its last picture comes, so the browser waits.
page_done = threading.Event()


@functools.lru_cache
def pattern(size):
    block = bytes(range(251)) * 4000
    return (block * (size // len(block) + 1))[:size]


def page():
    scripts = "".join(f'<script src="/page/{n}.js"></script>\n' for n in range(ASSETS))
    pictures = "".join(f'<img src="/page/{n}.svg" onload="pictures++; look()">\n' for n in range(ASSETS))
    return f"""<!DOCTYPE html><html><body><p id="result">nothing</p><script>
var scripts = 0, pictures = 0, echo = '', socket = new WebSocket('ws://' + location.host + '/echo');
socket.onopen = () => socket.send('is there anybody');
socket.onmessage = message => {{ echo = message.data; look(); }};
function look() {{
  if (scripts < {ASSETS} || pictures < {ASSETS} || !echo) return;
  document.getElementById('result').textContent = `${{scripts}} scripts, ${{pictures}} pictures, echo: ${{echo}}`;
  fetch('/page/done');
}}
</script>
{scripts}{pictures}<img src="/page/last.svg"></body></html>"""


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path
        if path.startswith("/pattern/"):
            self.answer("application/octet-stream", pattern(int(path.rsplit("/", 1)[1])))
        elif path.startswith("/git/"):
            self.git()
        elif path == "/echo":
            self.echo()
        elif path == "/page":
            self.answer("text/html", page().encode())
        elif path == "/page/done":
            page_done.set()
            self.answer("text/plain", b"")
        elif path.startswith("/page/") and path.endswith(".js"):
            self.answer("text/javascript", b"scripts++; look();")
        elif path.startswith("/page/"):
            if path == "/page/last.svg":
                page_done.wait(60)
            self.answer("image/svg+xml", b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')
        else:
            self.send_error(404)

    def do_PUT(self):
        self.answer("text/plain", str(len(self.body())).encode())

    def do_POST(self):
        self.git()

    def answer(self, kind, body):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def git(self):
        """`git http-backend` behind CGI (RFC 3875)."""
        body = self.body()
        path, _, query = self.path.partition("?")
        variables = {
            "GIT_PROJECT_ROOT": GIT_ROOT,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        out = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=os.environ | variables)
        head, _, rest = out.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    def echo(self):
        """A WebSocket that sends every short text back (RFC 6455)."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while (head := self.rfile.read(2)) and head[0] & 15 == 1:
            size = head[1] & 127
            assert head[1] & 128 and size < 126, "a short, masked text"
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(size)))
            self.wfile.write(bytes([0x81, size]) + text)
            self.wfile.flush()

    def log_message(self, *_):
        pass


class Source(socketserver.BaseRequestHandler):
    """Sends as many bytes as it is asked for, at the rate that it is asked for, and their digest."""

    def handle(self):
        size, rate = struct.unpack(">QQ", self.request.recv(16, socket.MSG_WAITALL))
        transfer.send(self.request, size, rate)


class Sink(socketserver.BaseRequestHandler):
    """Reads to the end and tells what came, when."""

    def handle(self):
        got = transfer.receive(self.request)
        self.request.sendall(json.dumps(got).encode())


def dual(kind):
    """A server for IPv4 and IPv6."""

    class Server(kind):
        address_family = socket.AF_INET6
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 1024

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            super().server_bind()

    return Server


def echo(port):
    """One thread for all: many connections, little to do."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                ready.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            try:
                data = key.fileobj.recv(65536)
                key.fileobj.sendall(data)
            except OSError:
                data = b""
            if not data:
                ready.unregister(key.fileobj)
                key.fileobj.close()


if __name__ == "__main__":
    threading.Thread(target=echo, args=(8001,), daemon=True).start()
    for port, handler in [(8002, Source), (8003, Sink)]:
        server = dual(socketserver.ThreadingTCPServer)(("", port), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    dual(http.server.ThreadingHTTPServer)(("", 8000), Http).serve_forever()
