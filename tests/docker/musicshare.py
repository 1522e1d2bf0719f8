"""Everything that MusicShare relies on, against a real engine."""

import os
import re
import socket
import ssl
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, Skip, equal, eventually
from harness.web import WebSocket, ask, trusting

checks = Checks("musicshare")


def get(site, path, **more):
    return ask(site.host, 443, path, tls=True, **more)


@checks("the example comes up whole, 8 services and 9 routers")
def _(site):
    for path in ("/api/users/", "/api/music/", "/api/social/", "/api/notifications/", "/upload", "/formulario-post", "/"):
        eventually(10, lambda path=path: get(site, path).status == 200)
    routers = ask(site.host, 8080, "/api/http/routers").json
    ours = [r for r in routers if r["provider"] == "docker"]
    equal({r["status"] for r in ours}, {"enabled"})
    equal(len(ours), 9)
    for service in ("userservice", "music", "social", "notifications"):
        found = ask(site.host, 8080, f"/api/http/services/{service}@docker").json
        equal(len(found["loadBalancer"]["servers"]), 2, service)


@checks("prefixes are stripped and told to the server")
def _(site):
    for prefix, service in {
        "/api/users": "userservice",
        "/api/music": "music-service",
        "/api/social": "social-service",
        "/api/notifications": "notificationservice",
        "/formulario-post": "form-page",
    }.items():
        seen = get(site, f"{prefix}/items/7?sort=up").json
        equal((seen["service"], seen["path"], seen["query"]), (service, "/items/7", "sort=up"))
        equal(seen["headers"]["x-forwarded-prefix"], [prefix])
        equal(get(site, prefix).json["path"], "/", prefix)


@checks("the documentation pages are not stripped")
def _(site):
    for path in ("/swagger-ui/index.html", "/v3/api-docs"):
        seen = get(site, path).json
        equal((seen["service"], seen["path"]), ("social-service", path))
        assert "x-forwarded-prefix" not in seen["headers"], seen["headers"]


@checks("priorities: upload page before catch-all, catch-all last")
def _(site):
    cases = {"/upload/a": "upload-page", "/": "frontend", "/anything/else": "frontend", "/api/unknown": "frontend"}
    for path, service in cases.items():
        seen = get(site, path).json
        equal((seen["service"], seen["path"]), (service, path))


@checks("the users service is sticky, and its cookie does not give the server away")
def _(site):
    first = get(site, "/api/users/")
    cookie = first.header("set-cookie")
    match = re.match(r"userservice_session=([^;]+); Path=/; HttpOnly; Secure", cookie or "")
    assert match, f"Set-Cookie: {cookie}"
    assert not re.search(r"\d+\.\d+\.\d+|8002", match[1]), match[1]
    replica = first.header("x-replica")
    for _turn in range(12):
        again = get(site, "/api/users/", headers={"Cookie": f"userservice_session={match[1]}"})
        equal(again.header("x-replica"), replica)
        equal(again.header("set-cookie"), None)
    strange = get(site, "/api/users/", headers={"Cookie": "userservice_session=nobody"})
    assert strange.header("set-cookie"), "an unknown value gets a new cookie"


@checks("without a cookie requests are shared evenly")
def _(site):
    counts = {}
    for _turn in range(20):
        replica = get(site, "/api/music/").header("x-replica")
        counts[replica] = counts.get(replica, 0) + 1
    equal(sorted(counts.values()), [10, 10])


@checks("web redirects to websecure, with any method")
def _(site):
    for method, status in {"GET": 301, "POST": 308}.items():
        answer = ask(site.host, 80, "/api/users?x=1", method, headers={"Host": "music.test"})
        equal((answer.status, answer.header("location")), (status, "https://music.test/api/users?x=1"))


@checks("ping answers on web, ahead of the redirection")
def _(site):
    answer = ask(site.host, 80, "/ping")
    equal((answer.status, answer.text), (200, "OK"))


@checks("TLS: 1.2 and 1.3, ALPN chooses h2, 1.1 is refused, a certificate of our own")
def _(site):
    for version, wanted in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        context = trusting()
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        with socket.create_connection((site.host, 443), 5) as plain, context.wrap_socket(plain) as stream:
            equal((stream.version(), stream.selected_alpn_protocol()), (wanted, "h2"))
            assert stream.getpeercert(binary_form=True), "no certificate"
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this version is old is the point
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    try:
        with socket.create_connection((site.host, 443), 5) as plain, context.wrap_socket(plain):
            raise AssertionError("TLS 1.1 was accepted")
    except (ssl.SSLError, ConnectionError):
        pass


