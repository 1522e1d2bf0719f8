"""Limits on real requests: rateLimit, inFlightReq, circuitBreaker; and what contentType, grpcWeb and
passTLSClientCert do to them. Two workers share what is counted."""

import base64
import http.client
import json
import ssl
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import unquote_plus

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.faulty import Faulty
from harness.proxy import Proxy, Server, free_ports, fresh
from harness.web import WebSocket, trusting

checks = Checks("limits")

DYNAMIC = """tls:
  options:
    default: {{clientAuth: {{clientAuthType: RequestClientCert}}}}
http:
  routers:
    ready: {{rule: "Host(`ready.test`)", service: demo}}
    burst: {{rule: "Host(`burst.test`)", service: app, middlewares: [burst]}}
    keys: {{rule: "Host(`keys.test`)", service: app, middlewares: [keys]}}
    brief: {{rule: "Host(`brief.test`)", service: demo, middlewares: [three]}}
    one: {{rule: "Host(`one.test`)", service: demo, middlewares: [one]}}
    codes: {{rule: "Host(`codes.test`)", service: app, middlewares: [codes]}}
    down: {{rule: "Host(`down.test`)", service: dead, middlewares: [net]}}
    own502: {{rule: "Host(`own502.test`)", service: app, middlewares: [net]}}
    typed: {{rule: "Host(`typed.test`)", service: app, middlewares: [typed]}}
    untyped: {{rule: "Host(`untyped.test`)", service: app}}
    web: {{rule: "Host(`web.test`)", service: grpc, middlewares: [web]}}
    cert: {{rule: "Host(`cert.test`)", service: demo, middlewares: [cert], tls: {{}}, entryPoints: [secure]}}
  middlewares:
    burst: {{rateLimit: {{average: 1, period: 1h, burst: 5}}}}
    keys: {{rateLimit: {{average: 1, period: 1h, sourceCriterion: {{requestHeaderName: X-Key}}}}}}
    three: {{inFlightReq: {{amount: 3}}}}
    one: {{inFlightReq: {{amount: 1}}}}
    codes: {{circuitBreaker: {{expression: "ResponseCodeRatio(500, 600, 0, 600) > 0.5", checkPeriod: 1ms, fallbackDuration: 5s, recoveryDuration: 1s, responseCode: 418}}}}
    net: {{circuitBreaker: {{expression: "NetworkErrorRatio() > 0.5", checkPeriod: 1ms}}}}
    typed: {{contentType: {{}}}}
    web: {{grpcWeb: {{allowOrigins: ["https://ok.test"]}}}}
    cert: {{passTLSClientCert: {{pem: true, info: {{serialNumber: true, subject: {{commonName: true}}}}}}}}
  services:
    app: {{loadBalancer: {{servers: [{{url: "{app}"}}]}}}}
    demo: {{loadBalancer: {{servers: [{{url: "{demo}"}}]}}}}
    grpc: {{loadBalancer: {{servers: [{{url: "{grpc}"}}]}}}}
    dead: {{loadBalancer: {{servers: [{{url: "{dead}"}}]}}}}
"""


