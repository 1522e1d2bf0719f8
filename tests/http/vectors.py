"""Hostile HTTP/1.1 heads and bodies (RFC 9112, known ways of smuggling), each sent alone, in front
of a pipelined request, and byte by byte.

Handled safely means: nothing malformed and nothing hidden reaches the server; what must be refused
is answered with an error or closed, and what follows on its connection is not taken.
"""

import re
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy
from harness.recorder import Recorder

checks = Checks("http")

DYNAMIC = """
http:
  routers:
    all: {{ rule: "PathPrefix(`/`)", service: recorder, entryPoints: [web] }}
  services:
    recorder: {{ loadBalancer: {{ servers: [ {{ url: "http://127.0.0.1:{port}" }} ] }} }}
"""

REFUSE, PASS, EITHER = "refuse", "pass", "either"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
VECTORS = []


def add(rule, name, verdict, data):
    VECTORS.append((rule, name, verdict, data))


def post(fields, body=b"", version=b"1.1", host=b"Host: a\r\n"):
    return b"POST /v HTTP/" + version + b"\r\n" + host + fields + b"\r\n" + body


def get(fields=b"", line=b"GET /v HTTP/1.1", host=b"Host: a\r\n"):
    return line + b"\r\n" + host + fields + b"\r\n"


def chunked(body, extra=b""):
    return post(b"Transfer-Encoding: chunked\r\n" + extra, body)


