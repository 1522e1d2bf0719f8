"""Services from labels: servers, strategies, sticky cookies, health checks, hosts, schemes, paths."""

from side.table import Reply, Stage

STAGE = Stage(["--serversTransport.insecureSkipVerify=true"], entry_points=("web", "websecure"))
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
traefik.http.services.a.loadbalancer.server.url=<a>
""")
# Two containers of one service: replicas.
PAIR = """
traefik.http.routers.pair.rule=Host(`pair.test`)
traefik.http.routers.pair.service=pair
traefik.http.services.pair.loadbalancer.server.port=8080
"""
for name in ("pair-one", "pair-two"):
    STAGE.container(name, PAIR)

s = STAGE.scenario("replicas share")
s.spread("pair.test/", 10)
s.api("/api/http/services/pair@docker", pick=["loadBalancer", "serverStatus", "status", "usedBy", "type"], name="the API shows both", sort=["loadBalancer.servers"])

s = STAGE.scenario("strategies by label")
for strategy in ("wrr", "p2c", "hrw"):
    labels = f"""
traefik.http.routers.{strategy}.rule=Host(`{strategy}.test`)
traefik.http.routers.{strategy}.service={strategy}
traefik.http.services.{strategy}.loadbalancer.server.port=8080
traefik.http.services.{strategy}.loadbalancer.strategy={strategy}
"""
    for name in ("one", "two"):
        STAGE.container(f"{strategy}-{name}", labels)
s.spread("wrr.test/", 10)
s.spread("p2c.test/", 60, shows="used")
s.spread("hrw.test/", 10, shows="number", name="hrw: one client, one server")
s.spread("hrw.test/", 60, shows="used", source="127.0.5.#", name="hrw: many clients")
s.rule("strategy-bad", "Host(`strategy-bad.test`)", "strategy-bad")
s.labels("traefik.http.services.strategy-bad.loadbalancer.server.url=<a>\ntraefik.http.services.strategy-bad.loadbalancer.strategy=nonsense")
s.get("strategy-bad.test/")
s.api("/api/http/routers/strategy-bad@docker", pick=["status"])

s = STAGE.scenario("weights of replicas")
for name, weight in (("heavy", 3), ("light", 1)):
    STAGE.container(f"weights-{name}", f"""
