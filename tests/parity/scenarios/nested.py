"""Services of the file provider: mirroring, failover, highestRandomWeight."""

from side.table import Reply, Stage

STAGE = Stage()


def service(name, text, router=True):
    """A service and a router for `<name>.test`."""
    lines = "\n".join("      " + line for line in text.strip("\n").splitlines())
    rule = f"\n  routers:\n    {name}:\n      rule: Host(`{name}.test`)\n      service: {name}" if router else ""
    STAGE.file(f"http:{rule}\n  services:\n    {name}:\n{lines}\n")


for each in ("a", "b", "c", "s", "m", "dead"):
    service(each, f"loadBalancer:\n  servers:\n    - url: <{each}>")

s = STAGE.scenario("leasttime")
service("leasttime", "loadBalancer:\n  strategy: leasttime\n  servers:\n    - url: <a>\n    - url: <b>")
s.spread("leasttime.test/", 10, shows="statuses")

s = STAGE.scenario("mirroring")
service("mirror", "mirroring:\n  service: a\n  mirrors:\n    - name: b\n      percent: 100")
service("mirror-zero", "mirroring:\n  service: a\n  mirrors:\n    - name: b\n      percent: 0\n    - name: c")
service("mirror-half", "mirroring:\n  service: a\n  mirrors:\n    - name: b\n      percent: 50")
service("mirror-bare", "mirroring:\n  service: a\n  mirrorBody: false\n  mirrors:\n    - name: b\n      percent: 100")
service("mirror-small", "mirroring:\n  service: a\n  maxBodySize: 4\n  mirrors:\n    - name: b\n      percent: 100")
service("mirror-dead", "mirroring:\n  service: a\n  mirrors:\n    - name: dead\n      percent: 100")
service("mirror-two", "mirroring:\n  service: a\n  mirrors:\n    - name: b\n      percent: 100\n    - name: c\n      percent: 100")
service("mirror-missing", "mirroring:\n  service: a\n  mirrors:\n    - name: nope\n      percent: 100")
s.get("mirror.test/x?y", "X-K: v", "Cookie: a=b", upstream=2)
s.post("mirror.test/x", body="hello", upstream=2)
s.get("mirror.test/x", upstream=2, replies={"a": [Reply(500, {}, "no")], "b": [Reply(200, {}, "not seen")]}, name="the mirror's answer is not seen")
s.get("mirror-bare.test/x", upstream=2)
s.post("mirror-small.test/x", body="1234", upstream=2)
s.post("mirror-small.test/x", body="12345", upstream=1)
s.get("mirror-zero.test/x")
s.get("mirror-dead.test/x")
s.get("mirror-two.test/x", upstream=3)
s.get("mirror-missing.test/x")


def half(running):
    """Ten requests; how many copies there are once half of them are there."""
    probe = {"kind": "ask", "name": "", "method": "GET", "host": "mirror-half.test", "target": "/", "headers": [], "body": b""}
    statuses = {running.once(probe)["status"] for _turn in range(10)}
    running.origins["b"].wait(5, 30)
    return {"statuses": sorted(statuses), "copies": len(running.origins["b"].seen)}


s.call("half of ten", half)
s.api("/api/http/services/mirror@file", pick=["mirroring", "status", "type"])

s = STAGE.scenario("failover")
service("checked", "loadBalancer:\n  healthCheck:\n    path: /health\n    interval: 200ms\n    timeout: 10s\n    status: 204\n  servers:\n    - url: <a>", router=False)
service("well", "loadBalancer:\n  healthCheck:\n    path: /health\n    interval: 200ms\n    timeout: 10s\n  servers:\n    - url: <a>", router=False)
service("fail-down", "failover:\n  service: checked\n  fallback: b")
service("fail-up", "failover:\n  service: well\n  fallback: b")
service("fail-unchecked", "failover:\n  service: dead\n  fallback: b")
service("fail-errors", "failover:\n  service: a\n  fallback: b\n  errors:\n    status:\n      - 500-502\n      - \"418\"")
service("fail-body", "failover:\n  service: a\n  fallback: b\n  errors:\n    maxRequestBodyBytes: 4\n    status:\n      - \"500\"")
s.spread("fail-up.test/", 3)
s.get("fail-down.test/", until=(200, "^b"), limit=4, name="the first is down")
s.get("fail-unchecked.test/")
for status in (200, 404, 418, 500, 503):
    s.get("fail-errors.test/x?y", "X-K: v", replies={"a": [Reply(status, {"X-A": "a"}, "from a")]}, name=f"the first says {status}")
s.post("fail-errors.test/x", body="hello", replies={"a": [Reply(500, {}, "no")]}, name="a body is sent again")
for body in ("1234", "12345"):
    s.post("fail-body.test/x", body=body, replies={"a": [Reply(500, {}, "no")]}, name=f"a body of {len(body)} with room for 4")
s.api("/api/http/services/fail-errors@file", pick=["failover", "status", "type"])

s = STAGE.scenario("highestRandomWeight")
service("hrw", "highestRandomWeight:\n  services:\n    - name: a\n    - name: b\n    - name: c")
service("hrw-weights", "highestRandomWeight:\n  services:\n    - name: a\n      weight: 10\n    - name: b\n      weight: 1")
service("hrw-zero", "highestRandomWeight:\n  services:\n    - name: a\n      weight: 0\n    - name: b")
s.spread("hrw.test/", 5, shows="number", name="one client, one service")
s.spread("hrw.test/", 24, source="127.0.6.#", shows="turns", name="which service each of 24 clients gets")
s.spread("hrw-weights.test/", 24, source="127.0.6.#", shows="turns", name="with weights 10 and 1")
s.spread("hrw-zero.test/", 6, source="127.0.6.#", shows="counts", name="with weight 0")
s.api("/api/http/services/hrw-weights@file", pick=["highestRandomWeight", "status", "type"])
