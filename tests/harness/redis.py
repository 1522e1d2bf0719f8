"""A real Redis, a client of it, and servers that say they are one."""

import shutil
import socket
import ssl
import threading

from .checks import Skip, eventually
from .proxy import Process, free_ports, listens


class Failed(Exception):
    """An error that Redis answered."""


class Client:
    """One connection; answers as Python values."""

    def __init__(self, port, tls=None):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=30)
        if tls:
            self.stream = tls.wrap_socket(self.stream, server_hostname="127.0.0.1")
        self.file = self.stream.makefile("rb")

    def __call__(self, *words):
        words = [str(word).encode() for word in words]
        lines = [b"*%d" % len(words)]
        for word in words:
            lines += [b"$%d" % len(word), word]
        self.stream.sendall(b"\r\n".join([*lines, b""]))
        return self.answer()

    def answer(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise Failed(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == "-1" else [self.answer() for _n in range(int(rest))]
        return rest

    def close(self):
        self.file.close()
        self.stream.close()


class Redis(Process):
    """redis-server on a free port, or on this one; `options` are its own."""

    def __init__(self, *options, port=None, tls=None, name="redis"):
        if not shutil.which("redis-server"):
            raise Skip("redis-server is missing: apt-get install redis-server")
        self.port = port or free_ports(1)[0]
        self.endpoint = f"127.0.0.1:{self.port}"
        self.tls = tls
        self.clients = []
        place = ["--port", "0", "--tls-port", str(self.port)] if tls else ["--port", str(self.port)]
        super().__init__(["redis-server", "--bind", "127.0.0.1", "--save", "", *place, *options], f"{name}-{self.port}")
        try:
            eventually(10, lambda: listens(self.port))
        except BaseException:
            self.stop()
            raise

    def client(self, *auth):
        client = Client(self.port, self.tls)
        self.clients.append(client)
        if auth:
            client("AUTH", *auth)
        return client

    def stop(self):
        for client in self.clients:
            client.close()
        super().stop()


def trusting(ca, cert, key):
    """A TLS context of a client with a certificate of its own."""
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(str(cert), str(key))
    return context


class Fake:
    """Accepts connections and gives each to `serve(socket)` on a thread of its own."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.endpoint = f"127.0.0.1:{self.port}"
        self.serve = serve
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                stream, _peer = self.listener.accept()
            except OSError:
                return
            self.open.append(stream)
            threading.Thread(target=self.one, args=(stream,), daemon=True).start()

    def one(self, stream):
        try:
            self.serve(stream)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        for stream in self.open:
            stream.close()
