"""OpenTelemetry: what a collector is told, over HTTP and gRPC, and what a dead one costs."""

import re
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, Skip, equal, eventually
from harness.collector import Collector, tree
from harness.proxy import Proxy, Server

checks = Checks("otlp")

INTERNAL, SERVER, CLIENT = 1, 2, 3
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"

DYNAMIC = """http:
  routers:
    minimal: {{rule: "Host(`minimal.test`)", service: app, middlewares: [cut]}}
    detailed:
      rule: "Host(`detailed.test`)"
      service: both
      middlewares: [cut, all]
      observability: {{traceVerbosity: detailed}}
    "off": {{rule: "Host(`off.test`)", service: app, observability: {{tracing: false}}}}
    ping: {{rule: "Host(`ping.test`)", service: "ping@internal"}}
    asked: {{rule: "Host(`asked.test`)", service: app, middlewares: [who]}}
  middlewares:
    cut: {{stripPrefix: {{prefixes: [/cut]}}}}
    who: {{forwardAuth: {{address: "{url}/who", authResponseHeaders: [X-Replica]}}}}
    all: {{chain: {{middlewares: [mark]}}}}
    mark: {{headers: {{customRequestHeaders: {{X-Mark: "1"}}}}}}
  services:
    both: {{weighted: {{services: [{{name: app, weight: 1}}]}}}}
    app: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""


def proxy(server, flags, dynamic=DYNAMIC, **more):
    dynamic = dynamic.format(url=server.url)
    return Proxy("otlp", ["--accesslog.format=json", "--accesslog=true", *flags], dynamic, **more)


def over_http(collector):
    return [f"--tracing.otlp.http.endpoint=http://127.0.0.1:{collector.http}", "--tracing.otlp.http.headers.X-Key=k1"]


def over_grpc(collector):
    try:
        import h2  # noqa: F401
    except ImportError:
        raise Skip("the Python package h2 is not installed") from None
    flags = [f"endpoint=127.0.0.1:{collector.grpc}", "insecure=true", "headers.X-Key=k1"]
    return [f"--tracing.otlp.grpc.{flag}" for flag in flags]


def spans(collector, host, count):
    """The spans of the traces whose first span is about this host."""
    def found():
        with collector.lock:
            all_spans = list(collector.spans)
        traces = {s["trace"] for s in all_spans if s["attributes"].get("server.address") == host}
        mine = [s for s in all_spans if s["trace"] in traces]
        return mine if len(mine) >= count else None

    mine = eventually(5, found)
    equal(len(mine), count, str([span["name"] for span in mine]))
    return mine


def ask(one, host, path="/", **more):
    headers = {"Host": host, "User-Agent": "test/1", **more.pop("headers", {})}
    return one.ask(path, headers=headers, **more)


def a_whole_trace(collector, flags):
    with Server("app") as app, proxy(app, [*flags, "--tracing.safeQueryParams=safe"]) as one:
        eventually(5, lambda: ask(one, "off.test").status == 200)
        answer = ask(one, "minimal.test", "/cut/a?safe=1&secret=2")
        equal(answer.status, 200)
        server, client = sorted(spans(collector, "minimal.test", 2), key=lambda span: span["kind"])
        equal((server["name"], server["kind"], "parent" in server), ("GET", SERVER, False))
        wanted = {
            "entry_point": "web",
            "http.request.method": "GET",
            "network.protocol.version": "1.1",
            "http.request.body.size": 0,
            "url.path": "/cut/a",
            "url.query": "safe=1&secret=REDACTED",
            "url.scheme": "http",
            "user_agent.original": "test/1",
            "server.address": "minimal.test",
            "network.peer.address": "127.0.0.1",
            "client.address": "127.0.0.1",
            "http.response.status_code": 200,
        }
        had = server["attributes"]
        equal({key: had.get(key) for key in wanted}, wanted)
        equal(had["client.port"], had["network.peer.port"])
        equal((client["name"], client["kind"], client["parent"]), ("ReverseProxy", CLIENT, server["id"]))
        wanted = {
            "url.full": f"{app.url}/a?safe=1&secret=REDACTED",
            "server.port": app.port,
            "http.response.status_code": 200,
        }
        equal({key: client["attributes"].get(key) for key in wanted}, wanted)
        assert server["start"] <= client["start"] <= client["end"] <= server["end"]
        equal(server["scope"]["name"], "github.com/traefik/traefik")
        equal(server["resource"]["service.name"], "traefik")
        equal(collector.requests[0]["headers"].get("x-key"), "k1")
        line = eventually(5, lambda: next((l for l in one.log.splitlines() if "minimal.test" in l), None))
        assert f'"TraceId":"{server["trace"]}"' in line and f'"SpanId":"{server["id"]}"' in line, line
        assert f'"trace_id":"{server["trace"]}"' in line, line
        # What no router wanted yet, before the file was read, is traced as a 404.
        assert not [
            s
            for s in collector.spans
            if s["attributes"].get("server.address") == "off.test"
            and s["attributes"].get("http.response.status_code") == 200
        ]


@checks("a request is told over HTTP as Traefik tells it, and its ids are in the access log")
def _(_none):
    with Collector() as collector:
        a_whole_trace(collector, over_http(collector))


@checks("a request is told over gRPC as Traefik tells it, and its ids are in the access log")
def _(_none):
    with Collector() as collector:
        a_whole_trace(collector, over_grpc(collector))


@checks("with details there is a span for the router, each middleware and the service")
def _(_none):
    with Collector() as collector, Server("app") as app, proxy(app, over_http(collector)) as one:
        eventually(5, lambda: ask(one, "off.test").status == 200)
        ask(one, "detailed.test", "/cut/a")
        way, nodes = [], tree(spans(collector, "detailed.test", 6))
        while nodes:
            (span, nodes), *others = nodes
            equal(others, [])
            way.append((span["name"], span["kind"], span["attributes"]))
        names = ["GET", "Router", "StripPrefix", "Headers", "Service", "ReverseProxy"]
        equal([name for name, *_rest in way], names)
        equal([kind for _name, kind, _attributes in way], [SERVER, *[INTERNAL] * 4, CLIENT])
        equal(
            [attributes for _name, _kind, attributes in way[1:5]],
            [
                {
                    "traefik.service.name": "both@file",
                    "traefik.router.name": "detailed@file",
                    "http.route": "Host(`detailed.test`)",
                },
                {"traefik.middleware.name": "cut@file"},
                {"traefik.middleware.name": "mark@file"},
                {"traefik.service.name": "app@file"},
            ],
        )


@checks("forwardAuth's question has a span of its own, without a status")
def _(_none):
    with Collector() as collector, Server("app") as app, proxy(app, over_http(collector)) as one:
        eventually(5, lambda: ask(one, "off.test").status == 200)
        equal(ask(one, "asked.test", "/x").status, 200)
        mine = {span["name"]: span for span in spans(collector, "asked.test", 3)}
        equal(sorted(mine), ["AuthRequest", "GET", "ReverseProxy"])
        question = mine["AuthRequest"]
        equal((question["kind"], question["parent"]), (CLIENT, mine["GET"]["id"]))
        equal(question["attributes"]["url.full"], f"{app.url}/who")
        assert "http.response.status_code" not in question["attributes"], question
        assert question["end"] <= mine["ReverseProxy"]["start"]


@checks("a client's trace goes on, sampled as the client says")
def _(_none):
    with Collector() as collector, Server("app") as app:
        with proxy(app, [*over_http(collector), "--tracing.sampleRate=0"]) as one:
            eventually(5, lambda: ask(one, "off.test").status == 200)
            ask(one, "minimal.test", "/not")
            ask(one, "minimal.test", "/not", headers={"traceparent": f"{PARENT}-00"})
            sent = {"traceparent": f"{PARENT}-01", "tracestate": "a=b"}
            ask(one, "minimal.test", "/kept", headers=sent)
            mine = spans(collector, "minimal.test", 2)
            equal({span["trace"] for span in mine}, {PARENT.split("-")[1]})
            equal({span["state"] for span in mine}, {"a=b"})
            root = next(span for span in mine if span["kind"] == SERVER)
            equal((root["parent"], root["attributes"]["url.path"]), (PARENT.split("-")[2], "/kept"))
            equal(root["flags"] & 0x300, 0x300)


@checks("what no router wants is traced, and what an entry point says is not traced is not")
def _(_none):
    with Collector() as collector, Server("app") as app:
        flags = [*over_http(collector), "--entryPoints.alt.observability.tracing=false"]
        with proxy(app, flags, entry_points=("web", "alt")) as one:
            eventually(5, lambda: ask(one, "off.test").status == 200)
            from harness.web import ask as ask_at

            for host, status in (("minimal.test", 200), ("nothing.test", 404)):
                answer = ask_at("127.0.0.1", one.ports["alt"], "/", headers={"Host": host})
                equal(answer.status, status)
            equal(ask(one, "ping.test").status, 200)
            equal(ask(one, "nothing.test").status, 404)
            (root,) = spans(collector, "nothing.test", 1)
            equal(root["attributes"]["http.response.status_code"], 404)
            equal({span["attributes"].get("entry_point") for span in collector.spans}, {"web"})
            router = one.get("/api/http/routers/alt-minimal@file")
            equal(router["observability"]["tracing"], False)


@checks("a dead collector costs no request any time, and is said once")
def _(_none):
    with Server("app") as app:
        with proxy(app, ["--tracing.otlp.http.endpoint=http://127.0.0.1:1", "--metrics.prometheus"]) as one:
            eventually(5, lambda: ask(one, "off.test").status == 200)
            for _n in range(50):
                equal(ask(one, "minimal.test").status, 200)
            eventually(10, lambda: "are not taken by http://127.0.0.1:1/v1/traces" in one.log)
            one.signal(15)
            equal(one.ended(15), 0)
            equal(one.log.count("are not taken by"), 1)


@checks("a collector that refuses is asked again")
def _(_none):
    with Collector() as collector, Server("app") as app:
        collector.refusals = [503]
        with proxy(app, over_http(collector)) as one:
            eventually(5, lambda: ask(one, "off.test").status == 200)
            ask(one, "minimal.test", "/again")
            spans(collector, "minimal.test", 2)


@checks("what waits at the end is sent")
def _(_none):
    def sent():
        with Collector() as collector, Server("app") as app:
            with proxy(app, over_http(collector)) as one:
                eventually(5, lambda: ask(one, "off.test").status == 200)
                ask(one, "minimal.test", "/last")
                one.signal(15)
                equal(one.ended(15), 0)
            return [span for span in collector.spans if span["attributes"].get("url.path") == "/last"]

    # The end waits a few seconds for a collector, which a busy machine's may need more than once.
    assert any(sent() for _try in range(5))


@checks("an endpoint that is none ends the start with its option")
def _(_none):
    from harness.proxy import once

    status, said = once(["--tracing.otlp.grpc.endpoint=localhost"])
    equal(status, 1)
    assert re.search(r"tracing\.otlp\.grpc\.endpoint.*not host:port", said), said


sys.exit(checks.run(nullcontext()))
