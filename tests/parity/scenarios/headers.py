"""The headers middleware: request and response headers, CORS, security headers, allowed hosts."""

from side.table import Reply, Stage

STAGE = Stage(entry_points=("web", "websecure"))
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
traefik.http.services.a.loadbalancer.server.url=<a>
""")


def headers(name, settings, service="a", router=""):
    s.middleware(name, "\n".join(f"headers.{line.strip()}" for line in settings.strip().splitlines()), service, router)


s = STAGE.scenario("request headers")
headers("req-set", "customrequestheaders.X-New=one\ncustomrequestheaders.X-Old=two", "app")
headers("req-drop", "customrequestheaders.X-Old=\ncustomrequestheaders.User-Agent=", "app")
headers("req-host", "customrequestheaders.Host=inner.test", "app")
headers("req-xff", "customrequestheaders.X-Forwarded-For=", "app")
headers("req-case", "customrequestheaders.x-lower-CASE=v", "app")
s.get("req-set.test/", "X-Old: a", "X-Old: b", "X-Keep: k")
s.get("req-drop.test/", "X-Old: a", "User-Agent: me")
s.get("req-host.test/x")
s.get("req-xff.test/x", "X-Forwarded-For: 1.2.3.4")
s.get("req-case.test/")

s = STAGE.scenario("response headers")
headers("res-set", "customresponseheaders.X-New=one\ncustomresponseheaders.X-Old=two")
headers("res-drop", "customresponseheaders.X-Old=\ncustomresponseheaders.Server=")
headers("res-both", "customresponseheaders.X-A=1\ncustomrequestheaders.X-B=2")
s.labels("traefik.http.routers.res-order.rule=Host(`res-order.test`)\ntraefik.http.routers.res-order.service=a\ntraefik.http.routers.res-order.middlewares=res-o1,res-o2")
s.labels("traefik.http.middlewares.res-o1.headers.customresponseheaders.X-Order=o1\ntraefik.http.middlewares.res-o2.headers.customresponseheaders.X-Order=o2")
OLD = {"a": [Reply(200, [("X-Old", "a"), ("X-Old", "b"), ("Server", "origin"), ("X-Keep", "k")], "hi")]}
s.get("res-set.test/", replies=OLD)
s.get("res-drop.test/", replies=OLD)
s.get("res-both.test/")
s.get("res-order.test/")
s.get("res-set.test/gone", replies={"a": [Reply(404, {"X-Old": "x"}, "gone")]}, name="on a 404 of the server")
s.ask("HEAD", "res-set.test/", replies=OLD)
s.get("res-set.test/", replies={"a": [Reply(act="close")]}, name="on our own 502")

s = STAGE.scenario("CORS")
FULL = "accesscontrolalloworiginlist=https://one.test,https://two.test\naccesscontrolallowmethods=GET,PUT\naccesscontrolallowheaders=X-One,X-Two\naccesscontrolmaxage=100\naccesscontrolexposeheaders=X-Out\naccesscontrolallowcredentials=true\naddvaryheader=true"
headers("cors", FULL)
headers("cors-star", "accesscontrolalloworiginlist=*\naccesscontrolallowmethods=*\naccesscontrolallowheaders=*\naccesscontrolexposeheaders=*")
headers("cors-starcred", "accesscontrolalloworiginlist=*\naccesscontrolallowmethods=*\naccesscontrolallowheaders=*\naccesscontrolexposeheaders=*\naccesscontrolallowcredentials=true")
headers("cors-re", "accesscontrolalloworiginlistregex=https://[a-z]+\\.re\\.test\naccesscontrolallowmethods=GET")
headers("cors-vary", "accesscontrolalloworiginlist=https://one.test\naddvaryheader=true")
PRE = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: X-One, X-Three")
for name, origins in (("cors", ("https://one.test", "https://three.test", "null")), ("cors-star", ("https://one.test",)), ("cors-starcred", ("https://one.test",)), ("cors-re", ("https://ab.re.test", "https://a1.re.test", "https://ab.re.test.evil"))):
    for origin in origins:
        s.ask("OPTIONS", f"{name}.test/x", f"Origin: {origin}", *PRE, name=f"preflight {name} {origin}")
        s.get(f"{name}.test/x", f"Origin: {origin}")
s.ask("OPTIONS", "cors.test/x", "Origin: https://one.test", name="OPTIONS without the request method")
s.ask("OPTIONS", "cors.test/x", *PRE, name="OPTIONS without an origin")
s.get("cors.test/x")
s.get("cors-vary.test/x", "Origin: https://one.test", replies={"a": [Reply(200, {"Vary": "Accept"}, "x")]}, name="Vary of the server")
s.get("cors-vary.test/x", "Origin: https://one.test", replies={"a": [Reply(200, {"Access-Control-Allow-Origin": "https://mine.test"}, "x")]}, name="the server's own Allow-Origin")

s = STAGE.scenario("security headers")
headers("sec-all", """
framedeny=true
contenttypenosniff=true
browserxssfilter=true
contentsecuritypolicy=default-src 'self'
contentsecuritypolicyreportonly=default-src 'none'
referrerpolicy=no-referrer
permissionspolicy=camera=()
publickey=pin-sha256="x"
featurepolicy=vibrate 'none'
""")
headers("sec-custom", "framedeny=true\ncustomframeoptionsvalue=SAMEORIGIN\nbrowserxssfilter=true\ncustombrowserxssvalue=1; report=x")
headers("sec-off", "framedeny=false\ncontenttypenosniff=false\nreferrerpolicy=same-origin")
headers("sts", "stsseconds=31536000\nstsincludesubdomains=true\nstspreload=true")
headers("sts-tls", "stsseconds=10", router="tls=true")
headers("sts-forced", "stsseconds=10\nforcestsheader=true")
headers("sts-proxy", "stsseconds=10\nsslproxyheaders.X-Proto=https")
headers("sts-zero", "stsseconds=0\nforcestsheader=true")
for name in ("sec-all", "sec-custom", "sec-off", "sts", "sts-forced", "sts-zero"):
    s.get(f"{name}.test/")
s.get("sec-all.test/", replies={"a": [Reply(200, {"X-Frame-Options": "mine", "Referrer-Policy": "mine", "Content-Security-Policy": "mine"}, "x")]}, name="over the server's own")
s.get("sts-tls.test/", tls={}, entry="websecure")
s.get("sts-proxy.test/", "X-Proto: https")
s.get("sts-proxy.test/", "X-Proto: http")
s.get("sts.test/", "X-Forwarded-Proto: https")

s = STAGE.scenario("allowed hosts, redirections that do nothing, development")
headers("allowed", "allowedhosts=allowed.test,other.test")
headers("hostsproxy", "allowedhosts=good.test\nhostsproxyheaders=X-Fwd-Host")
headers("dev", "allowedhosts=nope.test\nstsseconds=10\nforcestsheader=true\nframedeny=true\nisdevelopment=true")
headers("sslredirect", "sslredirect=true\nsslhost=secure.test\nsslforcehost=true\nssltemporaryredirect=true")
s.rule("allowed-more", "Host(`notallowed.test`)", "a", "middlewares=allowed")
for where in ("allowed.test/", "allowed.test:81/", "ALLOWED.test/", "notallowed.test/", "hostsproxy.test/", "dev.test/", "sslredirect.test/"):
    s.get(where)
s.get("hostsproxy.test/", "X-Fwd-Host: good.test")
s.get("hostsproxy.test/", "X-Fwd-Host: bad.test")

s = STAGE.scenario("options that make a middleware when they stand alone")
ALONE = {"sslredirect": "true", "ssltemporaryredirect": "true", "sslhost": "h.test", "sslforcehost": "true", "featurepolicy": "x", "sslproxyheaders.X-P": "https", "stsseconds": "5", "stspreload": "true", "isdevelopment": "true", "addvaryheader": "true", "accesscontrolmaxage": "5", "accesscontrolallowcredentials": "true", "framedeny": "false", "hostsproxyheaders": "X-H"}
for option, value in ALONE.items():
    name = "alone-" + option.split(".")[0]
    headers(name, f"{option}={value}")
    s.get(f"{name}.test/")

s = STAGE.scenario("an upgrade's answer is left alone")
headers("upgrade", "customresponseheaders.X-New=one\nframedeny=true")
UPGRADE = "GET /ws HTTP/1.1\nHost: {}\nConnection: Upgrade\nUpgrade: raw\nX-K: v\n\n"
SWITCH = Reply(raw=b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\nX-Mine: m\r\n\r\n", act="upgrade")
s.raw("an upgrade, then bytes", UPGRADE.format("upgrade.test"), host="upgrade.test", replies={"a": [SWITCH]}, then=b"hello through")
s.raw("refused by the server", UPGRADE.format("upgrade.test"), host="upgrade.test", replies={"a": [Reply(403, {}, "no")]})