traefik.http.routers.weights.rule=Host(`weights.test`)
traefik.http.services.weights.loadbalancer.server.port=8080
traefik.http.services.weights.loadbalancer.server.weight={weight}
""")
s.spread("weights.test/", 40)

s = STAGE.scenario("sticky cookies")
COOKIES = {
    "plain": "sticky.cookie=true",
    "named": "sticky.cookie.name=my-cookie",
    "odd-name": "sticky.cookie.name=my cookie;x",
    "all": "sticky.cookie.name=all\nsticky.cookie.secure=true\nsticky.cookie.httponly=true\nsticky.cookie.samesite=strict\nsticky.cookie.maxage=60\nsticky.cookie.path=/p\nsticky.cookie.domain=st.test",
    "lax": "sticky.cookie.name=lax\nsticky.cookie.samesite=lax",
    "none": "sticky.cookie.name=none\nsticky.cookie.samesite=none\nsticky.cookie.secure=true",
    "minus": "sticky.cookie.name=minus\nsticky.cookie.maxage=-1",
    "strange": "sticky.cookie.name=strange\nsticky.cookie.samesite=nonsense",
}
for name, lines in COOKIES.items():
    base = f"traefik.http.services.sticky-{name}.loadbalancer"
    s.labels("\n".join(f"{base}.{line}" for line in lines.splitlines()) + f"\n{base}.server.url=<a>")
    s.rule(f"sticky-{name}", f"Host(`sticky-{name}.test`)", f"sticky-{name}")
    s.get(f"sticky-{name}.test/")
STAGE.container("stick-one", "traefik.http.routers.stick.rule=Host(`stick.test`)\ntraefik.http.services.stick.loadbalancer.server.port=8080\ntraefik.http.services.stick.loadbalancer.sticky.cookie.name=st")
STAGE.container("stick-two", "traefik.http.routers.stick.rule=Host(`stick.test`)\ntraefik.http.services.stick.loadbalancer.server.port=8080\ntraefik.http.services.stick.loadbalancer.sticky.cookie.name=st")
s.spread("stick.test/", 20, shows="used", name="without the cookie both are used")
s.get("stick.test/first", name="the first answer sets it", keep={"st": ("set-cookie", "st=([^;]+)")}, without=["set-cookie", "x-replica", "upstream", "headers"])
s.spread("stick.test/", 8, "Cookie: st=<st>", shows="number", name="with it one is used")
s.spread("stick.test/", 8, "Cookie: other=1; st=<st>; more=2", shows="number", name="with it among others")
s.get("sticky-named.test/", "Cookie: my-cookie=<a-sticky>", name="a valid value is not set again")
s.get("sticky-named.test/", "Cookie: my-cookie=<a>", name="the server's address, as in old versions")
s.get("sticky-named.test/", "Cookie: my-cookie=nobody", name="an unknown value")

s = STAGE.scenario("host, scheme, path")
for name, lines in {
    "host-off": "passhostheader=false\nserver.url=<a>",
    "host-on": "passhostheader=true\nserver.url=<a>",
    "https": "server.url=<s>",
    "path-off": "server.url=<a>/base",
    "path-on": "server.url=<a>/base\nserver.preservepath=true",
    "query": "server.url=<a>/base?x=1\nserver.preservepath=true",
    "flush": "responseforwarding.flushinterval=10ms\nserver.url=<a>",
    "flush-now": "responseforwarding.flushinterval=-1\nserver.url=<a>",
    "dead": "server.url=<dead>",
}.items():
    s.labels("\n".join(f"traefik.http.services.to-{name}.loadbalancer.{line}" for line in lines.splitlines()))
    s.rule(f"to-{name}", f"Host(`to-{name}.test`)", f"to-{name}")
for name in ("host-off", "host-on", "https", "path-off", "path-on", "query", "flush", "flush-now", "dead"):
    s.get(f"to-{name}.test/x?y=1")
s.get("to-path-on.test/", name="preservePath, root")
s.get("to-path-on.test/a%2Fb/", name="preservePath, escapes")
s.api("/api/http/services/to-path-on@docker", pick=["loadBalancer", "status"])
STAGE.container("h2c", "traefik.http.routers.h2c.rule=Host(`h2c.test`)\ntraefik.http.services.h2c.loadbalancer.server.port=8080\ntraefik.http.services.h2c.loadbalancer.server.scheme=h2c", command=["demo-server", "--name", "h2c", "--replica", "h2c", "--h2c"])
s.get("h2c.test/x")
s.post("h2c.test/x", body="hello")

s = STAGE.scenario("addresses that can't work")
for name, url in (("bad", "::bad"), ("scheme-odd", "foo://127.0.0.1:1")):
    s.labels(f"traefik.http.services.to-{name}.loadbalancer.server.url={url}")
    s.rule(f"to-{name}", f"Host(`to-{name}.test`)", f"to-{name}")
    s.get(f"to-{name}.test/x?y=1")

s = STAGE.scenario("what a server may do")
s.rule("odd", "Host(`odd.test`)", "a")
CASES = {
    "closes": [Reply(act="close")] * 6,
    "answers garbage": [Reply(raw=b"nonsense\r\n\r\n", act="end")] * 6,
    "stops in the body": [Reply(200, {}, "0123456789" * 20000, act="cut")],
    "says 599": [Reply(599, {}, "x")],
    "says 999": [Reply(999, {}, "x")],
    "sends trailers": [Reply(200, {"Trailer": "X-End"}, chunks=["a", "b"], trailers={"X-End": "e"})],
    "says 103 first": [Reply(raw=b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")],
    "names hop-by-hop fields": [Reply(200, {"Connection": "X-Hop", "X-Hop": "h", "Keep-Alive": "timeout=5", "Proxy-Authenticate": "x", "Te": "x", "X-Kept": "k"}, "x")],
    "says Server and Date": [Reply(200, {"Server": "origin", "Date": "Sat, 01 Jan 2022 00:00:00 GMT"}, "x")],
    "says 304 with fields": [Reply(304, {"ETag": '"a"'})],
    "gives two cookies": [Reply(200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "x")],
    "says HTTP/1.0": [Reply(raw=b"HTTP/1.0 200 OK\r\nX-V: 10\r\n\r\nold", act="end")],
    "repeats a field": [Reply(200, [("X-R", "1"), ("X-R", "2")], "x")],
    "redirects": [Reply(302, {"Location": "http://odd.test/else"}, "")],
}
for what, replies in CASES.items():
    s.get("odd.test/x", name=f"a server that {what}", replies={"a": replies}, without=["upstream"])
s.post("odd.test/x", body="p" * 100000, name="a body of 100,000")
s.raw("a chunked request", "POST /c HTTP/1.1\nHost: odd.test\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n", host="odd.test")
s.raw("Expect: 100-continue", "POST /c HTTP/1.1\nHost: odd.test\nContent-Length: 3\nExpect: 100-continue\n\nabc", host="odd.test")
s.get("odd.test/x", "Connection: X-Hop, close", "X-Hop: h", "TE: trailers, x", "Keep-Alive: 1", "Proxy-Connection: x", "Proxy-Authorization: x", "Via: 1.0 me", "Forwarded: for=x", name="hop-by-hop fields of the client", without=["connection"])
s.get("odd.test/x", "x-LOWER-case: v", "X_Under: u", "X.Dot: d", "Cookie: a=1", "Cookie: b=2", name="spelling and repeated cookies")
for method in ("HEAD", "DELETE", "PATCH", "OPTIONS", "FOO", "TRACE"):
    s.ask(method, "odd.test/m")
s.get("odd.test/x", "Accept-Encoding: br", name="Accept-Encoding goes on")
s.get("odd.test/x", "Range: bytes=0-3", name="a range")
s.raw("an upgrade", "GET /ws HTTP/1.1\nHost: odd.test\nConnection: keep-alive, Upgrade\nUpgrade: raw\n\n", host="odd.test", replies={"a": [Reply(raw=b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n", act="upgrade")]}, then=b"through and back")

s = STAGE.scenario("health checks")
CHECK = "healthcheck.path=/health\nhealthcheck.interval=200ms\nhealthcheck.timeout=10s"
CHECKS = {
    "well": CHECK,
    "status": CHECK + "\nhealthcheck.status=204",
    "port": CHECK + "\nhealthcheck.port=1",
    "post": CHECK + "\nhealthcheck.method=HEAD\nhealthcheck.hostname=health.test\nhealthcheck.headers.X-K=v\nhealthcheck.followredirects=false\nhealthcheck.scheme=http\nhealthcheck.mode=http\nhealthcheck.unhealthyinterval=1s",
}
for name, lines in CHECKS.items():
    s.labels("\n".join(f"traefik.http.services.health-{name}.loadbalancer.{line}" for line in (lines + "\nserver.url=<a>").splitlines()))
    s.rule(f"health-{name}", f"Host(`health-{name}.test`)", f"health-{name}")
for name in ("well", "post"):
    s.get(f"health-{name}.test/")
for name in ("status", "port"):
    s.get(f"health-{name}.test/", until=503, name=f"down: {name}", limit=4)
    s.api(f"/api/http/services/health-{name}@docker", pick=["serverStatus", "status"])
s.api("/api/http/services/health-well@docker", pick=["serverStatus", "status", "loadBalancer"])
s.api("/api/http/services/health-post@docker", pick=["loadBalancer"])
s.labels("traefik.http.services.passive.loadbalancer.server.url=<a>\ntraefik.http.services.passive.loadbalancer.passivehealthcheck.failurewindow=1h\ntraefik.http.services.passive.loadbalancer.passivehealthcheck.maxfailedattempts=2")
s.rule("passive", "Host(`passive.test`)", "passive")
s.get("passive.test/", replies={"a": [Reply(500, {}, "one")]}, name="passive: a first failure")
s.get("passive.test/", replies={"a": [Reply(500, {}, "two")]}, name="passive: a second")
s.get("passive.test/", name="passive: out for the window")
s.api("/api/http/services/passive@docker", pick=["serverStatus", "loadBalancer"])
