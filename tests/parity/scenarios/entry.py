"""Options of entry points: forwarded headers, paths, encoded characters, redirections, PROXY protocol."""

from side.table import Stage

ENTRIES = ("web", "insecure", "trusted", "kept", "raw", "strict", "limited", "middle", "proxied", "redirect", "second", "few", "plainlog")
STAGE = Stage(
    [
        "--entryPoints.web.asDefault=true",
        "--entryPoints.insecure.asDefault=true",
        "--entryPoints.insecure.forwardedHeaders.insecure=true",
        "--entryPoints.trusted.asDefault=true",
        "--entryPoints.trusted.forwardedHeaders.trustedIPs=127.0.0.2/32,10.0.0.0/8",
        "--entryPoints.kept.asDefault=true",
        "--entryPoints.kept.forwardedHeaders.insecure=true",
        "--entryPoints.kept.forwardedHeaders.notAppendXForwardedFor=true",
        "--entryPoints.kept.forwardedHeaders.connection=X-Hop",
        "--entryPoints.raw.asDefault=true",
        "--entryPoints.raw.http.sanitizePath=false",
        "--entryPoints.raw.http.encodeQuerySemicolons=true",
        "--entryPoints.strict.asDefault=true",
        *(f"--entryPoints.strict.http.encodedCharacters.allowEncoded{name}=false" for name in ("Slash", "BackSlash", "NullCharacter", "Semicolon", "Percent", "QuestionMark", "Hash")),
        "--entryPoints.limited.asDefault=true",
        "--entryPoints.limited.http.maxHeaderBytes=2000",
        "--entryPoints.middle.asDefault=true",
        "--entryPoints.middle.http.middlewares=first@file,second@file",
        "--entryPoints.proxied.asDefault=true",
        "--entryPoints.proxied.proxyProtocol.trustedIPs=127.0.0.2",
        "--entryPoints.redirect.http.redirections.entryPoint.to=second",
        "--entryPoints.second.http.redirections.entryPoint.to=:8443",
        "--entryPoints.second.http.redirections.entryPoint.scheme=https",
        "--entryPoints.second.http.redirections.entryPoint.permanent=false",
        "--entryPoints.second.http.redirections.entryPoint.priority=10",
        "--entryPoints.few.asDefault=true",
        "--entryPoints.few.transport.keepAliveMaxRequests=1",
        "--entryPoints.plainlog.asDefault=true",
        "--entryPoints.plainlog.http2.maxConcurrentStreams=10",
        "--entryPoints.plainlog.reusePort=true",
        "--entryPoints.plainlog.transport.respondingTimeouts.idleTimeout=10s",
    ],
    entry_points=ENTRIES,
)
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080")
STAGE.file("""
http:
  middlewares:
    first:
      addPrefix:
        prefix: /first
    second:
      headers:
        customRequestHeaders:
          X-Second: "yes"
""")

