"""Servers that fail, and the middlewares that make something of it: `errors`, `retry`, `buffering`."""

import json
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.faulty import Faulty
from harness.proxy import Proxy, free_ports, fresh
from harness.web import ask

checks = Checks("faults")

# Router `x` uses the middlewares named `x`; all go to the app unless said otherwise.
DYNAMIC = """http:
  routers:
    pages: {{rule: "Host(`pages.test`)", service: app, middlewares: [pages]}}
    late: {{rule: "Host(`late.test`)", service: app, middlewares: [pages, nobody]}}
    down: {{rule: "Host(`down.test`)", service: dead, middlewares: [pages]}}
    empty: {{rule: "Host(`empty.test`)", service: empty, middlewares: [pages]}}
    no-page: {{rule: "Host(`no-page.test`)", service: app, middlewares: [no-page]}}
    again: {{rule: "Host(`again.test`)", service: app, middlewares: [again]}}
    any: {{rule: "Host(`any.test`)", service: app, middlewares: [any]}}
    again-two: {{rule: "Host(`again-two.test`)", service: two, middlewares: [again]}}
    again-sticky: {{rule: "Host(`again-sticky.test`)", service: sticky, middlewares: [again]}}
    again-down: {{rule: "Host(`again-down.test`)", service: dead, middlewares: [again]}}
    again-empty: {{rule: "Host(`again-empty.test`)", service: empty, middlewares: [net]}}
    again-late: {{rule: "Host(`again-late.test`)", service: app, middlewares: [net, nobody]}}
    small: {{rule: "Host(`small.test`)", service: app, middlewares: [small]}}
    spool: {{rule: "Host(`spool.test`)", service: app, middlewares: [spool]}}
    replay: {{rule: "Host(`replay.test`)", service: app, middlewares: [replay]}}
  middlewares:
    small: {{buffering: {{maxRequestBodyBytes: 10, maxResponseBodyBytes: 1000}}}}
    spool: {{buffering: {{memRequestBodyBytes: 1000, memResponseBodyBytes: 1000}}}}
    replay: {{buffering: {{retryExpression: "ResponseCode() == 503 && Attempts() <= 2 || IsNetworkError() && Attempts() < 2"}}}}
    again: {{retry: {{attempts: 3, initialInterval: 1ms, status: ["503"]}}}}
    any: {{retry: {{attempts: 3, status: ["503"], retryNonIdempotentMethod: true, maxRequestBodyBytes: 1000}}}}
    net: {{retry: {{attempts: 3}}}}
    pages: {{errors: {{status: ["404", "500-599"], service: page, query: "/echo?s={{status}}&u={{url}}", statusRewrites: {{"503": 418}}}}}}
    no-page: {{errors: {{status: ["500-599"], service: dead}}}}
    nobody: {{ipAllowList: {{sourceRange: ["192.0.2.1"], rejectStatusCode: 404}}}}
  services:
    app: {{loadBalancer: {{servers: [{{url: "{app}"}}]}}}}
    page: {{loadBalancer: {{servers: [{{url: "{page}"}}]}}}}
    two: {{loadBalancer: {{servers: [{{url: "{app}"}}, {{url: "{dead}"}}]}}}}
    sticky: {{loadBalancer: {{sticky: {{cookie: {{name: at}}}}, servers: [{{url: "{app}"}}, {{url: "{page}"}}]}}}}
    dead: {{loadBalancer: {{servers: [{{url: "{dead}"}}]}}}}
    empty: {{loadBalancer: {{servers: []}}}}
"""


