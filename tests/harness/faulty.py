"""A server that misbehaves as the path says, and keeps what it was asked."""

import socket
import struct
import threading
import time


class Faulty:
    """`/status/503` answers so; `/first/2/503` does so to the first two requests; `/close` and
    `/reset` end the connection without an answer; `/cut` in the middle of one; `/endless` never
    stops; `/size/N` has so many bytes; anything else is 200 with the request's body."""

    def __init__(self, name="faulty"):
        self.name = name
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.lock = threading.Lock()
        self.requests = []
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Without it the thread that accepts would hold the port.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def take(self):
        """The requests since the last call: (method, target, fields, body)."""
        with self.lock:
            found, self.requests = self.requests, []
            return found

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[stream], daemon=True).start()

    def serve(self, stream):
        reader = stream.makefile("rb")
        with stream, reader:
            try:
                while line := reader.readline():
                    method, target, _ = line.decode("latin-1").split()
                    fields = self.fields(reader)
                    body = self.body(reader, fields)
                    with self.lock:
                        self.requests.append((method, target, fields, body))
                        seen = len(self.requests)
                    if not self.answer(stream, method, target, body, seen):
                        return
            except (OSError, ValueError):
                return

    def fields(self, reader):
        fields = {}
        while (line := reader.readline().decode("latin-1").rstrip("\r\n")):
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return fields

    def body(self, reader, fields):
        if fields.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(reader.readline(), 16):
                body += reader.read(size)
                reader.readline()
            reader.readline()
            return body
        return reader.read(int(fields.get("content-length", 0)))

    def answer(self, stream, method, target, body, seen):
        """Answers; false when the connection is to end."""
        word, *rest = target.partition("?")[0].strip("/").split("/")
        status = 200
        if word == "status":
            status = int(rest[0])
        elif word == "first":
            status = int(rest[1]) if seen <= int(rest[0]) else 200
        elif word == "close":
            return False
        elif word == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        elif word == "cut":
            stream.sendall(b"HTTP/1.1 503 Cut\r\nContent-Length: 100\r\n\r\nhalf")
            return False
        elif word == "endless":
            stream.sendall(b"HTTP/1.1 500 Endless\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                stream.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
                time.sleep(0.001)
        elif word == "size":
            body = b"y" * int(rest[0])
        head = f"HTTP/1.1 {status} Said\r\nX-From: {self.name}\r\nContent-Length: {len(body)}\r\n\r\n"
        stream.sendall(head.encode() + (b"" if method == "HEAD" else body))
        return True