@checks("HTTP/2 from a real client, many requests on one connection")
def _(site):
    args = [f"https://{site.host}/api/music/{n}" for n in range(20)]
    outs = [word for url in args for word in ("-o", "/dev/null", url)]
    found = engine.run(["curl", "-sk", "--http2", "-w", "%{http_code} %{http_version} %{num_connects}\n", *outs])
    lines = found.split("\n")[:-1]
    equal({line.rsplit(" ", 1)[0] for line in lines}, {"200 2"})
    equal(sum(int(line.split()[2]) for line in lines), 1, "connections")


@checks("WebSocket: not stripped, messages both ways, goodbye")
def _(site):
    socket_ = WebSocket(site.host, 443, "/ws/feed", tls=True)
    equal(socket_.status, 101)
    kind, greeting = socket_.receive()
    assert b'"path":"/ws/feed"' in greeting and b"notificationservice" in greeting, greeting
    for message in (b"hello", b"x" * 200, b"y" * 70000):
        socket_.send(message)
        equal(socket_.receive(), (1, message))
    socket_.send(b"\x03\xe8bye", opcode=8)
    kind, payload = socket_.receive()
    equal((kind, payload[:2]), (8, b"\x03\xe8"))
    socket_.close()


@checks("server-sent events and chunks come as they are sent")
def _(site):
    for path in ("/api/notifications/events?n=3&ms=400", "/api/music/stream?n=3&ms=400"):
        with socket.create_connection((site.host, 443), 10) as plain, trusting().wrap_socket(plain) as stream:
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n".encode())
            start, times, text = time.monotonic(), [], b""
            while chunk := stream.recv(4096):
                text += chunk
                for _piece in range(len(re.findall(rb"(?:data: |chunk )", text)) - len(times)):
                    times.append(time.monotonic() - start)
            equal(len(times), 3, path)
            # What is held back comes all at once.
            assert times[2] - times[0] > 0.3, f"{path}: {times}"


@checks("a large body goes up whole")
def _(site):
    size = 20_000_000
    answer = get(site, "/api/music/count", method="POST", body=b"x" * size)
    equal((answer.status, answer.text), (200, f"{size}\n"))


