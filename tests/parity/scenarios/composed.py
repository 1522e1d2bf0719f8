"""Services of the file provider: weighted ones, and transports."""

from side.table import Reply, Stage

STAGE = Stage()


def service(name, text, router=True):
    """A service and a router for `<name>.test`."""
    lines = "\n".join("      " + line for line in text.strip("\n").splitlines())
    rule = f"\n  routers:\n    {name}:\n      rule: Host(`{name}.test`)\n      service: {name}" if router else ""
    STAGE.file(f"http:{rule}\n  services:\n    {name}:\n{lines}\n")


for each in ("a", "b", "c", "s", "m", "dead"):
    service(each, f"loadBalancer:\n  servers:\n    - url: <{each}>")

s = STAGE.scenario("servers of one service")
service("servers", "loadBalancer:\n  servers:\n    - url: <a>\n      weight: 3\n    - url: <b>\n      weight: 1")
service("zero", "loadBalancer:\n  servers:\n    - url: <a>\n    - url: <b>\n      weight: 0")
service("empty", "loadBalancer:\n  servers: []")
service("kept", "loadBalancer:\n  servers:\n    - url: <a>/base\n      preservePath: true")
s.spread("servers.test/", 40)
s.spread("zero.test/", 6)
s.get("empty.test/")
s.get("kept.test/x")
s.api("/api/http/services/servers@file", pick=["loadBalancer", "status", "type"])

s = STAGE.scenario("weighted")
service("weighted", "weighted:\n  services:\n    - name: a\n      weight: 3\n    - name: b\n      weight: 1")
service("weighted-default", "weighted:\n  services:\n    - name: a\n    - name: b")
service("weighted-zero", "weighted:\n  services:\n    - name: a\n      weight: 0\n    - name: b\n      weight: 2")
service("weighted-none", "weighted:\n  services:\n    - name: a\n      weight: 0")
service("weighted-nested", "weighted:\n  services:\n    - name: weighted-zero\n    - name: c")
service("weighted-missing", "weighted:\n  services:\n    - name: a\n    - name: nope")
service("weighted-sticky", "weighted:\n  sticky:\n    cookie:\n      name: ws\n      httpOnly: true\n  services:\n    - name: a\n    - name: b")
service("inner-sticky", "loadBalancer:\n  sticky:\n    cookie:\n      name: inner\n  servers:\n    - url: <a>\n    - url: <b>")
service("weighted-both", "weighted:\n  sticky:\n    cookie:\n      name: outer\n  services:\n    - name: inner-sticky")
s.spread("weighted.test/", 40)
s.spread("weighted-default.test/", 20)
s.spread("weighted-zero.test/", 5)
s.get("weighted-none.test/")
s.spread("weighted-nested.test/", 20)
s.get("weighted-missing.test/")
s.api("/api/http/routers/weighted-missing@file", pick=["status", "service"])
s.get("weighted-sticky.test/", "Cookie: ws=7dc96f776c8423e5", name="the hash of `b1`: no such child", without=["set-cookie", "x-origin", "upstream", "body", "as sent", "headers"])
for child, value in (("a", "ca978112ca1bbdca"), ("b", "3e23e8160039594a")):
    s.get("weighted-sticky.test/", f"Cookie: ws={value}", name=f"the cookie of {child}")
s.get("weighted-sticky.test/", "Cookie: ws=a", name="the child's name, as in old versions")
s.get("weighted-both.test/", keep={"inner": ("set-cookie", "inner=([^;]+)"), "outer": ("set-cookie", "outer=([^;]+)")}, without=["headers", "body", "upstream"], name="sticky at both levels")
s.spread("weighted-both.test/", 8, "Cookie: inner=<inner>; outer=<outer>", shows="number", name="sticky at both levels, again")
s.api("/api/http/services/weighted-sticky@file", pick=["weighted", "status", "type"])

s = STAGE.scenario("serversTransport")
STAGE.file("""
http:
  serversTransports:
    skip:
      insecureSkipVerify: true
    roots:
      rootCAs:
        - <certificates>/authority.crt
      serverName: parity.test
    wrong-name:
      rootCAs:
        - <certificates>/authority.crt
      serverName: nobody.test
    client:
      rootCAs:
        - <certificates>/authority.crt
      serverName: parity.test
      certificates:
        - certFile: <certificates>/client.crt
          keyFile: <certificates>/client.key
    no-h2:
      insecureSkipVerify: true
      disableHTTP2: true
      maxIdleConnsPerHost: 3
    slow:
      forwardingTimeouts:
        dialTimeout: 5s
        responseHeaderTimeout: 300ms
        idleConnTimeout: 10s
        readIdleTimeout: 1s
        pingTimeout: 1s
""")
for name, transport, server in (("tls-default", "", "s"), ("tls-skip", "skip", "s"), ("tls-roots", "roots", "s"), ("tls-wrong-name", "wrong-name", "s"), ("tls-client", "client", "m"), ("tls-no-client", "roots", "m"), ("tls-no-h2", "no-h2", "s"), ("tls-missing", "nope", "s"), ("header-timeout", "slow", "a")):
    lines = f"\n  serversTransport: {transport}" if transport else ""
    service(name, f"loadBalancer:{lines}\n  servers:\n    - url: <{server}>")
for name in ("tls-default", "tls-skip", "tls-roots", "tls-wrong-name", "tls-client", "tls-no-client", "tls-no-h2", "tls-missing"):
    s.get(f"{name}.test/x")
s.get("header-timeout.test/", replies={"a": [Reply(act="hang")] * 3}, without=["upstream"], name="no answer within responseHeaderTimeout")
s.get("header-timeout.test/", name="an answer in time")