# H1: both framings. Alone the chunked body ends the message; the rest would be smuggled.
for spelling in (b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked", b"Transfer-Encoding:\tchunked", b"TRANSFER-ENCODING: chunked "):
    for first in (True, False):
        lines = [b"Content-Length: 4", spelling]
        fields = b"\r\n".join(lines if first else lines[::-1]) + b"\r\n"
        add("H1", f"both framings, {spelling.decode()!r}, length {'first' if first else 'last'}", REFUSE, post(fields, b"0\r\n\r\n" + SMUGGLED))
add("H1", "both framings, whole body inside the length", REFUSE, post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"))

# H2: lengths that two readers read differently.
for value in (b"+5", b"-5", b"5 5", b"5,5,6", b"5, 6", b"0x5", b"5.0", b"", b" ", b"five", b"5;q=1", b"9223372036854775808", b"99999999999999999999", b"5\x0b", b"5\xa0", b"0005a", b"1e1", b"\"5\""):
    add("H2", f"Content-Length {value!r}", REFUSE, post(b"Content-Length: " + value + b"\r\n", b"hello" + SMUGGLED))
add("H2", "two different lengths", REFUSE, post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"))
add("H2", "two different lengths, the other way round", REFUSE, post(b"Content-Length: 44\r\nContent-Length: 0\r\n", SMUGGLED))
add("H2", "the same length twice", EITHER, post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"))
add("H2", "the same length as a list", EITHER, post(b"Content-Length: 5, 5\r\n", b"hello"))
add("H2", "leading zeros", EITHER, post(b"Content-Length: 0005\r\n", b"hello"))
add("H2", "a length with blanks around", PASS, post(b"Content-Length:   5  \r\n", b"hello"))
add("H2", "length 0", PASS, post(b"Content-Length: 0\r\n"))

# H3: codings that are nearly chunked.
for value in (
    b"xchunked", b"chunked, identity", b"identity", b"identity, chunked", b"gzip", b"chunked, chunked", b"chunked;q=1", b"\"chunked\"",
    b"chunked\x0b", b"\x0bchunked", b"chunked\x00", b"chunk", b"", b"chunked,", b", chunked", b"cow", b"gzip, chunked", b"chunked x", b"\xe2\x84\xaahunked",
):
    verdict = EITHER if value in (b", chunked", b"chunked,", b"gzip, chunked", b"identity, chunked") else REFUSE
    add("H3", f"Transfer-Encoding {value!r}", verdict, post(b"Transfer-Encoding: " + value + b"\r\n", b"0\r\n\r\n" + (b"" if verdict == EITHER else SMUGGLED)))
add("H3", "two Transfer-Encoding lines", REFUSE, post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n" + SMUGGLED))
add("H3", "two lines, chunked last", EITHER, post(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"))
add("H3", "chunked twice in two lines", REFUSE, post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED))
add("H3", "a blank before the colon", REFUSE, post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + SMUGGLED))
add("H3", "an alias with an underscore is no framing", EITHER, post(b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"))
add("H3", "folded", REFUSE, post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + SMUGGLED))
add("H4", "chunked in HTTP/1.0", REFUSE, post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED, b"1.0"))
add("H4", "chunked in HTTP/1.0 that keeps alive", REFUSE, post(b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", b"0\r\n\r\n" + SMUGGLED, b"1.0"))

# H5: field lines.
for name, line in {
    "blank before the colon": b"X-A : 1", "tab before the colon": b"X-A\t: 1", "no colon": b"X-A", "empty name": b": 1", "blank in the name": b"X A: 1",
    "folded value": b"X-A: 1\r\n 2", "folded with a tab": b"X-A: 1\r\n\tTransfer-Encoding: chunked", "first line folded": b" X-A: 1", "bare CR in a value": b"X-A: 1\rX-B: 2",
    "NUL in a value": b"X-A: 1\x002", "NUL in a name": b"X\x00A: 1", "control byte in a value": b"X-A: \x01", "DEL in a value": b"X-A: \x7f", "vertical tab": b"X-A: \x0b",
    "slash in a name": b"X/A: 1", "at sign in a name": b"X@A: 1", "parenthesis in a name": b"X(A): 1", "high byte in a name": b"X-\xe9: 1", "bare CR before the line end": b"X-A: 1\r\r",
    "quote in a name": b"\"X\": 1", "a name of only a colon": b"::", "bare CR hiding a field": b"X-A: 1\rTransfer-Encoding: chunked",
}.items():
    add("H5", name, REFUSE, get(line + b"\r\n"))
add("H5", "bare LF at line ends", EITHER, b"GET /v HTTP/1.1\nHost: a\n\n")
add("H5", "bare LF hiding a field", EITHER, b"GET /v HTTP/1.1\r\nHost: a\r\nX-A: 1\nX-B: 2\r\n\r\n")
add("H5", "high bytes in a value", PASS, get(b"X-A: caf\xc3\xa9\r\n"))
add("H5", "an empty value", PASS, get(b"X-A:\r\n"))
add("H5", "every token character in a name", PASS, get(b"!#$%&'*+-.^`|~: 1\r\n"))

# H6: chunks.
for name, body in {
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n", "negative size": b"-5\r\nhello\r\n0\r\n\r\n", "size in 0x": b"0x5\r\nhello\r\n0\r\n\r\n", "empty size": b"\r\nhello\r\n0\r\n\r\n",
    "17 digits": b"00000000000000005\r\nhello\r\n0\r\n\r\n", "overflow": b"ffffffffffffffff5\r\nhello\r\n0\r\n\r\n", "no hex": b"g\r\nhello\r\n0\r\n\r\n", "blank before": b" 5\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n", "bare LF after the data": b"5\r\nhello\n0\r\n\r\n", "bare CR after the size": b"5\rhello\r\n0\r\n\r\n", "nothing after the data": b"5\r\nhello0\r\n\r\n",
    "data longer than said": b"5\r\nhello!\r\n0\r\n\r\n", "data shorter than said": b"5\r\nhell\r\n0\r\n\r\n", "underscore in the size": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "bare LF in the extension": b"5;a=\nb\r\nhello\r\n0\r\n\r\n", "bare LF at the last chunk": b"5\r\nhello\r\n0\n\n", "NUL in the size": b"5\x00\r\nhello\r\n0\r\n\r\n", "size in quotes": b"\"5\"\r\nhello\r\n0\r\n\r\n",
    "huge size": b"7fffffffffffffff\r\nhello", "blank in the middle": b"0 5\r\nhello\r\n0\r\n\r\n", "comma": b"5,5\r\nhello\r\n0\r\n\r\n",
}.items():
    add("H6", name, EITHER if name == "huge size" else REFUSE, chunked(body + (b"" if name == "huge size" else SMUGGLED)))
add("H6", "blank after the size", EITHER, chunked(b"5 \r\nhello\r\n0\r\n\r\n"))
add("H6", "sixteen digits", EITHER, chunked(b"0000000000000005\r\nhello\r\n0\r\n\r\n"))
add("H6", "upper and lower hex", PASS, chunked(b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"))
add("H7", "an extension", PASS, chunked(b"5;name=value\r\nhello\r\n0\r\n\r\n"))
add("H7", "a quoted extension", EITHER, chunked(b"5;name=\"v;\\\"x\"\r\nhello\r\n0\r\n\r\n"))
add("H7", "extensions of 20 KiB", EITHER, chunked(b"5;" + b"a" * 20480 + b"\r\nhello\r\n0\r\n\r\n"))
add("H7", "many small chunks with extensions", EITHER, chunked(b"1;abcdefgh\r\nx\r\n" * 3000 + b"0\r\n\r\n"))
add("H7", "trailers of 20 KiB", EITHER, chunked(b"0\r\nX-T: " + b"a" * 20480 + b"\r\n\r\n"))
for name in (b"Host", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"X-Forwarded-For", b"Cookie"):
    add("H8", f"trailer {name.decode()}", EITHER, chunked(b"5\r\nhello\r\n0\r\n" + name + b": 7\r\n\r\n"))
add("H8", "a bad trailer line", EITHER, chunked(b"5\r\nhello\r\n0\r\nno colon\r\n\r\n"))
add("H8", "a harmless trailer", PASS, chunked(b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"))

# H9, H10: Host.
add("H9", "no Host", REFUSE, b"GET /v HTTP/1.1\r\n\r\n")
add("H9", "two Hosts", REFUSE, get(b"Host: b\r\n"))
add("H9", "the same Host twice", REFUSE, get(b"Host: a\r\n"))
for value in (b"a b", b"a/b", b"user@a", b"a\\b", b"a?b", b"a#b", b"a,b", b"[::1", b"a:port", b"a:99999999", b"<a>", b"a\x00b", b"\xe9.test", b"a%00", b"a:80:80", b"http://a"):
    add("H9", f"Host {value!r}", EITHER if value in (b"a:99999999", b"a:port", b"a%00", b"a,b", b"a:80:80") else REFUSE, get(host=b"Host: " + value + b"\r\n"))
add("H9", "Host with a port", PASS, get(host=b"Host: a:8080\r\n"))
add("H9", "Host in brackets", PASS, get(host=b"Host: [::1]:80\r\n"))
add("H9", "an empty Host", EITHER, get(host=b"Host:\r\n"))
add("H10", "absolute form", PASS, get(line=b"GET http://b/v HTTP/1.1"))
add("H10", "absolute form with user", REFUSE, get(line=b"GET http://u@b/v HTTP/1.1"))
add("H10", "absolute form of another scheme", EITHER, get(line=b"GET file:///v HTTP/1.1"))
add("H11", "CONNECT", REFUSE, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
add("H11", "CONNECT with a path", REFUSE, get(line=b"CONNECT /v HTTP/1.1"))

# H12: sizes. H13: versions and request lines.
add("H12", "request line of 100 KiB", EITHER, get(line=b"GET /v" + b"a" * 102400 + b" HTTP/1.1"))
add("H12", "a field of 2 MiB", REFUSE, get(b"X-A: " + b"a" * 2097152 + b"\r\n"))
add("H12", "600 fields", REFUSE, get(b"".join(b"X-%d: 1\r\n" % n for n in range(600))))
add("H12", "200 fields", PASS, get(b"".join(b"X-%d: 1\r\n" % n for n in range(200))))
for name, line in {
    "HTTP/0.9": b"GET /v", "HTTP/2.0": b"GET /v HTTP/2.0", "HTTP/1.2": b"GET /v HTTP/1.2", "HTTP/1.10": b"GET /v HTTP/1.10", "lower-case version": b"GET /v http/1.1", "no version number": b"GET /v HTTP/",
    "comma for a dot": b"GET /v HTTP/1,1", "HTTP/01.1": b"GET /v HTTP/01.1", "blank after the version": b"GET /v HTTP/1.1 ", "two blanks": b"GET  /v HTTP/1.1", "two blanks before the version": b"GET /v  HTTP/1.1", "blank in the target": b"GET /v x HTTP/1.1", "tab for a blank": b"GET\t/v\tHTTP/1.1",
    "no method": b" /v HTTP/1.1", "bad method": b"G(T /v HTTP/1.1", "NUL in the target": b"GET /v\x00 HTTP/1.1", "control byte in the target": b"GET /v\x01 HTTP/1.1", "CR in the target": b"GET /v\rx HTTP/1.1",
    "no slash": b"GET v HTTP/1.1", "asterisk with GET": b"GET * HTTP/1.1", "empty target": b"GET  HTTP/1.1", "raw fragment": b"GET /v#x HTTP/1.1", "bare CR for line end": b"GET /v HTTP/1.1\rX: y",
}.items():
    loose = {"HTTP/1.2", "asterisk with GET", "raw fragment", "blank after the version", "two blanks", "two blanks before the version"}
    add("H13", name, EITHER if name in loose else REFUSE, get(line=line))
add("H13", "a preface of HTTP/2 that goes on as HTTP/1", REFUSE, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
# As Traefik, every port takes TLS: what looks like it is read as TLS, never as HTTP.
add("H13", "a TLS record that is no handshake", REFUSE, b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c\x03\x03" + b"\x00" * 58 + SMUGGLED)
add("H13", "a TLS record of text", REFUSE, b"\x16\x03\x01\x00\x23" + SMUGGLED)
add("H13", "empty lines in front", EITHER, b"\r\n\r\n" + get())
add("H13", "a high byte in the target", EITHER, get(line=b"GET /v\xc3\xa9 HTTP/1.1"))
add("H13", "an unknown method", PASS, get(line=b"FROBNICATE /v HTTP/1.1"))

# H14, H18: upgrades and hop-by-hop.
add("H14", "h2c upgrade", EITHER, get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"))
add("H14", "an upgrade the server refuses, with bytes behind", EITHER, get(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"))
for name in (b"Host", b"Content-Length", b"Transfer-Encoding", b"X-Forwarded-For", b"X-Real-Ip", b"Cookie"):
    add("H18", f"Connection names {name.decode()}", PASS, post(b"Connection: " + name + b", keep-alive\r\nContent-Length: 5\r\n", b"hello"))
add("H18", "Connection names Transfer-Encoding of a chunked body", PASS, chunked(b"5\r\nhello\r\n0\r\n\r\n", b"Connection: Transfer-Encoding\r\n"))
add("H18", "Connection of 5,000 names", EITHER, get(b"Connection: " + b",".join(b"x%d" % n for n in range(5000)) + b"\r\n"))

# Bodies where none is expected.
add("body", "GET with a body", PASS, get(b"Content-Length: 5\r\n") + b"hello")
add("body", "GET with a chunked body that hides a request", PASS, get(b"Transfer-Encoding: chunked\r\n") + b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n")
add("body", "a body that looks like a request", PASS, post(b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED))
add("body", "HEAD with a body", PASS, get(b"Content-Length: %d\r\n" % len(SMUGGLED), line=b"HEAD /v HTTP/1.1") + SMUGGLED)
add("body", "100-continue with the body at once", PASS, post(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello"))
add("body", "an expectation nobody knows", REFUSE, post(b"Expect: 200-maybe\r\nContent-Length: 5\r\n", b"hello"))
add("body", "TRACE with a body", EITHER, get(b"Content-Length: 5\r\n", line=b"TRACE /v HTTP/1.1") + b"hello")
add("body", "OPTIONS *", EITHER, get(line=b"OPTIONS * HTTP/1.1"))

FOLLOWING = b"GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Given:
    def __enter__(self):
        self.recorder = Recorder()
        self.proxy = Proxy("vectors", dynamic=DYNAMIC.format(port=self.recorder.port))
        eventually(5, lambda: self.proxy.ask("/ready").status == 200)
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        self.recorder.close()


def exchange(port, data, slowly):
    """What came back, and whether the proxy closed the connection."""
    got, closed = b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=6) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if slowly:
                for index in range(len(data)):
                    stream.sendall(data[index : index + 1])
            else:
                stream.sendall(data)
        except OSError:
            pass  # refused in the middle; the answer may still be read
        end = time.monotonic() + 6
        try:
            while time.monotonic() < end:
                chunk = stream.recv(65536)
                if not chunk:
                    closed = True
                    break
                got += chunk
                # An answer to a vector that keeps the connection: wait only a moment for more.
                stream.settimeout(0.15 if got.endswith(b"ok\n") else 6)
        except TimeoutError:
            pass
        except OSError:
            closed = True
    return got, closed


def judge(given, verdict, data, way):
    """None when it was handled safely, else what was wrong."""
    given.recorder.take()
    followed = way == "in front of another"
    got, closed = exchange(given.proxy.port, data + (FOLLOWING if followed else b""), way == "byte by byte")
    statuses = [int(s) for s in re.findall(rb"HTTP/1\.[01] (\d\d\d)", got)]
    final = [s for s in statuses if s >= 200]
    time.sleep(0.005)  # the recorder writes down in its own thread
    whole, cut, malformed = given.recorder.take()
    targets = [target for target, _body in whole]
    if malformed:
        return f"the server was sent {malformed}"
    if any("smuggled" in target for target in targets + cut):
        return f"smuggled: the server saw {targets}"
    refused = not final or final[0] >= 400
    mine = [t for t in targets if not t.startswith("/after")]
    if len(mine) > 1 or targets.count("/after") > 1:
        return f"the server saw {targets}"
    if refused and mine and 501 not in final and verdict == REFUSE:
        return f"answered {final} and still sent it on: {targets}"
    if verdict == REFUSE and not refused:
        return f"answered {final}, wanted a refusal"
    if verdict == PASS and (not final or final[0] != 200 or len(mine) != 1):
        return f"answered {final or 'nothing'}, wanted 200; the server saw {targets}"
    if refused and "/after" in targets and verdict == REFUSE:
        return "what followed a refused message was taken"
    if verdict == REFUSE and not closed:
        return f"answered {final}, but left the connection open"
    if followed and verdict == PASS and "/after" not in targets:
        return f"what followed was lost: {final}, {targets}"
    return None


@checks("at least 98 % of hostile inputs are handled safely, each in three ways")
def _(given):
    ways = ("alone", "in front of another", "byte by byte")
    unsafe, count = [], 0
    for rule, name, verdict, data in VECTORS:
        for way in ways:
            if way == "byte by byte" and len(data) > 3000:
                continue
            count += 1
            wrong = judge(given, verdict, data, way)
            if wrong:
                unsafe.append(f"{rule} {name} ({way}): {wrong[:300]}")
        equal(given.proxy.child.poll(), None, f"{rule} {name} ended the proxy")
    for line in unsafe:
        print(f"     | {line}")
    share = 100 * (count - len(unsafe)) / count
    assert share >= 98, f"{share:.1f} % of {count}"
    return f"{share:.1f} % of {count}: {len(VECTORS)} vectors"


@checks("nothing hostile is ever smuggled to a server, and the proxy still serves")
def _(given):
    hidden = []
    for rule, name, _verdict, data in VECTORS:
        given.recorder.take()
        exchange(given.proxy.port, data + FOLLOWING, slowly=False)
        whole, cut, malformed = given.recorder.take()
        if malformed or any("smuggled" in t for t in [t for t, _b in whole] + cut):
            hidden.append(f"{rule} {name}: {malformed or [target[:60] for target, _body in whole]}")
    equal(hidden, [])
    equal(given.proxy.ask("/ready").status, 200)


@contextmanager
def opened(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        yield stream


@checks("a head that comes too slowly is cut")
def _(given):
    start = time.monotonic()
    with opened(given.proxy.port) as stream:
        stream.settimeout(2)
        stream.sendall(b"GET /v HTTP/1.1\r\nHost: a\r\n")
        while time.monotonic() - start < 50:
            try:
                stream.sendall(b"X")
                if not stream.recv(4096):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    took = time.monotonic() - start
    assert 5 < took < 45, f"cut after {took:.0f} s"
    return f"cut after {took:.0f} s"


@checks("a TLS handshake that stops in the middle is closed by its time limit, and nothing of it is sent on")
def _(given):
    given.recorder.take()
    start = time.monotonic()
    with opened(given.proxy.port) as stream:
        # A record of 512 bytes is announced; a hidden request comes and then nothing.
        stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60 + b"\r\n\r\n" + SMUGGLED)
        stream.settimeout(40)
        said = stream.recv(4096)
    equal(given.recorder.take(), ([], [], []))
    return f"closed after {time.monotonic() - start:.0f} s, {len(said)} bytes of alert"


@checks("200 half-open heads do not keep others from being served")
def _(given):
    held = [socket.create_connection(("127.0.0.1", given.proxy.port)) for _n in range(200)]
    try:
        for stream in held:
            stream.sendall(b"GET /v HTTP/1.1\r\nHost:")
        for _turn in range(20):
            equal(given.proxy.ask("/ready").status, 200)
    finally:
        for stream in held:
            stream.close()


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