class Given:
    """The proxy, its servers, and its access log."""

    def __init__(self, stack):
        self.app, self.page = (stack.enter_context(Faulty(name)) for name in ("app", "page"))
        (dead,) = free_ports(1)
        dynamic = DYNAMIC.format(app=self.app.url, page=self.page.url, dead=f"http://127.0.0.1:{dead}")
        flags = ("--accesslog=true", "--accesslog.format=json", "--accesslog.filepath=access.log", "--metrics.prometheus=true")
        self.temporary = fresh("faults-tmp")
        self.proxy = stack.enter_context(Proxy("faults", flags=flags, dynamic=dynamic, env={"TMPDIR": str(self.temporary)}))
        eventually(5, lambda: self.ask("pages", "/ok").status == 200)
        self.app.take()

    def ask(self, host, path, headers=None, **more):
        return self.proxy.ask(path, headers={"Host": f"{host}.test", **(headers or {})}, **more)

    def line(self, host, path):
        """The access log's line of this request."""
        def found():
            lines = (self.proxy.folder / "access.log").read_text().splitlines()
            return [line for line in map(json.loads, lines) if (line["RequestHost"], line["RequestPath"]) == (f"{host}.test", path)]

        return eventually(5, found)[-1]

    def counted(self, series):
        """The value of this series, once it is there."""
        def found():
            text = ask("127.0.0.1", self.proxy.api, "/metrics").text
            return [line for line in text.splitlines() if line.startswith(series)]

        return float(eventually(5, found)[0].rsplit(" ", 1)[1])


@contextmanager
def given():
    with ExitStack() as stack:
        yield Given(stack)


@checks("errors: a failed answer is replaced by a page under its status, and both services are counted")
def _(at):
    answer = at.ask("pages", "/status/500?a=b", headers={"Cookie": "c=1", "X-Forwarded-For": "9.9.9.9"})
    equal((answer.status, answer.header("x-from")), (500, "page"))
    ((method, target, fields, _),) = at.page.take()
    equal(method, "GET")
    equal(target, "/echo?s=500&u=http%3A%2F%2Fpages.test%2Fstatus%2F500%3Fa%3Db")
    equal((fields["host"], fields["cookie"], "x-forwarded-for" in fields), ("pages.test", "c=1", False))
    line = at.line("pages", "/status/500?a=b")
    equal((line["DownstreamStatus"], line["OriginStatus"], line["ServiceURL"]), (500, 500, at.app.url))
    for service, code in (("app@file", 500), ("page@file", 200)):
        at.counted(f'traefik_service_requests_total{{code="{code}",method="GET",protocol="http",service="{service}"}}')


@checks("errors: a rewritten status, a body that is not wanted, and answers that pass")
def _(at):
    equal(at.ask("pages", "/status/503", method="POST", body=b"x" * 1000).status, 418)
    equal([(method, body) for method, _, _, body in at.page.take()], [("GET", b"")])
    for status in (200, 403):
        answer = at.ask("pages", f"/status/{status}")
        equal((answer.status, answer.header("x-from")), (status, "app"))
    equal(at.page.take(), [])


@checks("errors: refused, unanswered and unavailable are caught, and what later middlewares refuse")
def _(at):
    for host, path, status in (("down", "/", 502), ("empty", "/", 418), ("pages", "/close", 502), ("late", "/", 404)):
        answer = at.ask(host, path)
        equal((answer.status, answer.header("x-from")), (status, "page"), host)


@checks("errors: an endless failure does not hold the page up")
def _(at):
    start = time.monotonic()
    answer = at.ask("pages", "/endless")
    equal((answer.status, answer.header("x-from")), (500, "page"))
    return f"{time.monotonic() - start:.2f} s"


@checks("errors: a page service that fails says so itself, under the first status")
def _(at):
    answer = at.ask("no-page", "/status/500")
    equal((answer.status, answer.text), (500, "Bad Gateway"))


@checks("retry: a status is tried again, with the body, and counted in log and metrics")
def _(at):
    at.app.take()
    equal(at.ask("again", "/first/2/503?a", method="PUT", body=b"body").status, 200)
    found = at.app.take()
    equal([(target, body) for _, target, _, body in found], [("/first/2/503?a", b"body")] * 3)
    equal({fields["x-forwarded-for"] for _, _, fields, _ in found}, {"127.0.0.1"})
    equal(at.line("again", "/first/2/503?a")["RetryAttempts"], 2)
    assert at.counted('traefik_service_retries_total{service="app@file"}') >= 2
    equal(at.ask("again", "/status/503").status, 503)
    equal(len(at.app.take()), 3)


