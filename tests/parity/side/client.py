"""A client that sends bytes as they are and reads one answer with all that belongs to it."""

import socket
import ssl


class Ended(Exception):
    """The connection ended before the answer did."""


class Connection:
    """A connection to an entry point, perhaps over TLS, perhaps from another loopback address."""

    def __init__(self, port, tls=None, source=None, timeout=30, preface=b"", address="127.0.0.1"):
        self.socket = socket.create_connection((address, port), timeout, (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if preface:
            self.socket.sendall(preface)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if tls.get("certificate"):
                context.load_cert_chain(*tls["certificate"])
            if tls.get("alpn"):
                context.set_alpn_protocols(tls["alpn"])
            if tls.get("version"):
                context.minimum_version = context.maximum_version = tls["version"]
            self.socket = context.wrap_socket(self.socket, server_hostname=tls.get("name"))
        self.reader = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        line = self.reader.readline(2_000_000)
        if not line.endswith(b"\n"):
            raise Ended
        return line.rstrip(b"\r\n").decode("latin-1")

    def fields(self):
        found = []
        while text := self.line():
            name, _, value = text.partition(":")
            found.append((name.lower(), value.strip()))
        return found

    def answer(self, method="GET"):
        """One answer: a dict of status, headers (pairs), body, and what is unusual about it."""
        try:
            status = self.line()
        except (Ended, ConnectionError):
            return {"closed": "no answer"}
        found = {}
        while True:
            version, code, *_ = status.split(" ")
            headers = self.fields()
            if not code.startswith("1") or code == "101":
                break
            found.setdefault("interim", []).append([int(code), headers])
            status = self.line()
        named = dict(headers)
        found.update({"status": int(code), "headers": headers, "body": b""})
        if version != "HTTP/1.1":
            found["version"] = version
        if method == "HEAD" or code in ("204", "304", "101"):
            return found
        try:
            if "chunked" in named.get("transfer-encoding", ""):
                while size := int(self.line().split(";")[0], 16):
                    found["body"] += self.exactly(size)
                    self.line()
                if trailers := self.fields():
                    found["trailers"] = trailers
            elif "content-length" in named:
                found["body"] = self.exactly(int(named["content-length"]))
            else:
                found["body"] = self.reader.read()
        except (Ended, ConnectionError):
            found["closed"] = "in the body"
        return found

    def exactly(self, size):
        data = self.reader.read(size)
        if len(data) != size:
            raise Ended
        return data

    def is_closed(self):
        """Whether the other side has ended the connection."""
        self.socket.settimeout(3)
        try:
            return self.socket.recv(1) == b""
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True


def request(method, target, headers, body=b"", version="HTTP/1.1"):
    """The bytes of a request; Content-Length is added when there is a body and no framing."""
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers)]
    framed = {name.lower() for name, _ in headers} & {"content-length", "transfer-encoding"}
    if body and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
