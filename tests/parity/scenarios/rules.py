"""Every matcher of v3, how they combine, priorities, and rules that are wrong."""

from side.table import Stage

STAGE = Stage(entry_points=("web", "other"))
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080")

s = STAGE.scenario("Host")
s.rule("host", "Host(`Plain.test`)")
s.rule("host-dot", "Host(`dot.test.`)")
s.rule("host-wild", "Host(`*.wild.test`)")
s.rule("host-port", "Host(`port.test:8000`)")
for host in ("plain.test", "PLAIN.TEST", "plain.test:81", "plain.test.", "dot.test", "dot.test.", "a.wild.test", "wild.test", "a.b.wild.test", "port.test", "port.test:8000", "other.test"):
    s.get(host + "/")
s.raw("absolute form", "GET http://plain.test/x HTTP/1.1\nHost: other.test\n\n", host="plain.test")

s = STAGE.scenario("HostRegexp")
s.rule("hostre", "HostRegexp(`^[a-z]+\\.re\\.test$`)")
s.rule("hostre-loose", "HostRegexp(`loose`)")
for host in ("abc.re.test", "ABC.re.test", "a1.re.test", "abc.re.test:8080", "x.loosely.test"):
    s.get(host + "/")

s = STAGE.scenario("Path, PathPrefix, PathRegexp")
s.rule("path", "Host(`path.test`) && Path(`/exact`)")
s.rule("path-space", "Host(`path.test`) && Path(`/foo bar`)")
s.rule("path-escaped", "Host(`path.test`) && Path(`/a%2Fb`)")
s.rule("prefix", "Host(`prefix.test`) && PathPrefix(`/pre`)")
s.rule("pathre", "Host(`pathre.test`) && PathRegexp(`\\.(jpg|png)$`)")
for target in ("/exact", "/exact/", "/Exact", "/exact?q", "/foo%20bar", "/foo+bar", "/a%2Fb", "/a%2fb", "/a/b", "/ex%61ct", "/x/../exact"):
    s.get("path.test" + target)
for target in ("/pre", "/prefix", "/pre/x", "/pr", "/PRE"):
    s.get("prefix.test" + target)
for target in ("/a/x.png", "/x.PNG", "/x.png?y", "/x.png/", "/x%2Epng"):
    s.get("pathre.test" + target)

s = STAGE.scenario("Method, Header, HeaderRegexp")
s.rule("method", "Host(`method.test`) && Method(`post`)")
s.rule("header", "Host(`header.test`) && Header(`X-Kind`, `a`)")
s.rule("header-re", "Host(`headerre.test`) && HeaderRegexp(`X-Kind`, `^v[0-9]+$`)")
s.rule("header-host", "Header(`Host`, `byheader.test`)")
for method in ("GET", "POST", "PUT"):
    s.ask(method, "method.test/")
s.get("header.test/", "X-Kind: a")
s.get("header.test/", "x-kind: a")
s.get("header.test/", "X-Kind: A")
s.get("header.test/", "X-Kind: a, b")
s.get("header.test/", "X-Kind: b", "X-Kind: a")
s.get("header.test/")
s.get("headerre.test/", "X-Kind: v12")
s.get("headerre.test/", "X-Kind: xv12")
s.get("headerre.test/", "X-Kind: x", "X-Kind: v1")
s.get("byheader.test/")

s = STAGE.scenario("Query, QueryRegexp")
s.rule("query", "Host(`query.test`) && Query(`k`, `v`)")
s.rule("query-alone", "Host(`queryalone.test`) && Query(`k`)")
s.rule("query-re", "Host(`queryre.test`) && QueryRegexp(`k`, `^[0-9]+$`)")
for query in ("?k=v", "?k=w", "?k=w&k=v", "?K=v", "?k=V", "?k=%76", "?a;k=v", ""):
    s.get("query.test/" + query)
for query in ("?k", "?k=", "?k=1", "?x"):
    s.get("queryalone.test/" + query)
for query in ("?k=12", "?k=a1", "?k=a&k=1", "?k="):
    s.get("queryre.test/" + query)

s = STAGE.scenario("ClientIP")
s.rule("ip", "Host(`ip.test`) && ClientIP(`127.0.0.3`)")
s.rule("ip-range", "Host(`iprange.test`) && ClientIP(`127.1.0.0/16`)")
s.get("ip.test/")
s.get("ip.test/", source="127.0.0.3")
s.get("ip.test/", "X-Forwarded-For: 127.0.0.3")
s.get("iprange.test/", source="127.1.2.3")
s.get("iprange.test/", source="127.2.2.3")

