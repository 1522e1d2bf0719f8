"""Answers that come before the whole of a request's body has: the client's connection stays when
little is left, and is announced to close when it does not, with the answer readable to its end."""

import socket
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, Skip, equal, eventually
from harness.proxy import Proxy

checks = Checks("early answers")

DYNAMIC = """
http:
  routers:
    hasty: {{ rule: "PathPrefix(`/hasty`)", service: hasty, entryPoints: [web] }}
  services:
    hasty: {{ loadBalancer: {{ servers: [ {{ url: "http://127.0.0.1:{port}" }} ] }} }}
"""

SMALL, LARGE = 100 << 10, 8 << 20
ROOM = 64 << 10


class Hasty:
    """A server that answers at the end of a head, and then closes, in order or at once, or reads
    on, or reads nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.read = Counter()
        self.open = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[stream], daemon=True).start()

    def serve(self, stream):
        with stream, stream.makefile("rb") as reader:
            while line := reader.readline():
                way, length = line.split(b" ")[1], 0
                while field := reader.readline().strip():
                    if field.lower().startswith(b"content-length:"):
                        length = int(field.split(b":")[1])
                if not self.answer(stream, reader, way, length):
                    return

    def answer(self, stream, reader, way, length):
        """Whether another request may come."""
        ends = b"Connection: close\r\n" if way in (b"/hasty/closes", b"/hasty/resets") else b""
        stream.sendall(b"HTTP/1.1 413 Too Much\r\n" + ends + b"Content-Length: 5\r\n\r\nhasty")
        if way == b"/hasty/deaf":
            with self.lock:
                self.open.append(stream.dup())
            return False
        if way == b"/hasty/resets":
            return False
        if way == b"/hasty/closes":
            stream.shutdown(socket.SHUT_WR)
        while length > 0 and (piece := reader.read1(min(length, 65536))):
            length -= len(piece)
            with self.lock:
                self.read[way] += len(piece)
        return way.startswith(b"/hasty/reads")

    def close(self):
        self.listener.close()
        for stream in self.open:
            stream.close()


class Given:
    def __enter__(self):
        self.hasty = Hasty()
        self.proxy = Proxy("early", dynamic=DYNAMIC.format(port=self.hasty.port))
        eventually(5, lambda: self.proxy.ask("/hasty/reads").status == 413)
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        self.hasty.close()

    @contextmanager
    def client(self):
        with socket.create_connection(("127.0.0.1", self.proxy.port), timeout=20) as stream:
            yield Client(stream)


class Client:
    def __init__(self, stream):
        self.stream = stream
        self.reader = stream.makefile("rb")

    def post(self, path, fields, body=b""):
        self.stream.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode() + body)

    def answer(self):
        """Status and fields of the next answer; its body is read."""
        status = int(self.reader.readline().split()[1])
        fields = {}
        while line := self.reader.readline().strip().decode():
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        self.body = self.reader.read(int(fields.get("content-length", 0)))
        return status, fields

    def is_closed(self):
        """Whether the end comes, and nothing before it."""
        return self.reader.read(1) == b""

    def still_serves(self):
        self.stream.sendall(b"POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        return self.answer()[0] == 404


# Wharf itself, and servers that answer early in three ways.
EARLY = {"/none": 404, "/hasty/closes": 413, "/hasty/reads": 413, "/hasty/deaf": 413}


@checks("a short body that comes after its answer is read, and the connection goes on")
def _(given):
    for path, status in EARLY.items():
        if path == "/hasty/deaf":
            continue
        with given.client() as client:
            for _turn in range(3):
                client.post(path, f"Content-Length: {SMALL}\r\n")
                found, fields = client.answer()
                equal((found, fields.get("connection")), (status, None), path)
                client.stream.sendall(b"x" * SMALL)
            assert client.still_serves(), path


@checks("a short chunked body that is there already is read, and the connection goes on")
def _(given):
    with given.client() as client:
        for _turn in range(3):
            client.post("/none", "Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            found, fields = client.answer()
            equal((found, fields.get("connection")), (404, None))
        assert client.still_serves()


@checks("a long body, or one of unknown length: the answer says that it is the last")
def _(given):
    for path, status in EARLY.items():
        for fields in (f"Content-Length: {LARGE}\r\n", "Transfer-Encoding: chunked\r\n"):
            with given.client() as client:
                client.post(path, fields)
                found, said = client.answer()
                equal((found, said.get("connection")), (status, "close"), f"{path} {fields}")


@checks("a client that sends all of a long body before it reads gets its answer and an orderly end")
def _(given):
    for path in ("/none", "/hasty/closes"):
        with given.client() as client:
            client.post(path, f"Content-Length: {LARGE}\r\n")
            for _piece in range(LARGE // ROOM):
                client.stream.sendall(b"x" * ROOM)
            equal(client.answer()[0], EARLY[path], path)
            assert client.is_closed(), path


@checks("the answer of a server that resets its connection behind it is passed on")
def _(given):
    for length in (1000, SMALL, LARGE) * 10:
        with given.client() as client:
            client.post("/hasty/resets", f"Content-Length: {length}\r\n", b"x" * length)
            equal(client.answer()[0], 413, f"{length} bytes")


@checks("what a server goes on reading after its answer still goes to it, to its end")
def _(given):
    with given.client() as client:
        client.post("/hasty/reads/all", f"Content-Length: {LARGE}\r\n")
        equal(client.answer()[0], 413)
        client.stream.sendall(b"x" * LARGE)
        eventually(10, lambda: given.hasty.read[b"/hasty/reads/all"] == LARGE)
        assert client.is_closed()


@checks("a server that answers and reads nothing more does not keep the client from its next request")
def _(given):
    with given.client() as client:
        client.post("/hasty/deaf", f"Content-Length: {SMALL}\r\n")
        equal(client.answer()[0], 413)
        client.stream.sendall(b"x" * SMALL)
        assert client.still_serves()


@checks("an expectation that is not met by 100: the answer is the last, and no body is waited for")
def _(given):
    with given.client() as client:
        client.post("/none", f"Expect: 100-continue\r\nContent-Length: {SMALL}\r\n")
        found, fields = client.answer()
        equal((found, fields.get("connection")), (404, "close"))
        assert client.is_closed()


@checks("HTTP/2: a thousand uploads that are answered early do not harm what else is on the connection")
def _(given):
    try:
        import h2.config
        import h2.connection
        import h2.events
    except ImportError:
        raise Skip("no h2 for Python") from None
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    with socket.create_connection(("127.0.0.1", given.proxy.port), timeout=20) as stream:
        connection.initiate_connection()

        def head(number, method, path):
            fields = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "a")]
            connection.send_headers(number, fields, end_stream=method == "GET")

        def until(number, wanted):
            """Reads until that stream is answered, or reset."""
            while True:
                stream.sendall(connection.data_to_send())
                data = stream.recv(65536)
                assert data, "the connection was closed"
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        raise AssertionError(f"the connection was given up: {event}")
                    if isinstance(event, h2.events.StreamReset):
                        equal(event.error_code, 0, "not an error (RFC 9113 section 8.1)")
                    if isinstance(event, wanted) and event.stream_id == number:
                        return event

        for turn in range(1200):
            number = 1 + 2 * turn
            head(number, "POST", "/none")
            # Sent before its answer is read, as the frames of a real client cross it.
            connection.send_data(number, b"x" * 9000)
            event = until(number, h2.events.ResponseReceived)
            equal(dict(event.headers)[":status"], "404")
        head(2401, "GET", "/none")
        event = until(2401, h2.events.ResponseReceived)
        equal(dict(event.headers)[":status"], "404")


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
