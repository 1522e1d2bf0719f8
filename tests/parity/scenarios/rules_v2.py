"""Every matcher of the rules of v2, on routers that ask for it."""

from side.table import Stage

STAGE = Stage()
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080")

s = STAGE.scenario("v2 rules")
V2 = {
    "hosts": "Host(`v2a.test`, `v2b.test`)",
    "hostheader": "HostHeader(`v2hh.test`)",
    "hostregexp": "HostRegexp(`{sub:[a-z]+}.v2re.test`)",
    "hostregexp-bare": "HostRegexp(`{sub}.v2bare.test`)",
    "path": "Host(`v2path.test`) && Path(`/a`, `/b`)",
    "path-named": "Host(`v2named.test`) && Path(`/items/{id:[0-9]+}`)",
    "prefix": "Host(`v2prefix.test`) && PathPrefix(`/p/{x}/`, `/q`)",
    "method": "Host(`v2method.test`) && Method(`GET`, `PUT`)",
    "headers": "Host(`v2headers.test`) && Headers(`X-K`, `v`)",
    "headersre": "Host(`v2headersre.test`) && HeadersRegexp(`X-K`, `^v[0-9]$`)",
    "query": "Host(`v2query.test`) && Query(`a=1`, `b=2`)",
    "ip": "Host(`v2ip.test`) && ClientIP(`127.0.0.3`, `127.0.0.4`)",
    "not": "Host(`v2not.test`) && !Path(`/a`)",
}
for name, rule in V2.items():
    s.rule(f"v2-{name}", rule, more="rulesyntax=v2")
for where in ("v2a.test/", "v2b.test/", "V2A.test/", "v2hh.test/", "abc.v2re.test/", "a1.v2re.test/", "xx.v2bare.test/", "x.y.v2bare.test/"):
    s.get(where)
for where in ("v2path.test/a", "v2path.test/b", "v2path.test/c", "v2named.test/items/12", "v2named.test/items/x", "v2named.test/items/12/", "v2prefix.test/p/1/z", "v2prefix.test/q/1", "v2prefix.test/p/"):
    s.get(where)
for method in ("GET", "PUT", "POST"):
    s.ask(method, "v2method.test/")
s.get("v2headers.test/", "X-K: v")
s.get("v2headers.test/", "X-K: w")
s.get("v2headersre.test/", "X-K: v1")
s.get("v2headersre.test/", "X-K: v11")
for query in ("?a=1&b=2", "?a=1", "?b=2", "?a=2&b=2"):
    s.get("v2query.test/" + query)
s.get("v2ip.test/", source="127.0.0.4")
s.get("v2ip.test/")
s.get("v2not.test/a")
s.get("v2not.test/b")
for name in ("hosts", "hostregexp", "query"):
    s.api(f"/api/http/routers/v2-{name}@docker", pick=["status", "rule", "ruleSyntax", "priority"])
s.rule("v2-wrong", "Query(`a`, `b`)", more="rulesyntax=v2")
s.rule("v2-in-v3", "Host(`v2in3a.test`, `v2in3b.test`)", more="rulesyntax=v3")
s.rule("v2-other", "Host(`v2other.test`)", more="rulesyntax=v7")
for name in ("wrong", "in-v3", "other"):
    s.api(f"/api/http/routers/v2-{name}@docker", pick=["status", "rule", "ruleSyntax"])
s.get("v2other.test/")