s = STAGE.scenario("operators and spellings")
s.rule("binds", "Host(`binds.test`) && Path(`/a`) || Host(`binds.test`) && Path(`/b`)")
s.rule("loose-or", "Host(`loose.test`) && Path(`/a`) || Path(`/loose-b`)")
s.rule("brackets", "Host(`brackets.test`) && (Path(`/a`) || Path(`/b`))")
s.rule("negated", "Host(`negated.test`) && !Path(`/a`) && !(Method(`PUT`) || Header(`X-No`, `1`))")
s.rule("quotes", 'Host("quotes.test") && Path("/a\\tb")')
s.rule("upper", "HOST(`upper.test`) && PATHPREFIX(`/`)")
s.rule("lower", "host(`lower.test`) && pathprefix(`/`)")
s.rule("title", "Host(`title.test`) && Pathprefix(`/`)")
s.rule("mixed", "hOst(`mixed.test`)")
for where in ("binds.test/a", "binds.test/b", "binds.test/c", "any.test/loose-b", "loose.test/a", "brackets.test/b", "any.test/b", "negated.test/a", "negated.test/b"):
    s.get(where)
s.ask("PUT", "negated.test/b")
s.get("negated.test/b", "X-No: 1")
for where in ("quotes.test/a%09b", "upper.test/", "lower.test/", "title.test/", "mixed.test/"):
    s.get(where)

s = STAGE.scenario("priority")
for name, rule, priority in (("long", "Host(`prio.test`) && PathPrefix(`/a`)", ""), ("short", "Host(`prio.test`)", ""), ("first", "Host(`prio.test`) && Path(`/a/b`)", "1"), ("zero", "Host(`zero.test`)", "0"), ("minus", "PathPrefix(`/zero`)", "-1"), ("big", "Host(`big.test`)", "9223372036854774807"), ("too-big", "Host(`toobig.test`)", "9223372036854775807")):
    s.rule(f"prio-{name}", rule, more=f"middlewares=prio-{name}" + (f"\npriority={priority}" if priority else ""))
    s.labels(f"traefik.http.middlewares.prio-{name}.headers.customrequestheaders.X-Router={name}")
for where in ("prio.test/a", "prio.test/a/b", "prio.test/c", "zero.test/zero", "any.test/zero", "big.test/", "toobig.test/"):
    s.get(where)
s.api("/api/http/routers?search=prio-", name="priorities as the API says", pick=["name", "priority", "status"])

s = STAGE.scenario("rules that are wrong")
WRONG = {
    "unknown": "Hostt(`a.test`)",
    "bare": "Foo",
    "open-end": "Host(`a.test`) &&",
    "word-and": "Host(`a.test`) and Path(`/`)",
    "single-quotes": "Host('a.test')",
    "two-hosts": "Host(`a.test`, `b.test`)",
    "relative": "Path(`x`)",
    "no-args": "Host()",
    "empty-arg": "Host(``)",
    "bad-regexp": "HostRegexp(`(`)",
    "not-ascii": "Host(`é.test`)",
    "bad-ip": "ClientIP(`zz`)",
    "bad-path-re": "PathRegexp(`[`)",
    "one-header": "Header(`X`)",
    "sni": "HostSNI(`a.test`)",
}
for name, rule in WRONG.items():
    s.rule(f"wrong-{name}", rule)
    s.api(f"/api/http/routers/wrong-{name}@docker", pick=["status", "rule", "priority"])
s.get("a.test/")

s = STAGE.scenario("entry points of routers")
s.rule("on-web", "Host(`onweb.test`)", more="entrypoints=web")
s.rule("on-other", "Host(`onother.test`)", more="entrypoints=other")
s.rule("on-both", "Host(`onboth.test`)", more="entrypoints=web, other")
s.rule("on-none", "Host(`onnone.test`)", more="entrypoints=nope")
s.rule("on-some", "Host(`onsome.test`)", more="entrypoints=web,nope")
for name in ("web", "other", "both", "none", "some"):
    s.get(f"on{name}.test/")
    s.get(f"on{name}.test/", entry="other")
    s.api(f"/api/http/routers/on-{name}@docker", pick=["status", "entryPoints", "using"])
