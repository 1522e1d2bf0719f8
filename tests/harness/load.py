"""An open-loop load: each request goes out when it is due, whatever became of those before it.

A client that waits for its answer before it asks again hides a stall: it asks less while there is
one. Here all that would have come meanwhile come, and what each waited counts from when it was
due."""

import asyncio
import base64
import itertools
import os
import threading
import time
from collections import Counter, namedtuple

# No answer after so many seconds is a failure of its own kind. Holding a request takes ten.
LIMIT = 30

# What came of one request. `kind` is GET, SLOW, STREAM, POST or WS; `outcome` "ok" or what went
# wrong; `wait` seconds from when it was due to the head of the answer, without the time that the
# application was asked to take; `replica` who answered; `goodbye` a WebSocket was told so.
Result = namedtuple("Result", "kind ident due wait outcome replica goodbye", defaults=[False])

# Requests a second of each kind.
MIX = {"GET": 60, "POST": 40, "SLOW": 6, "STREAM": 6, "WS": 4}

# How long things take: the answers of SLOW and POST, the pieces of STREAM, a WebSocket's life.
SLOW_MS, POST_MS = 400, 5
PIECES, PIECE_MS = 6, 80
SOCKET_LIFE = 1.5
SOCKET_PAUSE = 0.1


class Failed(Exception):
    """What went wrong, in a word or two."""