s = STAGE.scenario("forwarded headers")
s.rule("all", "Host(`all.test`)")
FORGED = ("X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: forged.test", "X-Forwarded-Port: 1", "X-Forwarded-Server: me", "X-Forwarded-Prefix: /p", "X-Forwarded-Uri: /u", "X-Forwarded-Method: PUT", "X-Real-Ip: 8.8.8.8", "X-Forwarded-Tls-Client-Cert: c", "X-Forwarded-Tls-Client-Cert-Info: i", "Forwarded: for=1.1.1.1", "X-Forwarded-Ssl: on")
for entry in ("web", "insecure", "trusted", "kept"):
    s.get("all.test/", entry=entry)
    s.get("all.test/", *FORGED, entry=entry, name=f"all of them, {entry}")
    s.get("all.test/", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2, 3.3.3.3", entry=entry, name=f"two lines, {entry}")
s.get("all.test/", *FORGED, entry="trusted", source="127.0.0.2", name="from a trusted address")
s.get("all.test/", "X-Forwarded-Proto: wss", entry="insecure")
s.get("all.test:1234/", name="the port of Host")
s.get("all.test/", "Connection: X-Hop, X-Other", "X-Hop: 1", "X-Other: 2", entry="web", name="named in Connection")
s.get("all.test/", "Connection: X-Forwarded-For, X-Real-Ip, X-Forwarded-Host", name="the proxy's own named in Connection")

s = STAGE.scenario("paths and queries")
for entry in ("web", "raw"):
    for target in ("/a/../b", "//a//b", "/a/./b", "/a%2e%2e/b", "/a/%2e%2e/b", "/a%2Fb%2fc", "/?a=1;b=2", "/x?q=%zz", "/%7euser", "/a b".replace(" ", "%20"), "/a/..", "/..", "/a;b", "/a%00b", "/%", "/%zz"):
        s.get(f"all.test{target}", entry=entry)
for code in ("%2F", "%5C", "%00", "%3B", "%25", "%3F", "%23", "%20", "%2f"):
    s.get(f"all.test/a{code}b", entry="strict")
s.get("all.test/ab?x=%2F%25", entry="strict")
s.get("nobody.test/a%2Fb", entry="strict", name="no router: 404 first")

s = STAGE.scenario("limits")
s.get("all.test/", "X-Big: " + "x" * 1500, entry="limited", name="a header of 1,500 with room for 2,000")
s.get("all.test/", "X-Big: " + "x" * 9000, entry="limited", name="a header of 9,000 with room for 2,000", without=["headers"])
for entry in ("web"):
    s.get("all.test/", "X_Auth_User: forged", "X-Auth-User: real", entry=entry)
    s.get("all.test/", "X.Auth.User: forged", entry=entry)
s.get("all.test/", entry="few", closed=True, name="keepAliveMaxRequests: the answer says it is the last")

s = STAGE.scenario("middlewares of an entry point")
s.rule("middle", "Host(`middle.test`)", more="middlewares=inner")
s.labels("traefik.http.middlewares.inner.addprefix.prefix=/inner")
s.get("all.test/x", entry="middle")
s.get("middle.test/x", entry="middle")
s.get("middle.test/x")
s.api("/api/http/routers/middle@docker", pick=["middlewares", "entryPoints", "using"])

s = STAGE.scenario("redirections")
s.rule("on-second", "Host(`second.test`) && PathPrefix(`/long/enough/to/win`)", more="entrypoints=second")
for method in ("GET", "POST", "HEAD"):
    s.ask(method, "any.test/x?y=1", entry="redirect")
    s.ask(method, "any.test/x?y=1", entry="second")
s.get("any.test:81/x", entry="redirect", name="a port in Host")
s.get("second.test/long/enough/to/win", entry="second", name="a router before the redirection")
s.get("any.test/.well-known/acme-challenge/x", entry="redirect")
s.api("/api/http/routers?search=redirect-to", name="the API shows the redirection", pick=["name", "rule", "service", "status", "using", "provider"])
s.api("/api/http/middlewares?search=redirect", name="and its middleware", pick=["name", "redirectScheme", "status", "provider", "type"])

s = STAGE.scenario("PROXY protocol")
s.raw("version 1 from a trusted address", "GET / HTTP/1.1\nHost: all.test\n\n", entry="proxied", host="all.test", source="127.0.0.2", preface=b"PROXY TCP4 10.1.2.3 10.0.0.1 1234 80\r\n")
s.raw("version 2 from a trusted address", "GET / HTTP/1.1\nHost: all.test\n\n", entry="proxied", host="all.test", source="127.0.0.2", preface=b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x04\x0a\x00\x00\x01\x04\xd2\x00\x50")
s.raw("version 1, unknown", "GET / HTTP/1.1\nHost: all.test\n\n", entry="proxied", host="all.test", source="127.0.0.2", preface=b"PROXY UNKNOWN\r\n")
s.raw("none from a trusted address", "GET / HTTP/1.1\nHost: all.test\n\n", entry="proxied", host="all.test", source="127.0.0.2")
s.raw("none from anybody", "GET / HTTP/1.1\nHost: all.test\n\n", entry="proxied", host="all.test")

s = STAGE.scenario("odd requests")
for name, text in {
    "no Host": "GET / HTTP/1.1\n\n",
    "two Hosts": "GET / HTTP/1.1\nHost: all.test\nHost: b.test\n\n",
    "empty Host": "GET / HTTP/1.1\nHost:\n\n",
    "HTTP/1.0": "GET / HTTP/1.0\nHost: all.test\n\n",
    "HTTP/1.0 keep-alive": "GET / HTTP/1.0\nHost: all.test\nConnection: keep-alive\n\n",
    "HTTP/2.0 in the line": "GET / HTTP/2.0\nHost: all.test\n\n",
    "CONNECT": "CONNECT all.test:80 HTTP/1.1\nHost: all.test:80\n\n",
    "OPTIONS *": "OPTIONS * HTTP/1.1\nHost: all.test\n\n",
    "a blank in a header name": "GET / HTTP/1.1\nHost: all.test\nX Y: z\n\n",
    "another Expect": "GET / HTTP/1.1\nHost: all.test\nExpect: tea\n\n",
    "Transfer-Encoding: gzip": "POST / HTTP/1.1\nHost: all.test\nTransfer-Encoding: gzip\n\n",
    "two lengths": "POST / HTTP/1.1\nHost: all.test\nContent-Length: 1\nContent-Length: 2\n\nxx",
    "a fragment": "GET /x#y HTTP/1.1\nHost: all.test\n\n",
    "a raw path": "GET /caf\xe9\\ HTTP/1.1\nHost: all.test\n\n",
}.items():
    s.raw(name, text, host="all.test", without=["connection", "headers"])