@checks("retry: a POST that may have reached a server is sent once, unless told otherwise")
def _(at):
    for host, path, times in (("again", "/status/503", 1), ("again", "/close", 1), ("again", "/reset", 1), ("any", "/status/503", 3), ("any", "/close", 1)):
        at.ask(host, path, method="POST", body=b"body")
        equal([body for _, _, _, body in at.app.take()], [b"body"] * times, f"{host} {path}")
    at.ask("any", "/status/503", method="POST", body=b"x" * 1001)
    equal([len(body) for _, _, _, body in at.app.take()], [1001])


@checks("retry: with one of two servers down no request fails, and a POST arrives once")
def _(at):
    for number in range(12):
        equal(at.ask("again-two", f"/{number}", method="POST", body=b"body").status, 200)
    equal([(target, body) for _, target, _, body in at.app.take()], [(f"/{number}", b"body") for number in range(12)])


@checks("retry: no server reached is tried as often as said; no server at all, or a refusal, is final")
def _(at):
    equal(at.ask("again-down", "/x", method="POST", body=b"body").status, 502)
    equal(at.line("again-down", "/x")["RetryAttempts"], 2)
    equal(at.ask("again-empty", "/x").status, 503)
    equal(at.line("again-empty", "/x")["RetryAttempts"], 0)
    equal(at.ask("again-late", "/x").status, 404)
    equal(at.line("again-late", "/x")["RetryAttempts"], 0)


@checks("retry: a session stays at its server, and the failed tries set no cookie")
def _(at):
    first = at.ask("again-sticky", "/x")
    cookie = first.header("set-cookie").partition(";")[0]
    at.app.take(), at.page.take()
    answer = at.ask("again-sticky", "/status/503", headers={"Cookie": cookie})
    equal((answer.status, answer.header("x-from"), answer.header("set-cookie")), (503, first.header("x-from"), None))
    equal(sorted((len(at.app.take()), len(at.page.take()))), [0, 3])


@checks("buffering: what is too large is refused, either way")
def _(at):
    at.app.take()
    for body, status in ((b"0123456789", 200), (b"0123456789a", 413), (iter([b"01234", b"56789a"]), 413)):
        equal(at.ask("small", "/x", method="POST", body=body).status, status)
    equal([body for _, _, _, body in at.app.take()], [b"0123456789"])
    answer = at.ask("small", "/size/1001")
    equal((answer.status, answer.text), (500, "Internal Server Error"))
    equal(len(at.ask("small", "/size/1000").body), 1000)
    equal(at.ask("small", "/endless").status, 500)


@checks("buffering: a large upload goes to a file without a name, and to the server when it is whole")
def _(at):
    at.app.take()
    body = bytes(range(256)) * 12_000
    with socket.create_connection(("127.0.0.1", at.proxy.port), timeout=60) as stream:
        stream.sendall(f"POST /x HTTP/1.1\r\nHost: spool.test\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
        place = str(at.temporary)
        links = eventually(10, lambda: [link for link in at.proxy.open_files() if place in link])
        assert all(link.endswith("(deleted)") for link in links), links
        equal(list(at.temporary.iterdir()), [])
        equal(at.app.take(), [])
        stream.sendall(body[-1:])
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
    ((_, _, fields, found),) = at.app.take()
    equal((fields["content-length"], found == body), (str(len(body)), True))
    eventually(10, lambda: not any(place in link for link in at.proxy.open_files()))


@checks("buffering: a large answer comes back whole from the disk")
def _(at):
    answer = at.ask("spool", "/size/3000000")
    equal((answer.status, answer.header("content-length"), answer.body == b"y" * 3_000_000), (200, "3000000", True))


@checks("buffering: a request is sent again as the expression says, with its body, and counted")
def _(at):
    at.app.take()
    for path, times, status in (("/first/1/503", 2, 200), ("/status/503", 3, 503), ("/close", 2, 502), ("/cut", 3, 502)):
        equal(at.ask("replay", path, method="POST", body=b"body").status, status, path)
        equal([body for _, _, _, body in at.app.take()], [b"body"] * times, path)
        equal(at.line("replay", path)["RetryAttempts"], times - 1, path)


if __name__ == "__main__":
    sys.exit(checks.run(given()))
