"""Once more, and kept for it: retry, buffering."""

from side.table import Reply, Stage

STAGE = Stage()
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
traefik.http.services.a.loadbalancer.server.url=<a>
""")
# Not a container: of one that refuses connections Wharf says that no server is ready.
STAGE.file("http: {services: {dead: {loadBalancer: {servers: [{url: \"<dead>\"}]}}}}")
STAGE.file("""
http:
  services:
    mixed:
      loadBalancer:
        servers:
          - url: "<a>"
          - url: "<dead>"
    pair:
      loadBalancer:
        servers:
          - url: "<a>"
          - url: "<b>"
""")

s = STAGE.scenario("retry")
s.middleware("retry", "retry.attempts=3", "mixed@file")
s.middleware("retry-dead", "retry.attempts=2", "dead@file")
s.middleware("retry-status", "retry.attempts=3\nretry.status=500-502,418", "a")
s.middleware("retry-all", "retry.attempts=2\nretry.status=503\nretry.retrynonidempotentmethod=true", "a")
s.middleware("retry-off", "retry.attempts=3\nretry.disableretryonnetworkerror=true\nretry.status=503", "a")
s.middleware("retry-body", "retry.attempts=2\nretry.status=503\nretry.maxrequestbodybytes=5", "a")
s.middleware("retry-interval", "retry.attempts=2\nretry.initialinterval=10ms\nretry.status=503", "a")
s.spread("retry.test/", 6, name="one server of two is dead: every request is served")
s.get("retry-dead.test/")
for statuses in ((500, 200), (501, 502, 200), (501, 502, 502), (503, 200), (418, 404)):
    s.get("retry-status.test/x?y", name=f"the server says {statuses}", replies={"a": [Reply(status, {"X-Turn": str(turn)}, f"turn {turn}") for turn, status in enumerate(statuses)]})
for method in ("HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "LOCK", "FOO"):
    s.ask(method, "retry-status.test/x", body="" if method in ("HEAD", "OPTIONS") else "body", name=f"{method}, the server says 500, then 200", replies={"a": [Reply(500, {}, "no"), Reply(200, {}, "yes")]})
s.post("retry-all.test/x", body="body", replies={"a": [Reply(503, {}, "no"), Reply(200, {}, "yes")]})
s.get("retry-interval.test/x", replies={"a": [Reply(503, {}, "no"), Reply(200, {}, "yes")]})
s.ask("PUT", "retry-body.test/x", body="12345", replies={"a": [Reply(503, {}, "no"), Reply(200, {}, "yes")]})
s.ask("PUT", "retry-body.test/x", body="123456", name="a body over maxRequestBodyBytes", replies={"a": [Reply(503, {}, "no"), Reply(200, {}, "yes")]})
s.post("retry-status.test/x", body="body", name="POST, the server closes", without=["upstream"], replies={"a": [Reply(act="close")] * 4})
s.get("retry-off.test/x", name="no retries for network errors", without=["upstream"], replies={"a": [Reply(act="close")] * 4})
s.middleware("retry-none", "retry.initialinterval=10ms", "a")
s.get("retry-none.test/", name="no attempts given")

s = STAGE.scenario("buffering")
s.middleware("buffer", "buffering.maxrequestbodybytes=10\nbuffering.maxresponsebodybytes=10\nbuffering.memrequestbodybytes=4\nbuffering.memresponsebodybytes=4", "a")
s.middleware("buffer-all", "buffering.memrequestbodybytes=1000", "a")
for size in (0, 4, 10, 11, 5000):
    s.post("buffer.test/", body="x" * size, name=f"a request body of {size}", replies={"a": [Reply(200, {}, "ok")]})
s.raw("a chunked request body of 9", "POST / HTTP/1.1\nHost: buffer.test\nTransfer-Encoding: chunked\n\n4\nabcd\n5\nefghi\n0\n\n", host="buffer.test", replies={"a": [Reply(200, {}, "ok")]})
s.raw("a chunked request body of 11", "POST / HTTP/1.1\nHost: buffer.test\nTransfer-Encoding: chunked\n\n5\nabcde\n6\nefghij\n0\n\n", host="buffer.test")
for size in (0, 10, 11, 5000):
    s.get("buffer.test/", name=f"an answer of {size}", replies={"a": [Reply(200, {"X-K": "v"}, "y" * size)]})
s.get("buffer-all.test/", name="a chunked answer", replies={"a": [Reply(200, {}, chunks=["one", "two"])]})
s.post("buffer-all.test/", body="z" * 3000, name="a body over the memory")
s.ask("HEAD", "buffer.test/", replies={"a": [Reply(200, {}, "y" * 50)]}, name="HEAD, the answer would be too long")
