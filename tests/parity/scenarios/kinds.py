"""What an answer is: contentType, grpcWeb."""

import base64
import gzip

from side.table import Reply, Stage

STAGE = Stage()
STAGE.labels("""
traefik.http.services.app.loadbalancer.server.port=8080
traefik.http.services.a.loadbalancer.server.url=<a>
traefik.http.services.b.loadbalancer.server.url=<b>
""")

GZ = gzip.compress(b"plain inside", mtime=0)

s = STAGE.scenario("contentType")
s.middleware("kind", "contenttype=true", "a")
s.middleware("kind-auto", "contenttype.autodetect=true", "a")
s.middleware("kind-off", "contenttype.autodetect=false", "a")
s.rule("kind-none", "Host(`kind-none.test`)", "a")
BODIES = {"text": "hello there", "html": "<!DOCTYPE html><p>x", "json": '{"a": 1}', "png": b"\x89PNG\r\n\x1a\n0000", "pdf": "%PDF-1.4", "empty": "", "bytes": b"\x00\x01\x02\xff", "xml": '<?xml version="1.0"?><a/>', "gzip": GZ, "script": "#!/bin/sh\n", "utf16": b"\xff\xfeh\x00"}
for shown, body in BODIES.items():
    s.get("kind.test/", name=f"sniffed: {shown}", replies={"a": [Reply(200, {}, body)]})
s.get("kind.test/", name="the server's type stays", replies={"a": [Reply(200, {"Content-Type": "a/b"}, "<html>")]})
s.get("kind-none.test/", name="without the middleware nothing is added", replies={"a": [Reply(200, {}, "<html>")]})
for name in ("kind-auto", "kind-off"):
    s.get(f"{name}.test/", replies={"a": [Reply(200, {}, "<html>")]})
s.ask("HEAD", "kind.test/", replies={"a": [Reply(200, {}, "<html>")]})

s = STAGE.scenario("grpcWeb")
s.middleware("web", "grpcweb.alloworigins=https://one.test", "a")
s.middleware("web-all", "grpcweb.alloworigins=*", "a")
FRAME = b"\x00\x00\x00\x00\x02hi"
ANSWER = {"a": [Reply(200, {"Content-Type": "application/grpc", "Trailer": "Grpc-Status"}, chunks=[FRAME], trailers={"Grpc-Status": "0"})]}
for origin in ("https://one.test", "https://two.test"):
    s.ask("OPTIONS", "web.test/pkg.S/M", f"Origin: {origin}", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,x-grpc-web", name=f"preflight of {origin}", lists=True)
    s.post("web.test/pkg.S/M", f"Origin: {origin}", "Content-Type: application/grpc-web+proto", "X-Grpc-Web: 1", body=FRAME, replies=ANSWER, name=f"a call of {origin}", lists=True)
s.post("web-all.test/pkg.S/M", "Origin: https://any.test", "Content-Type: application/grpc-web", body=FRAME, replies=ANSWER, lists=True)
s.post("web-all.test/pkg.S/M", "Origin: https://any.test", "Content-Type: application/grpc-web-text", body=base64.b64encode(FRAME), replies=ANSWER, name="text", lists=True)
s.post("web.test/pkg.S/M", "Content-Type: application/json", body="{}", name="not gRPC-Web")
s.post("web.test/pkg.S/M", "Content-Type: application/grpc-web+proto", body=FRAME, replies=ANSWER, name="no origin", lists=True)
