"""Options of the static configuration, each by what it does to requests."""

import re
import socket
import struct
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, fresh, once
from harness.web import raw

checks = Checks("static")

ROUTER = '    {name}: {{rule: "{rule}", service: noop@internal{more}}}\n'


def dynamic(*routers):
    """Routers that answer 418: name, rule, more fields."""
    lines = [ROUTER.format(name=name, rule=rule, more="".join(f", {each}" for each in more)) for name, rule, *more in routers]
    return "http:\n  routers:\n" + "".join(lines)


def served(proxy, host="up.test"):
    eventually(5, lambda: proxy.ask(headers={"Host": host}).status == 418)


UP = ("up", "Host(`up.test`)")


@checks("rules of both syntaxes stand on one entry point")
def _(_none):
    text = dynamic(UP, ("old", "Host(`a.test`, `b.test`) && Path(`/{id:[0-9]+}`)", "ruleSyntax: v2"), ("new", "Host(`*.b.test`)"))
    with Proxy("syntax", dynamic=text) as proxy:
        served(proxy)
        for host, path, expected in [("b.test", "/12", 418), ("b.test", "/x", 404), ("x.b.test", "/", 418), ("x.a.test", "/1", 404)]:
            equal(proxy.ask(path, headers={"Host": host}).status, expected, host + path)
        found = [problem for problem in proxy.problems() if "v2" in problem["text"]]
        equal(len(found), 1, str(found))


@checks("the default syntax is that of routers that name none, and a notice says it is deprecated")
def _(_none):
    text = dynamic(UP, ("old", "Host(`a.test`, `b.test`)"), ("new", "Host(`*.c.test`)", "ruleSyntax: v3"))
    with Proxy("default-syntax", ["--core.defaultRuleSyntax=v2"], dynamic=text) as proxy:
        served(proxy)
        for host, expected in [("b.test", 418), ("x.c.test", 418), ("c.test", 404)]:
            equal(proxy.ask(headers={"Host": host}).status, expected, host)
        assert any("defaultRuleSyntax" in problem["origin"] for problem in proxy.problems()), proxy.problems()


@checks("fields that alias others are kept, taken out or refused")
def _(_none):
    text = dynamic(UP, ("seen", "Host(`seen.test`) && HeaderRegexp(`X_A`, `.`)"))
    for strategy, expected in [("keep", 418), ("delete", 404), ("reject", 400)]:
        with Proxy(f"alias-{strategy}", [f"--entryPoints.web.http.aliasHeadersStrategy={strategy}"], dynamic=text) as proxy:
            served(proxy)
            equal(proxy.ask(headers={"Host": "seen.test", "X_A": "1"}).status, expected, strategy)
            equal(proxy.ask(headers={"Host": "up.test", "X-A": "1"}).status, 418, strategy)
            equal(proxy.get("/api/entrypoints/web")["http"]["aliasHeadersStrategy"], strategy)


def v2_header(client):
    addresses = socket.inet_aton(client) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4000, 80)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x11]) + struct.pack("!H", len(addresses)) + addresses


@checks("the PROXY protocol names the client, in both versions, from trusted peers only")
def _(_none):
    text = dynamic(UP, ("client", "ClientIP(`203.0.113.7`)"))
    request = b"GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n"
    headers = [b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 80\r\n", v2_header("203.0.113.7")]
    with Proxy("proxy-trusted", ["--entryPoints.web.proxyProtocol.trustedIPs=127.0.0.1"], dynamic=text) as proxy:
        served(proxy)
        for header in headers:
            answer = raw("127.0.0.1", proxy.port, header + request)
            assert answer.startswith(b"HTTP/1.1 418"), answer[:80]
        assert raw("127.0.0.1", proxy.port, request).startswith(b"HTTP/1.1 404")
    with Proxy("proxy-strange", ["--entryPoints.web.proxyProtocol.trustedIPs=198.51.100.0/24"], dynamic=text) as proxy:
        served(proxy)
        for header in headers:
            assert b" 418 " not in raw("127.0.0.1", proxy.port, header + request)[:20]


@checks("the last answer that a connection may have says so")
def _(_none):
    with Proxy("keep-alive", ["--entryPoints.web.transport.keepAliveMaxRequests=2"], dynamic=dynamic(UP)) as proxy:
        served(proxy)
        answers = raw("127.0.0.1", proxy.port, b"GET / HTTP/1.1\r\nHost: up.test\r\n\r\n" * 3)
        equal(answers.count(b"HTTP/1.1 418"), 2)
        equal(len(re.findall(rb"(?i)connection: close", answers)), 1)


@checks("with a base path, API and dashboard are below it")
def _(_none):
    with Proxy("base-path", ["--api.basePath=/tt"], dynamic=dynamic(UP)) as proxy:
        served(proxy)
        equal(proxy.get("/tt/api/overview")["http"]["routers"]["errors"], 0)
        equal(proxy.get("/api/overview")["http"]["routers"]["errors"], 0)


@checks("a misspelt key is told in one line, and what is refused says what to do instead")
def _(_none):
    for flag, words in [
        ("--entryPoints.web.adress=:0", "did you mean `address`"),
        ("--entryPoints.web.http3=true", "HTTP/2"),
        ("--providers.consul.endpoints=a:1", "providers.file"),
        ("--providers.precedence=dokcer", "did you mean `docker`"),
    ]:
        flags = [flag] if "adress" in flag else ["--entryPoints.web.address=:0", flag]
        code, said = once(flags, cwd=fresh("refused"))
        equal(code, 1, said[-300:])
        lines = [line for line in said.splitlines() if line.strip()]
        equal(len([line for line in lines if "--" in line]), 1, said)
        assert words in said, said


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
