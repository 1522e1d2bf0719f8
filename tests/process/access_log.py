"""The access log: fields, headers, filters, formats, and the file that moves away under it."""

import json
import os
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server
from harness.web import ask

checks = Checks("access log")

DYNAMIC = """http:
  routers:
    app: {{ rule: "Host(`app.test`)", service: app }}
    dead: {{ rule: "Host(`dead.test`)", service: dead }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: "{url}" }} ] }} }}
    dead: {{ loadBalancer: {{ servers: [ {{ url: "http://127.0.0.1:1" }} ] }} }}
"""
HEADERS = {"X-Keep": "k", "X-Drop": "d", "Authorization": "Basic dTpw", "Referer": "http://r/", "User-Agent": 'ua "q"'}
# Whatever happens while the proxy starts is asked for this path, and passed over.
WARM = "/warm"


class Logged(Proxy):
    """A proxy with an access log in a file."""

    def __init__(self, server, *flags):
        super().__init__("access-log", ["--accesslog=true", "--accesslog.filePath=access.log", *flags], DYNAMIC.format(url=server.url))
        self.path = self.file.parent / "access.log"
        try:
            eventually(5, lambda: self.send(WARM).status == 200)
        except BaseException:
            self.stop()
            raise

    def send(self, path, host="app.test", **more):
        return self.ask(path, headers={"Host": host, **HEADERS}, **more)

    def usual(self):
        """Four requests: fine, no router, an error of the server's, a dead server."""
        self.send("/a?x=1&y=2")
        self.send("/none", "none.test")
        self.send("/status/500")
        self.send("/dead", "dead.test", method="POST", body=b"abc")

    def lines(self, count):
        """The first lines, once there are as many."""
        def written():
            lines = [line for line in self.path.read_text().splitlines() if WARM not in line]
            return lines if len(lines) >= count else None

        return eventually(5, written)


def logged(server, count, *flags):
    with Logged(server, *flags) as proxy:
        proxy.usual()
        return proxy.lines(count)


def objects(server, count, *flags):
    return [json.loads(line) for line in logged(server, count, "--accesslog.format=json", *flags)]


TIME = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
COMMON = [
    rf'127\.0\.0\.1 - - {TIME} "GET /a\?x=1&y=2 HTTP/1\.1" 200 \d+ "-" "-" \d+ "app@file" "http://127\.0\.0\.1:\d+" \d+ms',
    rf'127\.0\.0\.1 - - {TIME} "GET /none HTTP/1\.1" 404 19 "-" "-" \d+ "-" "-" \d+ms',
    rf'127\.0\.0\.1 - - {TIME} "GET /status/500 HTTP/1\.1" 500 0 "-" "-" \d+ "app@file" "http://127\.0\.0\.1:\d+" \d+ms',
    rf'127\.0\.0\.1 - - {TIME} "POST /dead HTTP/1\.1" 502 11 "-" "-" \d+ "dead@file" "http://127\.0\.0\.1:1" \d+ms',
]
SHORT = [re.sub(r' \\d\+ "[^"]*" "[^"]*" \\d\+ms$', "", line) for line in COMMON]
KEPT = ["--accesslog.fields.headers.names.Referer=keep", "--accesslog.fields.headers.names.user-agent=keep"]
TEXTS = {
    "common": ([], COMMON),
    "generic": (["--accesslog.format=genericCLF"], SHORT),
    "an unknown format is common": (["--accesslog.format=nope"], COMMON),
    "kept Referer and User-Agent": ([*KEPT], [COMMON[0].replace('"-" "-"', r'"http://r/" "ua \\(x22|")q\\(x22|")"')]),
    "no query": (["--accesslog.fields.queryParameters.defaultMode=drop"], [COMMON[0].replace(r"\?x=1&y=2", "")]),
    "only statuses": (["--accesslog.filters.statusCodes=404,502-599"], [COMMON[1], COMMON[3]]),
    "any filter": (["--accesslog.filters.statusCodes=404", "--accesslog.filters.minDuration=10m"], [COMMON[1]]),
    "dropped fields are a dash": (
        ["--accesslog.fields.defaultMode=drop", "--accesslog.fields.names.requestpath=keep"],
        [r'- - - \[-\] "- /a\?x=1&y=2 -" - - "-" "-" - "-" "-" 0ms'],
    ),
}


@checks("text formats, dropped fields, kept headers and filters give Traefik's lines")
def _(server):
    for name, (flags, wanted) in TEXTS.items():
        # The filters that drop lines are seen by what comes after.
        found = logged(server, len(wanted), *flags)
        for line, pattern in zip(found, wanted):
            assert re.fullmatch(pattern, line), f"{name}: {line}\n!~ {pattern}"


@checks("JSON: a server that could not be asked has our answer as its own, no router has none")
def _(server):
    fine, none, bad, dead = objects(server, 4)
    equal([each["DownstreamStatus"] for each in (fine, none, bad, dead)], [200, 404, 500, 502])
    equal([each["OriginStatus"] for each in (fine, none, bad, dead)], [200, 0, 500, 502])
    # Nothing of the body was read for a server that took no connection.
    equal((dead["OriginContentSize"], dead["ServiceURL"], dead["RequestContentSize"]), (11, "http://127.0.0.1:1", 0))
    assert not {"RouterName", "ServiceName", "ServiceURL"} & set(none), none
    equal([key for key in fine if key.startswith(("request_", "origin_", "downstream_"))], [])


@checks("JSON: fields and headers are kept, dropped and redacted by name, in any case")
def _(server):
    modes = ["headers.defaultMode=redact", "headers.names.X-Keep=keep", "headers.names.x-drop=drop"]
    fine, *_ = objects(server, 1, *(f"--accesslog.fields.{mode}" for mode in modes))
    equal((fine["request_X-Keep"], fine["request_Authorization"]), ("k", "REDACTED"))
    equal(fine["origin_Content-Type"], "REDACTED")
    equal(fine["downstream_Content-Type"], "REDACTED")
    assert "request_X-Drop" not in fine and "request_Host" not in fine, fine
    assert "dTpw" not in json.dumps(fine), "a secret in the log"
    modes = ["defaultMode=drop", "names.ClientHost=keep", "names.requestpath=keep", "names.RouterName=redact"]
    fine, *_ = objects(server, 1, *(f"--accesslog.fields.{mode}" for mode in modes))
    equal(sorted(fine), ["ClientHost", "RequestPath", "level", "msg", "time"])


@checks("requests to the API are logged only when asked for")
def _(server):
    def internal(*flags):
        with Logged(server, "--accesslog.format=json", *flags) as proxy:
            proxy.get("/api/version")
            proxy.send("/last")
            eventually(5, lambda: any("/last" in line for line in proxy.lines(1)))
            return ["/api/version" in line for line in proxy.lines(1)].count(True)

    equal((internal(), internal("--accesslog.addInternals=true")), (0, 1))


@checks("USR1: a file that was moved away is opened anew, and no line is lost")
def _(server):
    with Logged(server) as proxy:
        proxy.send("/before")
        proxy.lines(1)
        moved = proxy.path.with_suffix(".old")
        os.rename(proxy.path, moved)
        proxy.send("/between")
        eventually(5, lambda: "/between" in moved.read_text())
        proxy.signal(signal.SIGUSR1)
        eventually(5, proxy.path.exists)
        proxy.send("/after")
        equal(["/after" in line for line in proxy.lines(1)], [True])
        equal([path for path in ("/before", "/between") if path not in moved.read_text()], [])


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
