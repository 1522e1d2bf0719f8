"""An upstream that reads HTTP/1.1 as strictly as can be and keeps what it was sent."""

import re
import socket
import threading

TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
VALUE = re.compile(rb"^[\t\x20-\x7e\x80-\xff]*$")


class Malformed(Exception):
    pass


class Recorder:
    """Keeps whole requests, those that were cut off, and messages that no proxy may send."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.whole, self.cut, self.malformed = [], [], []
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

    def keep(self, where, what):
        with self.lock:
            where.append(what)

    def take(self):
        """All that was kept since the last call."""
        with self.lock:
            found = list(self.whole), list(self.cut), list(self.malformed)
            self.whole.clear(), self.cut.clear(), self.malformed.clear()
            return found

    def serve(self, stream):
        reader = stream.makefile("rb")
        with stream, reader:
            while True:
                target = None
                try:
                    line = reader.readline(2_000_000)
                    if not line:
                        return
                    target, length, chunked = self.head(line, reader)
                    body = self.chunks(reader) if chunked else self.exactly(reader, length)
                    self.keep(self.whole, (target, body))
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
                except Malformed as error:
                    self.keep(self.malformed, str(error)[:160])
                    return
                except (OSError, EOFError):
                    if target:
                        self.keep(self.cut, target)
                    return

    def head(self, line, reader):
        match = re.fullmatch(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\S+) HTTP/1\.1\r\n", line)
        if not match:
            raise Malformed(f"request line {line!r}")
        hosts, lengths, codings = [], [], []
        while True:
            line = reader.readline(2_000_000)
            if line == b"\r\n":
                break
            if not line:
                raise EOFError
            name, colon, value = line.partition(b":")
            value = value.removesuffix(b"\r\n").strip(b" \t")
            if not line.endswith(b"\r\n") or not colon or not TOKEN.match(name) or not VALUE.match(value):
                raise Malformed(f"field line {line!r}")
            name = name.lower()
            if name == b"host":
                hosts.append(value)
            elif name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                codings.append(value)
        if len(hosts) != 1 or len(lengths) + len(codings) > 1:
            raise Malformed(f"Host {hosts}, Content-Length {lengths}, Transfer-Encoding {codings}")
        if lengths and not re.fullmatch(rb"\d+", lengths[0]):
            raise Malformed(f"Content-Length {lengths[0]!r}")
        if codings and codings[0].lower() != b"chunked":
            raise Malformed(f"Transfer-Encoding {codings[0]!r}")
        return match[2].decode("latin-1"), int(lengths[0]) if lengths else 0, bool(codings)

    def exactly(self, reader, length):
        body = reader.read(length)
        if len(body) != length:
            raise EOFError
        return body

    def chunks(self, reader):
        body = b""
        while True:
            line = reader.readline(70_000)
            if not line.endswith(b"\n"):
                raise EOFError
            if not re.fullmatch(rb"[0-9a-fA-F]{1,16}\r\n", line):
                raise Malformed(f"chunk size {line!r}")
            size = int(line, 16)
            if size == 0:
                break
            body += self.exactly(reader, size)
            if self.exactly(reader, 2) != b"\r\n":
                raise Malformed("a chunk without its end")
        while (line := reader.readline(70_000)) != b"\r\n":
            if not line:
                raise EOFError
            if b":" not in line or line.lower().startswith((b"host:", b"content-length:", b"transfer-encoding:")):
                raise Malformed(f"trailer {line!r}")
        return body
