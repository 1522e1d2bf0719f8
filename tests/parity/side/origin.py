"""Upstreams that keep what they were sent, byte for byte, and answer what a probe wants."""

import socket
import ssl
import threading
from collections import deque


class Reply:
    """One answer. `act` is what else a server may do: `close` instead of answering, `end` after it, cut, hang, upgrade; `raw` is sent as it is."""

    def __init__(self, status=200, headers=None, body="", act=None, raw=None, chunks=None, trailers=None):
        self.status, self.headers = status, list((headers or {}).items()) if isinstance(headers, dict) else headers or []
        self.body = body.encode() if isinstance(body, str) else body
        self.act, self.raw, self.chunks, self.trailers = act, raw, chunks, trailers

    def bytes(self, method):
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} Said", *(f"{name}: {value}" for name, value in self.headers)]
        bodiless = method == "HEAD" or self.status in (204, 304)
        body = b"" if bodiless else self.body
        named = {name.lower() for name, _ in self.headers}
        if self.chunks is not None:
            lines.append("Transfer-Encoding: chunked")
            pieces = [c.encode() if isinstance(c, str) else c for c in self.chunks]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"
            body += b"".join(f"{name}: {value}\r\n".encode() for name, value in (self.trailers or {}).items()) + b"\r\n"
            body = b"" if bodiless else body
        elif "content-length" not in named and self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        if self.act == "cut":
            body = body[: len(body) // 2]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


class Origin:
    """Listens on loopback; `replies` are given out in turn, then 200 with the origin's name."""

    def __init__(self, name, certificate=None, authority=None):
        self.name, self.replies, self.lock = name, deque(), threading.Lock()
        self.seen, self.arrived = [], threading.Condition(self.lock)
        self.release = threading.Event()
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
            if authority:
                self.context.load_verify_locations(authority)
                self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = f"{'https' if certificate else 'http'}://{self.address}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[stream], daemon=True).start()

    def close(self):
        self.listener.close()

    def ready(self, replies):
        """Before a probe: its answers; what came since the last probe is forgotten."""
        with self.lock:
            self.replies = deque(replies)
            self.seen = []
            self.release.clear()

    def wait(self, count, seconds):
        """Waits until so many requests are here."""
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.seen) >= count, seconds)

    def serve(self, stream):
        stream.settimeout(60)
        try:
            if self.context:
                stream = self.context.wrap_socket(stream, server_side=True)
            with stream, stream.makefile("rb") as reader:
                while self.one(stream, reader):
                    pass
        except (OSError, ValueError, EOFError):
            pass

    def one(self, stream, reader):
        line = reader.readline(1_000_000).decode("latin-1").rstrip("\r\n")
        if not line:
            return False
        method, target, _version = line.split(" ")
        headers = []
        while text := reader.readline(1_000_000).decode("latin-1").rstrip("\r\n"):
            name, _, value = text.partition(":")
            headers.append((name, value.strip()))
        named = {name.lower(): value for name, value in headers}
        probed = target.startswith("/health")
        if named.get("expect", "").lower() == "100-continue":
            stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, trailers = read_body(reader, named)
        with self.arrived:
            if not probed:
                self.seen.append({"origin": self.name, "method": method, "target": target, "headers": headers, "body": body, "trailers": trailers})
                reply = self.replies.popleft() if self.replies else Reply(body=f"{self.name}\n", headers={"Content-Type": "text/plain", "X-Origin": self.name})
            else:
                reply = Reply(body="well\n")
            self.arrived.notify_all()
        if reply.act == "close":
            return False
        if reply.act == "hang":
            self.release.wait(60)
        stream.sendall(reply.bytes(method))
        if reply.act == "upgrade":
            while data := stream.recv(65536):
                stream.sendall(data)
        return reply.act is None or reply.act == "hang"


def read_body(reader, named):
    """The body and its trailers."""
    if "chunked" not in named.get("transfer-encoding", "").lower():
        length = int(named.get("content-length", 0))
        body = reader.read(length)
        if len(body) != length:
            raise EOFError
        return body, {}
    body, trailers = b"", {}
    while size := int(reader.readline(1000).split(b";")[0], 16):
        body += reader.read(size)
        reader.readline(10)
    while text := reader.readline(65536).decode("latin-1").rstrip("\r\n"):
        name, _, value = text.partition(":")
        trailers[name.lower()] = value.strip()
    return body, trailers