@checks("a body comes back while it is still being sent, over HTTP/1.1")
def _(site):
    if os.environ.get("WHARF_TEST_TRAEFIK"):
        raise Skip("Traefik does this over HTTP/2 only")
    with socket.create_connection((site.host, 443), 10) as plain, trusting().wrap_socket(plain) as stream:
        stream.sendall(b"POST /api/music/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        got = b""
        while b"first" not in got:
            got += stream.recv(4096)
        stream.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
        while b"second" not in got:
            got += stream.recv(4096)


@checks("forwarded headers say who asked, and a client can't forge them")
def _(site):
    forged = {"X-Forwarded-For": "9.9.9.9", "X-Real-Ip": "9.9.9.9", "X_Forwarded_Proto": "http", "X-Forwarded-Proto": "http"}
    seen = get(site, "/api/users/", headers={**forged, "Host": "music.test:8443"}).json["headers"]
    for line in ("x-forwarded-for", "x-real-ip"):
        assert seen[line] == [seen["x-real-ip"][0]] and "9.9.9.9" not in seen[line], seen[line]
    equal(seen["x-forwarded-proto"], ["https"])
    equal(seen["x-forwarded-host"], ["music.test:8443"])
    equal(seen["x-forwarded-port"], ["8443"])
    assert "x_forwarded_proto" not in seen, seen


@checks("the gRPC service is not exposed")
def _(site):
    raw = ask(site.host, 8080, "/api/rawdata").text
    assert "50051" not in raw and "metadata" not in raw, raw
    equal(get(site, "/metadata").json["service"], "frontend")


@checks("the health check takes a sick replica out within its interval and brings it back")
def _(site):
    ids = site.replicas("music-service")
    where = engine.address(ids[0])

    def state():
        return ask(site.host, 8080, "/api/http/services/music@docker").json["serverStatus"][f"http://{where}:8081"]

    equal(state(), "UP")
    ask(where, 8081, "/health?up=false", "POST")
    eventually(5, lambda: state() == "DOWN")
    names = {get(site, "/api/music/").header("x-replica") for _turn in range(10)}
    equal(names, {ids[1][:12]})
    metrics = ask(site.host, 8080, "/metrics").text
    up = re.search(rf'traefik_service_server_up\{{[^}}]*url="http://{re.escape(where)}:8081"[^}}]*\}} (\d)', metrics)
    equal(up and up[1], "0", "traefik_service_server_up")
    ask(where, 8081, "/health?up=true", "POST")
    eventually(5, lambda: state() == "UP")
    eventually(2, lambda: len({get(site, "/api/music/").header("x-replica") for _turn in range(4)}) == 2)


@checks("a slow request does not hold up the others")
def _(site):
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(get, site, "/api/social/slow?ms=6000")
        for _turn in range(10):
            equal(get(site, "/api/social/").status, 200)
        assert not slow.done()
        equal(slow.result().status, 200)


@checks("errors of a server pass as they are")
def _(site):
    for status in (404, 418, 500, 503):
        equal(get(site, f"/api/social/status/{status}").status, status)


@checks("the access log has a line per request, in the common format")
def _(site):
    get(site, "/api/users/logged?a=1")
    line = eventually(3, lambda: next((l for l in site.logs().splitlines() if "/api/users/logged" in l), None))
    shape = (
        r'^\d+\.\d+\.\d+\.\d+ - - \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /api/users/logged\?a=1 HTTP/1\.1" '
        r'200 \d+ "-" "-" \d+ "userservice@docker" "http://[\d.]+:8002" \d+ms$'
    )
    assert re.match(shape, line), line


@checks("metrics carry Traefik's names, labels and buckets")
def _(site):
    text = ask(site.host, 8080, "/metrics").text
    for pattern in (
        r'traefik_entrypoint_requests_total\{code="200",entrypoint="websecure",method="GET",protocol="http"\} \d',
        r'traefik_service_requests_total\{code="200",method="GET",protocol="http",service="userservice@docker"\} \d',
        r'traefik_service_request_duration_seconds_bucket\{code="200",method="GET",protocol="http",service="music@docker",le="0\.3"\} \d',
        r'traefik_service_requests_bytes_total\{.*service="music@docker"\} \d',
        r'traefik_entrypoint_requests_tls_total\{entrypoint="websecure",tls_cipher="TLS_\w+",tls_version="1\.3"\} \d',
        r'traefik_open_connections\{entrypoint="websecure",protocol="TCP"\} \d',
        r"traefik_config_reloads_total \d",
        r"traefik_config_last_reload_success \d",
    ):
        assert re.search(as_any_order(pattern), text), f"nothing like {pattern}"
    found = set(re.findall(r'traefik_service_request_duration_seconds_bucket\{.*?le="([^"]+)"', text))
    equal({float(le) for le in found if le != "+Inf"}, {0.1, 0.3, 1.2, 5.0})
    if not os.environ.get("WHARF_TEST_TRAEFIK"):
        assert re.search(r'traefik_router_requests_total\{.*router="userservice@docker"', text), "router metrics are on"


def as_any_order(pattern):
    """Label order says nothing: each label may stand anywhere."""
    if r"\{" not in pattern:
        return rf"(?m)^{pattern}"
    name, rest = pattern.split(r"\{", 1)
    labels, end = rest.split(r"\}", 1)
    looks = "".join(rf"(?=[^}}\n]*{label})" for label in labels.split(",") if label != ".*")
    looks = looks.replace(r".*service", "service")
    return rf"(?m)^{name}\{{{looks}[^\n]*\}}{end}"


@checks("the dashboard and the API are on :8080, with a content security policy")
def _(site):
    page = ask(site.host, 8080, "/dashboard/")
    equal((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"))
    assert page.header("content-security-policy"), "no policy"
    equal(ask(site.host, 8080, "/").status, 301)
    overview = ask(site.host, 8080, "/api/overview").json
    equal((overview["features"]["metrics"], overview["features"]["accessLog"]), ("Prometheus", True))
    equal(overview["providers"], ["Docker"])


@checks("the script `load` says status, times and shares, and `scale` changes one service only")
def _(site):
    env = {"URL": f"https://{site.host}"}
    said = engine.run(["./load", "music-service", "10", "0"], env=env, cwd=site.folder)
    assert re.search(r"200 +10\n", said) and "median" in said and said.count(" 50.0 %") == 2, said
    before = set(site.replicas("userservice"))
    env = {**site.env, "COMPOSE_PROJECT_NAME": site.name}
    engine.run(["./scale", "music-service", "3"], env=env, cwd=site.folder)
    equal(len(site.replicas("music-service")), 3)
    equal(set(site.replicas("userservice")), before)
    engine.run(["./scale", "music-service", "2"], env=env, cwd=site.folder)
    equal(len(site.replicas("music-service")), 2)


if __name__ == "__main__":
    # The music service is checked each second here, so that the test need not wait for 10.
    quicker = ("music.loadbalancer.healthcheck.interval=10s", "music.loadbalancer.healthcheck.interval=1s")
    sys.exit(checks.run(engine.Project("musicshare", edit=[quicker])))
