"""forwardAuth and digestAuth as clients meet them: another server that decides, and curl."""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, Skip, equal, eventually
from harness.proxy import Proxy, Server
from harness.web import WebSocket

checks = Checks("auth")

DYNAMIC = """http:
  routers:
    asked: {{rule: "Host(`asked.test`)", service: app, middlewares: [asked]}}
    gone: {{rule: "Host(`gone.test`)", service: app, middlewares: [gone]}}
    digest: {{rule: "Host(`digest.test`)", service: app, middlewares: [digest]}}
  middlewares:
    asked:
      forwardAuth:
        address: "http://127.0.0.1:{auth}/verify"
        authResponseHeaders: [X-User]
        addAuthCookiesToResponse: [session]
        headerField: X-User
    gone: {{forwardAuth: {{address: "http://127.0.0.1:1/"}}}}
    digest:
      digestAuth:
        # Of the password "secret".
        users: ["joe:traefik:8afb0f312542ba0d9b27503bfcc033f9"]
        headerField: X-User
        removeHeader: true
  services:
    app: {{loadBalancer: {{servers: [{{url: "{app}"}}]}}}}
"""


class Decider(BaseHTTPRequestHandler):
    """Lets those pass who say `X-Pass: yes`; keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    # Two writes would meet Nagle's algorithm and the other side's delayed acknowledgement.
    wbufsize = -1

    def do_GET(self):
        self.server.asked.append(dict(self.headers.items()))
        if self.headers.get("X-Pass") == "never":
            self.server.released.wait(60)
        passes = self.headers.get("X-Pass") == "yes"
        body = b"" if passes else b"who are you?"
        self.send_response(200 if passes else 403)
        self.send_header("X-User", "joe" if passes else "nobody")
        self.send_header("Set-Cookie", "session=new; Path=/")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Fixture:
    pass


@contextmanager
def fixture():
    decider = ThreadingHTTPServer(("127.0.0.1", 0), Decider)
    decider.daemon_threads = True
    decider.asked, decider.released = [], threading.Event()
    threading.Thread(target=decider.serve_forever, daemon=True).start()
    try:
        with Server("app") as app:
            dynamic = DYNAMIC.format(auth=decider.server_port, app=app.url)
            flags = ["--accesslog=true", "--accesslog.format=json", "--accesslog.filepath=access.log"]
            with Proxy("auth", flags, dynamic=dynamic) as proxy:
                given = Fixture()
                given.proxy, given.decider = proxy, decider
                eventually(5, lambda: proxy.ask(headers={"Host": "asked.test"}).status == 403)
                yield given
    finally:
        decider.released.set()
        decider.shutdown()
        decider.server_close()


def logged(proxy, path, status):
    """Who the access log says asked for a path and got this status."""
    def found():
        lines = map(json.loads, (proxy.folder / "access.log").read_text().splitlines())
        return [line for line in lines if (line["RequestPath"], line["DownstreamStatus"]) == (path, status)]

    return eventually(5, found)[-1]["ClientUsername"]


@checks("forwardAuth: what the server refuses comes back as it said, and nothing reaches the service")
def _(given):
    answer = given.proxy.ask("/refused", headers={"Host": "asked.test"})
    equal((answer.status, answer.text, answer.header("x-replica")), (403, "who are you?", None))
    equal(logged(given.proxy, "/refused", 403), "nobody")


@checks("forwardAuth: what it lets pass goes on with its fields, and its cookie reaches the client")
def _(given):
    headers = {"Host": "asked.test", "X-Pass": "yes", "X-User": "evil", "X_User": "evil"}
    answer = given.proxy.ask("/passed?a=b", headers=headers)
    equal((answer.status, answer.header("set-cookie")), (200, "session=new; Path=/"))
    seen = {name.lower(): value for name, value in answer.json["headers"].items()}
    assert seen["x-user"] in ("joe", ["joe"]) and "x_user" not in seen, seen
    asked = given.decider.asked[-1]
    told = [asked.get(f"X-Forwarded-{name}") for name in ("Method", "Proto", "Host", "Uri", "For")]
    equal(told, ["GET", "http", "asked.test", "/passed?a=b", "127.0.0.1"])
    equal(logged(given.proxy, "/passed?a=b", 200), "joe")


@checks("forwardAuth: an upgrade is asked about like any request, without its hop-by-hop fields")
def _(given):
    refused = WebSocket("127.0.0.1", given.proxy.port, "/ws", name="asked.test")
    refused.close()
    asked = given.decider.asked[-1]
    equal((refused.status, asked.get("Upgrade"), asked.get("Connection")), (403, None, None))
    assert asked.get("Sec-Websocket-Key") or asked.get("Sec-WebSocket-Key"), asked


@checks("forwardAuth: a server that is down denies with an empty 500")
def _(given):
    answer = given.proxy.ask(headers={"Host": "gone.test"})
    equal((answer.status, answer.body), (500, b""))


@checks("forwardAuth: a client that leaves while the server thinks is logged as 499")
def _(given):
    before = len(given.decider.asked)
    with socket.create_connection(("127.0.0.1", given.proxy.port)) as stream:
        stream.sendall(b"GET /left HTTP/1.1\r\nHost: asked.test\r\nX-Pass: never\r\n\r\n")
        eventually(5, lambda: len(given.decider.asked) > before)
    logged(given.proxy, "/left", 499)
    given.decider.released.set()


def curl(proxy, path, user, *more):
    command = ["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "--digest", "-u", user]
    command += [f"http://digest.test:{proxy.port}{path}", "--resolve", f"digest.test:{proxy.port}:127.0.0.1"]
    done = subprocess.run([*command, *more], stdout=subprocess.PIPE, text=True, timeout=60)
    body, _, code = done.stdout.rpartition("\n")
    return int(code), body


@checks("digestAuth: curl passes with the right password, with any method, and not with another")
def _(given):
    if not shutil.which("curl"):
        raise Skip("no curl")
    status, body = curl(given.proxy, "/digest?a=b", "joe:secret")
    equal(status, 200)
    seen = {name.lower(): value for name, value in json.loads(body)["headers"].items()}
    assert seen["x-user"] in ("joe", ["joe"]) and "authorization" not in seen, seen
    equal(logged(given.proxy, "/digest?a=b", 200), "joe")
    equal(curl(given.proxy, "/", "joe:secret", "-d", "x=1")[0], 200)
    for user in ("joe:wrong", "eve:secret", "joe:"):
        equal(curl(given.proxy, "/wrong", user), (401, "401 Unauthorized\n"), user)


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


@checks("digestAuth: a nonce is good for many requests, each of which passes once")
def _(given):
    challenge = given.proxy.ask(headers={"Host": "digest.test"}).header("www-authenticate")
    said = dict(re.findall(r'(\w+)="([^"]*)"', challenge))

    def status(count):
        secret, what, nc = md5("joe:traefik:secret"), md5("GET:/many"), f"{count:08x}"
        response = md5(f"{secret}:{said['nonce']}:{nc}:c:auth:{what}")
        field = f'Digest username="joe", realm="traefik", nonce="{said["nonce"]}", uri="/many", '
        field += f'cnonce="c", nc={nc}, qop=auth, response="{response}", opaque="{said["opaque"]}"'
        return given.proxy.ask("/many", headers={"Host": "digest.test", "Authorization": field}).status

    equal([status(count) for count in (1, 2, 2, 3, 1)], [200, 200, 401, 200, 401])


if __name__ == "__main__":
    sys.exit(checks.run(fixture()))
