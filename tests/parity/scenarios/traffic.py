"""How much at once and how often: rateLimit, inFlightReq, circuitBreaker.

No probe depends on how fast the machine is: limits have periods of an hour, breakers are asked
until they have opened, requests in flight are held by the server until the probe is done.
"""

import threading

from side.table import Reply, Stage

STAGE = Stage(["--entryPoints.trusting.forwardedHeaders.insecure=true"], entry_points=("web", "trusting"))
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
traefik.http.services.a.loadbalancer.server.url=<a>
""")
# Not a container: of one that refuses connections Wharf says that no server is ready.
STAGE.file("http: {services: {dead: {loadBalancer: {servers: [{url: \"<dead>\"}]}}}}")

s = STAGE.scenario("rateLimit")
HOUR = "ratelimit.average=1\nratelimit.period=1h\n"
s.middleware("rate", HOUR + "ratelimit.burst=2", "a")
s.middleware("rate-one", HOUR, "a")
s.middleware("rate-off", "ratelimit.average=0\nratelimit.burst=1", "a")
s.middleware("rate-header", HOUR + "ratelimit.sourcecriterion.requestheadername=X-Who", "a")
s.middleware("rate-host", HOUR + "ratelimit.sourcecriterion.requesthost=true", "a", "priority=1000")
s.middleware("rate-depth", HOUR + "ratelimit.sourcecriterion.ipstrategy.depth=1", "a")
s.middleware("rate-excluded", HOUR + "ratelimit.sourcecriterion.ipstrategy.excludedips=10.0.0.9", "a")
s.middleware("rate-two", HOUR + "ratelimit.sourcecriterion.requesthost=true\nratelimit.sourcecriterion.requestheadername=X", "a")
s.middleware("rate-six", HOUR + "ratelimit.sourcecriterion.ipstrategy.depth=1\nratelimit.sourcecriterion.ipstrategy.ipv6subnet=64", "a")
for _turn in range(3):
    s.get("rate.test/")
s.get("rate.test/", source="127.0.0.9", name="another client has its own")
s.ask("HEAD", "rate.test/")
for _turn in range(2):
    s.get("rate-one.test/")
for _turn in range(3):
    s.get("rate-off.test/")
for who in ("X-Who: a", "X-Who: a", "X-Who: b"):
    s.get("rate-header.test/", who)
for _turn in range(2):
    s.get("rate-header.test/", name="no header is a source, too")
for host in ("rate-host.test", "rate-host.test", "RATE-HOST.test", "rate-host.test:81"):
    s.get(host + "/", source="127.0.0.7")
for line in ("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.1, 10.0.0.3"):
    s.get("rate-depth.test/", f"X-Forwarded-For: {line}", entry="trusting")
for line in ("10.0.0.1, 10.0.0.9", "10.0.0.1", "10.0.0.2, 10.0.0.9"):
    s.get("rate-excluded.test/", f"X-Forwarded-For: {line}", entry="trusting")
for line in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
    s.get("rate-six.test/", f"X-Forwarded-For: {line}", entry="trusting")
s.get("rate-two.test/", name="two criteria")
s.rule("rate-again", "Host(`rate-again.test`)", "a", "middlewares=rate-one")
for _turn in range(2):
    s.get("rate-again.test/", name="another router with the same middleware counts for itself")


def held(where, *others):
    """One request is held by the server while the others are asked."""

    def ask(running):
        host, _, path = where.partition("/")
        probe = {"kind": "ask", "name": "", "method": "GET", "host": host, "target": "/" + path, "headers": [], "body": b""}
        origin, first = running.origins["a"], {}
        origin.ready([Reply(act="hang", body="held\n")])
        thread = threading.Thread(target=lambda: first.update(running.once(probe)))
        thread.start()
        assert origin.wait(1, 30), "the first request did not arrive"
        found = []
        for other in others:
            more = {**probe, **other}
            answer = running.once(more)
            found.append([answer.get("status"), answer.get("body", b"").decode()])
        origin.release.set()
        thread.join(30)
        origin.release.set()
        after = running.once(probe)
        return {"while held": found, "held": [first.get("status"), first.get("body", b"").decode()], "after": after.get("status")}

    return ask


s = STAGE.scenario("inFlightReq")
s.middleware("flight", "inflightreq.amount=1", "a")
s.middleware("flight-two", "inflightreq.amount=2", "a")
s.middleware("flight-ip", "inflightreq.amount=1\ninflightreq.sourcecriterion.ipstrategy.depth=0", "a")
s.middleware("flight-header", "inflightreq.amount=1\ninflightreq.sourcecriterion.requestheadername=X-Who", "a")
s.middleware("flight-host", "inflightreq.amount=1\ninflightreq.sourcecriterion.requesthost=true", "a")
s.get("flight.test/")
s.call("one in flight, by host", held("flight.test/", {}, {"source": "127.0.0.9"}))
s.call("one in flight of two", held("flight-two.test/", {}, {}))
s.call("one in flight, by address", held("flight-ip.test/", {}, {"source": "127.0.0.9"}))
s.call("one in flight, by header", held("flight-header.test/", {}, {"headers": [("X-Who", "x")]}))
s.call("one in flight, by host as said", held("flight-host.test/", {}))
s.get("flight.test/", name="the server says 500: the place is free again", replies={"a": [Reply(500, {}, "no")]})
s.get("flight.test/", name="after that")

s = STAGE.scenario("circuitBreaker")
for name, expression, more in (
    ("cb-code", "ResponseCodeRatio(500, 600, 0, 600) > 0.30", ""),
    ("cb-network", "NetworkErrorRatio() > 0.10", ""),
    ("cb-both", "NetworkErrorRatio() > 0.5 || ResponseCodeRatio(500, 600, 0, 600) >= 0.5", "circuitbreaker.responsecode=418"),
    ("cb-and", "NetworkErrorRatio() > 0.5 && ResponseCodeRatio(500, 600, 0, 600) > 0.5", ""),
    ("cb-latency", "LatencyAtQuantileMS(50.0) > 100000", ""),
    ("cb-bad", "Foo() > 1", ""),
    ("cb-syntax", "NetworkErrorRatio() >", ""),
):
    service = "dead@file" if name == "cb-network" else "a"
    s.middleware(name, f"circuitbreaker.expression={expression}\ncircuitbreaker.checkperiod=10ms\ncircuitbreaker.fallbackduration=1h\n{more}", service)
FAIL = {"a": [Reply(500, {}, "no")] * 3}
s.get("cb-code.test/")
s.get("cb-code.test/", until=503, replies=FAIL, name="open after answers of 500", limit=4)
s.get("cb-network.test/", until=(503, "Service Unavailable"), name="open after network errors", limit=4)
s.get("cb-both.test/", until=418, replies=FAIL, name="open with a code of its own", limit=4)
s.ask("HEAD", "cb-both.test/", name="open: HEAD")
for _turn in range(3):
    s.get("cb-and.test/", replies=FAIL)
    s.get("cb-latency.test/")
for name in ("cb-bad", "cb-syntax"):
    s.get(f"{name}.test/")
    s.api(f"/api/http/routers/{name}@docker", pick=["status"])
s.rule("cb-again", "Host(`cb-again.test`)", "a", "middlewares=cb-code")
s.get("cb-again.test/", name="another router with the same middleware is closed")
