"""What is sent back: compress, errors."""

import gzip

from side.table import Reply, Stage

STAGE = Stage()
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
traefik.http.services.a.loadbalancer.server.url=<a>
traefik.http.services.b.loadbalancer.server.url=<b>
""")
# Not a container: of one that refuses connections Wharf says that no server is ready.
STAGE.file("http: {services: {dead: {loadBalancer: {servers: [{url: \"<dead>\"}]}}}}")

s = STAGE.scenario("compress")
s.middleware("zip", "compress=true", "a")
s.middleware("zip-min", "compress.minresponsebodybytes=10", "a")
s.middleware("zip-exclude", "compress.excludedcontenttypes=text/event-stream,image/png", "a")
s.middleware("zip-include", "compress.includedcontenttypes=application/json,text/html; charset=utf-8", "a")
s.middleware("zip-br", "compress.encodings=br,gzip", "a")
s.middleware("zip-zstd", "compress.encodings=zstd", "a")
s.middleware("zip-default", "compress.defaultencoding=gzip", "a")
s.middleware("zip-both", "compress.excludedcontenttypes=a/b\ncompress.includedcontenttypes=c/d", "a")
TEXT = "some text to compress " * 100


def page(kind="text/plain", body=TEXT, status=200, **more):
    return {"a": [Reply(status, {"Content-Type": kind, **more} if kind else more, body)]}


# The encoded bytes are each library's own; that they say the same is the unit tests' part.
LOOSE = {"zipped": True}
for accepted in ("gzip", "br", "zstd", "gzip, br, zstd", "br;q=0.5, gzip;q=0.9", "zstd;q=1, br;q=1", "deflate", "identity", "gzip;q=0", "GZIP", "x-gzip"):
    s.get("zip.test/", f"Accept-Encoding: {accepted}", replies=page(), **LOOSE)
s.get("zip.test/", replies=page(), name="no Accept-Encoding", **LOOSE)
s.ask("HEAD", "zip.test/", "Accept-Encoding: gzip", replies=page(), **LOOSE)
for size in (0, 100, 1023, 1024):
    s.get("zip.test/", "Accept-Encoding: gzip", replies=page(body="x" * size), name=f"a body of {size}", **LOOSE)
for name, size in (("zip-min", 9), ("zip-min", 10)):
    s.get(f"{name}.test/", "Accept-Encoding: gzip", replies=page(body="x" * size), name=f"{name}, {size} bytes", **LOOSE)
s.get("zip.test/", "Accept-Encoding: gzip", replies=page(**{"Content-Encoding": "br"}), name="encoded already", **LOOSE)
s.get("zip.test/", "Accept-Encoding: gzip", replies=page(ETag='"abc"', Vary="Origin"), name="ETag and Vary", **LOOSE)
s.get("zip.test/", "Accept-Encoding: gzip", replies=page(status=404), name="a 404", **LOOSE)
s.get("zip.test/", "Accept-Encoding: gzip", replies={"a": [Reply(304, {"ETag": '"a"'})]}, name="a 304", **LOOSE)
s.get("zip.test/", "Accept-Encoding: gzip", replies={"a": [Reply(204)]}, name="a 204", **LOOSE)
for kind in ("image/png", "application/grpc", "text/event-stream", "", "application/octet-stream"):
    s.get("zip.test/", "Accept-Encoding: gzip", replies=page(kind), name=f"type {kind or 'none'}", **LOOSE)
for kind in ("image/png", "text/event-stream", "text/plain", "image/png; x=y"):
    s.get("zip-exclude.test/", "Accept-Encoding: gzip", replies=page(kind), name=f"exclude, type {kind}", **LOOSE)
s.get("zip-exclude.test/", "Accept-Encoding: gzip", "Content-Type: image/png", replies=page(), name="exclude, type of the request", **LOOSE)
for kind in ("application/json", "text/html", "text/html; charset=utf-8", "text/plain", ""):
    s.get("zip-include.test/", "Accept-Encoding: gzip", replies=page(kind), name=f"include, type {kind or 'none'}", **LOOSE)
for name in ("zip-br", "zip-zstd"):
    for accepted in ("gzip, br, zstd", "gzip", "zstd"):
        s.get(f"{name}.test/", f"Accept-Encoding: {accepted}", replies=page(), **LOOSE)
s.get("zip.test/", "Accept-Encoding: gzip", replies={"a": [Reply(200, {"Content-Type": "text/plain"}, chunks=[TEXT[:700], TEXT[700:]])]}, name="chunks", **LOOSE)
s.get("zip-both.test/", "Accept-Encoding: gzip", name="both lists")

s = STAGE.scenario("answers that were compressed for nobody")
s.rule("gunzip", "Host(`gunzip.test`)", "a")
GZ = gzip.compress(b"plain inside", mtime=0)
s.get("gunzip.test/", replies={"a": [Reply(200, {"Content-Encoding": "gzip", "Content-Type": "text/plain"}, GZ)]}, name="a client that said nothing gets plain text")
s.get("gunzip.test/", "Accept-Encoding: gzip", replies={"a": [Reply(200, {"Content-Encoding": "gzip", "Content-Type": "text/plain"}, GZ)]}, zipped=True, name="a client that asked gets what came")

s = STAGE.scenario("errors")
s.middleware("err", "errors.status=500-599,404,418\nerrors.service=b\nerrors.query=/page/{status}?u={url}", "a")
s.middleware("err-plain", "errors.status=503\nerrors.service=b", "a")
s.middleware("err-rewrite", "errors.status=500-599,418\nerrors.service=b\nerrors.query=/{status}/{originalStatus}\nerrors.statusrewrites.418=404\nerrors.statusrewrites.500-502=200", "a")
s.middleware("err-headers", "errors.status=500\nerrors.service=b\nerrors.query=/p\nerrors.errorrequestheaders=X-One,X-Two", "a")
s.middleware("err-dead", "errors.status=500-599\nerrors.service=b\nerrors.query=/{status}", "dead@file")
s.middleware("err-deadpage", "errors.status=500\nerrors.service=dead@file", "a")
s.middleware("err-noservice", "errors.status=500\nerrors.service=nope", "a")
PAGE = [Reply(200, {"Content-Type": "text/html", "X-Page": "p", "Set-Cookie": "p=1"}, "<p>sorry</p>")]


def wrong(status, page=PAGE):
    return {"a": [Reply(status, {"X-Old": "o", "Content-Type": "text/plain", "Set-Cookie": "a=1"}, "the server's words")], "b": page}


for status in (200, 404, 418, 500, 503, 599, 403):
    s.get("err.test/x?y=1&z", "X-A: 1", "Cookie: c=1", replies=wrong(status), name=f"the server says {status}")
s.post("err.test/x", "Content-Type: text/plain", body="hello", replies=wrong(500), name="POST, 500")
s.ask("HEAD", "err.test/x", replies=wrong(500), name="HEAD, 500")
s.get("err-plain.test/x", replies=wrong(503), name="no query given")
for status in (418, 500, 502, 503):
    s.get("err-rewrite.test/x", replies=wrong(status), name=f"rewritten {status}")
s.get("err-headers.test/x", "X-One: 1", "X-Three: 3", "Cookie: a=b", replies=wrong(500), name="only some request headers")
s.get("err-dead.test/x", replies={"b": PAGE}, name="our own 502")
s.get("err.test/x", replies=wrong(500, [Reply(404, {"X-Page": "no"}, "no page")]), name="the page is not found")
s.get("err.test/x", replies=wrong(500, [Reply(302, {"Location": "/else"}, "")]), name="the page is a redirection")
s.get("err-deadpage.test/x", replies=wrong(500), name="the page's server is dead")
s.get("err-noservice.test/x", name="no such service")
s.middleware("err-refused", "errors.status=403\nerrors.service=b\nerrors.query=/refused", "a", "")
s.labels("traefik.http.middlewares.err-list.ipallowlist.sourcerange=10.0.0.1\ntraefik.http.routers.err-order.rule=Host(`err-order.test`)\ntraefik.http.routers.err-order.service=a\ntraefik.http.routers.err-order.middlewares=err-refused,err-list")
s.get("err-order.test/x", replies={"b": PAGE}, name="a refusal of the next middleware")