class Connection:
    """One connection to the proxy."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, host, port):
        try:
            return cls(*await asyncio.open_connection(host, port))
        except OSError as error:
            raise Failed("refused") from error

    async def ask(self, head, body=b""):
        self.writer.write(head + body)
        await self.writer.drain()

    async def head(self):
        """The status and the fields of an answer."""
        try:
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            raise Failed("cut in the head" if error.partial else "closed") from error
        first, *lines = text.rstrip("\r\n").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        return int(first.split(" ")[1]), fields

    async def body(self, fields):
        try:
            if fields.get("transfer-encoding") != "chunked":
                return await self.reader.readexactly(int(fields.get("content-length", 0)))
            body = b""
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
            return body
        except asyncio.IncompleteReadError as error:
            raise Failed("cut") from error

    def may_be_used_again(self, fields):
        return fields.get("connection") != "close" and not self.reader.at_eof()

    def close(self):
        self.writer.close()


class Load:
    """Asks one host of a proxy on this machine, on a thread of its own."""

    ids = itertools.count()

    def __init__(self, port, name, mix=None, address="127.0.0.1"):
        self.address, self.port, self.name = address, port, name
        self.mix = {**MIX, **(mix or {})}
        self.results, self.lock = [], threading.Lock()
        self.ending = threading.Event()
        self.idle, self.open = [], set()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()

    # --- what came of it, from any thread ---

    def all(self):
        with self.lock:
            return list(self.results)

    def count(self):
        with self.lock:
            return len(self.results)

    def failed(self):
        return [result for result in self.all() if result.outcome != "ok"]

    def replicas(self, since=0.0):
        """Who answered what was due since then (time.monotonic())."""
        return {result.replica for result in self.all() if result.due >= since and result.replica}

    # --- the load itself ---

    async def run(self):
        start = time.monotonic() + 0.05
        running = set()
        # The kinds are shifted against each other, so that they do not come in bursts.
        due = [[start + n / 1000, kind] for n, (kind, rate) in enumerate(self.mix.items()) if rate]
        while not self.ending.is_set():
            due.sort()
            at, kind = due[0]
            due[0][0] += 1 / self.mix[kind]
            await asyncio.sleep(max(0, at - time.monotonic()))
            task = asyncio.create_task(self.one(kind, at))
            running.add(task)
            task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)
        for connection in self.idle:
            connection.close()

    async def one(self, kind, due):
        ident = f"{self.name}-{os.getpid()}-{next(self.ids)}"
        # Filled in on the way, so that a failure says how far it came.
        seen = {"wait": None, "replica": None}
        try:
            await asyncio.wait_for(getattr(self, kind.lower())(ident, seen, due), LIMIT)
            outcome = "ok"
        except asyncio.TimeoutError:
            outcome = "time-out"
        except Failed as error:
            outcome = str(error)
        except ConnectionError:
            outcome = "reset"
        wait = time.monotonic() - due if seen["wait"] is None else seen["wait"]
        with self.lock:
            goodbye = seen.get("goodbye", False)
            self.results.append(Result(kind, ident, due, wait, outcome, seen["replica"], goodbye))

    def request(self, method, target, fields=""):
        return f"{method} {target} HTTP/1.1\r\nHost: {self.name}\r\n{fields}\r\n".encode()

    async def get(self, ident, seen, due):
        await self.exchange(self.request("GET", f"/?id={ident}"), seen, due)

    async def slow(self, ident, seen, due):
        head = self.request("GET", f"/slow?ms={SLOW_MS}&id={ident}")
        await self.exchange(head, seen, due, takes=SLOW_MS / 1000)

    async def stream(self, ident, seen, due):
        head = self.request("GET", f"/stream?n={PIECES}&ms={PIECE_MS}&whole=true&id={ident}")
        body = await self.exchange(head, seen, due)
        if body.count(b"chunk") != PIECES:
            raise Failed("wrong body")

    async def post(self, ident, seen, due):
        body = ident.encode() * 50
        head = self.request("POST", f"/count?ms={POST_MS}&id={ident}", f"Content-Length: {len(body)}\r\n")
        answer = await self.exchange(head, seen, due, body, takes=POST_MS / 1000)
        if int(answer) != len(body):
            raise Failed("wrong body")

    async def exchange(self, head, seen, due, body=b"", takes=0.0):
        connection = None
        while self.idle and connection is None:
            connection = self.idle.pop()
            if connection.reader.at_eof():
                connection.close()
                connection = None
        connection = connection or await Connection.open(self.address, self.port)
        is_done = False
        try:
            await connection.ask(head, body)
            status, fields = await connection.head()
            seen["wait"] = max(0.0, time.monotonic() - due - takes)
            seen["replica"] = fields.get("x-replica")
            answer = await connection.body(fields)
            is_done = connection.may_be_used_again(fields)
        finally:
            if is_done:
                self.idle.append(connection)
            else:
                connection.close()
        if status != 200:
            raise Failed(f"status {status}")
        return answer

    async def ws(self, ident, seen, due):
        """Opens a WebSocket and has messages echoed for a while. A server that says goodbye
        (RFC 6455 section 7.1.1) has ended it properly; one that is just gone has not."""
        connection = await Connection.open(self.address, self.port)
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            fields = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            await connection.ask(self.request("GET", f"/ws?id={ident}", fields))
            status, fields = await connection.head()
            seen["wait"], seen["replica"] = time.monotonic() - due, fields.get("x-replica")
            if status != 101:
                raise Failed(f"status {status}")
            seen["goodbye"] = await self.converse(connection)
        finally:
            connection.close()

    async def converse(self, connection):
        """Returns whether the server said goodbye first."""
        frames = asyncio.Queue()
        reading = asyncio.create_task(read_frames(connection.reader, frames))
        try:
            if await frames.get() == (None, None):  # else it is the greeting
                raise Failed("cut")
            end = time.monotonic() + SOCKET_LIFE
            while time.monotonic() < end:
                message = os.urandom(8).hex().encode()
                await connection.ask(masked(1, message))
                if not await self.echoed(frames, message):
                    return True
            await connection.ask(masked(8, b"\x03\xe8"))
            await frames.get()
            return False
        except ConnectionError:
            # Written into a connection that had been ended; properly, if a goodbye came.
            await reading
            if not any(frames.get_nowait()[0] == 8 for _turn in range(frames.qsize())):
                raise
            return True
        finally:
            reading.cancel()

    async def echoed(self, frames, message):
        """Whether the message came back, and a rest; false when the server says goodbye."""
        kind, payload = await frames.get()
        if kind == 1 and payload != message:
            raise Failed("wrong echo")
        try:
            # A goodbye may come while there is nothing to say, too.
            if kind == 1:
                kind, _ = await asyncio.wait_for(frames.get(), SOCKET_PAUSE)
        except asyncio.TimeoutError:
            return True
        if kind is None:
            raise Failed("cut")
        return False


async def read_frames(reader, frames):
    """Puts each frame of a server there, (opcode, payload), and (None, None) at the end."""
    buffer = b""
    try:
        while chunk := await reader.read(65536):
            buffer += chunk
            # The demo server's frames are short and whole.
            while len(buffer) >= 2 and len(buffer) >= 2 + buffer[1]:
                frames.put_nowait((buffer[0] & 0x0F, buffer[2 : 2 + buffer[1]]))
                buffer = buffer[2 + buffer[1] :]
    except ConnectionError:
        pass
    frames.put_nowait((None, None))


def masked(opcode, payload):
    mask = os.urandom(4)
    head = bytes([0x80 | opcode, 0x80 | len(payload)])
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def figures(results):
    """The figures of a run as one line: requests, failed by kind, longest wait."""
    failed = Counter(f"{result.kind} {result.outcome}" for result in results if result.outcome != "ok")
    said = ", ".join(f"{count} {what}" for what, count in sorted(failed.items()))
    longest = max(results, key=lambda result: result.wait, default=None)
    wait = f"; longest wait {longest.wait:.2f} s ({longest.kind})" if longest else ""
    return f"{len(results)} requests, {sum(failed.values())} failed{f' ({said})' if said else ''}{wait}"