class Given:
    """The proxy with two workers, and its servers."""

    def __init__(self, stack):
        self.app = stack.enter_context(Faulty("app"))
        demo = stack.enter_context(Server("demo"))
        grpc = stack.enter_context(Server("grpc", "--h2c"))
        (dead,) = free_ports(1)
        self.dynamic = DYNAMIC.format(
            app=self.app.url, demo=demo.url, grpc=grpc.url.replace("http:", "h2c:"), dead=f"http://127.0.0.1:{dead}"
        )
        flags = ("--wharf.workers=2", "--log.level=INFO", "--providers.providersThrottleDuration=10ms")
        proxy = Proxy("limits", flags=flags, dynamic=self.dynamic, entry_points=("web", "secure"))
        self.proxy = stack.enter_context(proxy)
        self.proxy.routed("ready.test")

    def ask(self, host, path="/", headers=None, **more):
        return self.proxy.ask(path, headers={"Host": f"{host}.test", **(headers or {})}, **more)

    def many(self, count, host, path="/"):
        """The statuses of so many requests at once, each on a connection of its own."""
        with ThreadPoolExecutor(count) as pool:
            return sorted(pool.map(lambda _: self.ask(host, path).status, range(count)))

    def open(self, host, path):
        """A request whose answer has begun and not ended."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=30)
        connection.request("GET", path, headers={"Host": f"{host}.test"})
        return connection, connection.getresponse()


@contextmanager
def given():
    with ExitStack() as stack:
        yield Given(stack)


@checks("rateLimit: two workers share a bucket, and a refusal says when to come again")
def _(at):
    equal(at.many(30, "burst"), [200] * 5 + [429] * 25)
    answer = at.ask("burst")
    equal((answer.status, answer.text, answer.header("content-type")), (429, "Too Many Requests", None))
    assert 3000 < int(answer.header("retry-after")) <= 3600, answer.headers
    assert answer.header("x-retry-in").startswith("59m"), answer.headers


@checks("rateLimit: a change elsewhere in the file gives nobody a new bucket")
def _(at):
    more = at.dynamic.replace("  middlewares:\n", "    more: {rule: \"Host(`more.test`)\", service: demo}\n  middlewares:\n", 1)
    at.proxy.file.write_text(more)
    at.proxy.routed("more.test")
    equal(at.ask("burst").status, 429)


@checks("rateLimit: sources are told apart by a header, and no header is one, too")
def _(at):
    keys = ("a", "a", "b", None, None, "b")
    found = [at.ask("keys", headers={"X-Key": key} if key else {}).status for key in keys]
    equal(found, [200, 429, 200, 200, 429, 429])


@checks("inFlightReq: two workers share the places, which are held while answers are on their way")
def _(at):
    held = [at.open("brief", "/stream?n=1000&ms=50") for _ in range(3)]
    equal(at.many(10, "brief"), [429] * 10)
    equal(at.ask("brief").text, "max connections reached: 3")
    for connection, answer in held:
        answer.close()
        connection.close()
    eventually(5, lambda: at.ask("brief").status == 200)
    for _ in range(2):
        eventually(5, lambda: at.many(3, "brief", "/slow?ms=200") == [200] * 3)


@checks("inFlightReq: a tunnel holds its place until it ends")
def _(at):
    tunnel = WebSocket("127.0.0.1", at.proxy.port, "/ws", name="one.test")
    equal(tunnel.status, 101)
    tunnel.send(b"hello")
    tunnel.receive()
    for _ in range(3):
        equal(at.ask("one").status, 429)
    tunnel.close()
    eventually(5, lambda: at.ask("one").status == 200)


@checks("circuitBreaker: it opens, recovers and closes, and the log says so")
def _(at):
    equal(at.ask("codes", "/status/200").status, 200)
    eventually(5, lambda: at.ask("codes", "/status/500").status == 418)
    at.app.take()
    answer = at.ask("codes", "/status/200")
    equal((answer.status, answer.text, at.app.take()), (418, "I'm a teapot", []))
    eventually(5, lambda: at.ask("codes", "/status/200").status == 200)
    eventually(5, lambda: "circuit breaker: closed" in at.ask("codes", "/status/200").text + at.proxy.log)
    for state in ("open", "recovering", "closed"):
        assert f"circuit breaker: {state} middleware=codes@file" in at.proxy.log, at.proxy.log[-800:]


@checks("circuitBreaker: a dead server is a network error, a server's own 502 is none")
def _(at):
    found = [at.ask("own502", "/status/502").status for _ in range(5)]
    equal(found, [502] * 5)
    eventually(5, lambda: at.ask("down").status == 503)
    equal(at.ask("down").text, "Service Unavailable")


@checks("contentType: an answer without a type gets one, with the middleware only")
def _(at):
    for body, told in ((b"<html>", "text/html; charset=utf-8"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"", None)):
        for host, wanted in (("typed", told), ("untyped", None)):
            answer = at.ask(host, "/", method="POST", body=body)
            equal((answer.header("content-type"), answer.body), (wanted, body))


@checks("grpcWeb: trailers come as a last frame, in base64 where asked for; browsers may ask beforehand")
def _(at):
    message = b"\0" + struct.pack(">I", 5) + b"hello"
    last = b"\x80" + struct.pack(">I", 16) + b"grpc-status: 0\r\n"
    for kind, sent in (("application/grpc-web", message), ("application/grpc-web-text", base64.b64encode(message))):
        headers = {"Content-Type": kind, "Origin": "https://ok.test"}
        answer = at.ask("web", "/a.B/C", method="POST", headers=headers, body=sent)
        equal((answer.status, answer.header("content-type")), (200, kind))
        equal(answer.header("access-control-allow-origin"), "https://ok.test")
        found = answer.body if kind.endswith("web") else b"".join(map(base64.b64decode, padded(answer.text)))
        equal(found, message + last)
    headers = {"Origin": "https://ok.test", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-grpc-web"}
    answer = at.ask("web", "/a.B/C", method="OPTIONS", headers=headers)
    equal((answer.status, answer.header("access-control-allow-methods")), (200, "POST"))


def padded(text):
    """The texts of a body of base64 texts, each padded."""
    texts, rest = [], text
    while rest:
        end = rest.find("=")
        end = len(rest) if end < 0 else (end // 4 + 1) * 4
        texts.append(rest[:end])
        rest = rest[end:]
    return texts


@checks("passTLSClientCert: servers are told of the client's certificate, and a forged one is gone")
def _(at):
    folder = fresh("limits-cert")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/O=Org/CN=a client", "-set_serial", "77"],
        cwd=folder, check=True, capture_output=True,
    )
    forged = {"Host": "cert.test", "X-Forwarded-Tls-Client-Cert": "forged", "X-Forwarded-Tls-Client-Cert-Info": "forged"}
    seen = {}
    for shows in (False, True):
        context = trusting()
        if shows:
            context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        connection = http.client.HTTPSConnection("127.0.0.1", at.proxy.ports["secure"], timeout=15, context=context)
        connection.request("GET", "/", headers=forged)
        seen[shows] = json.loads(connection.getresponse().read())["headers"]
        connection.close()
    assert not any("tls-client" in name for name in seen[False]), seen[False]
    told = {name: value for name, (value,) in seen[True].items()}
    der = ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())
    equal(told["x-forwarded-tls-client-cert"], base64.b64encode(der).decode())
    equal(unquote_plus(told["x-forwarded-tls-client-cert-info"]), 'Subject="CN=a client";SerialNumber="77"')


if __name__ == "__main__":
    sys.exit(checks.run(given()))
