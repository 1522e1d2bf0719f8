"""Small clients: one HTTP request, raw bytes, WebSocket, and a load that counts every answer."""

import base64
import http.client
import json
import os
import socket
import ssl
import struct
import threading
import time


def trusting():
    """A TLS context for self-signed certificates."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Answer:
    """A whole answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name):
        """The value of the first such header, or None."""
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]


def ask(host, port, path="/", method="GET", tls=False, headers=None, body=None, timeout=15):
    """One request on a connection of its own."""
    if tls:
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=trusting())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def raw(host, port, data, timeout=5, half_close=False):
    """Sends bytes as they are and returns all that comes back until the end or the time-out."""
    with socket.create_connection((host, port), timeout=timeout) as stream:
        stream.sendall(data)
        if half_close:
            stream.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while chunk := stream.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return got


class WebSocket:
    """A client that speaks just enough of RFC 6455."""

    def __init__(self, host, port, path, tls=False, name=None, timeout=10):
        self.stream = socket.create_connection((host, port), timeout=timeout)
        if tls:
            self.stream = trusting().wrap_socket(self.stream, server_hostname=name or host)
        key = base64.b64encode(os.urandom(16)).decode()
        self.stream.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {name or host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            chunk = self.stream.recv(4096)
            if not chunk:
                raise ConnectionError(f"closed in the handshake after {self.buffer!r}")
            self.buffer += chunk
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        self.status = int(self.head.split()[1])

    def exactly(self, count):
        while len(self.buffer) < count:
            chunk = self.stream.recv(65536)
            if not chunk:
                raise ConnectionError("closed")
            self.buffer += chunk
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def receive(self):
        """The next frame: (opcode, payload)."""
        first, second = self.exactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.exactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.exactly(8))
        return first & 0x0F, self.exactly(length)

    def send(self, payload, opcode=1):
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65536:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        self.stream.sendall(head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def close(self):
        self.stream.close()


class Load:
    """Threads that ask without pause and keep every answer: (time, status or error, replica)."""

    def __init__(self, host, port, path, tls=False, threads=3, pause=0.0, reuse=True, name=None):
        self.target = (host, port, path, tls, name)
        self.pause, self.reuse = pause, reuse
        self.answers, self.lock, self.ending = [], threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]
        # One context: making one loads the system's roots each time.
        self.context = trusting()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(20)

    def connect(self):
        host, port, _, tls, _ = self.target
        if tls:
            return http.client.HTTPSConnection(host, port, timeout=15, context=self.context)
        return http.client.HTTPConnection(host, port, timeout=15)

    def work(self):
        path, name = self.target[2], self.target[4]
        headers = {"Host": name} if name else {}
        connection = self.connect()
        while not self.ending.is_set():
            try:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                response.read()
                found = (time.time(), response.status, response.getheader("x-replica"))
                if response.will_close or not self.reuse:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                found = (time.time(), f"{type(error).__name__}: {error}", None)
                connection.close()
                connection = self.connect()
            with self.lock:
                self.answers.append(found)
            if self.pause:
                self.ending.wait(self.pause)

    def failed(self):
        """Everything that was not a 200."""
        with self.lock:
            return [(status, replica) for _, status, replica in self.answers if status != 200]

    def count(self):
        with self.lock:
            return len(self.answers)

    def first(self, replica):
        """When the first answer of this replica came, or None."""
        with self.lock:
            return next((at for at, _, name in self.answers if name == replica), None)

    def replicas(self, since=0.0):
        with self.lock:
            return {name for at, _, name in self.answers if at >= since and name}
