"""OpenTelemetry: the metrics that a collector is told, also over TLS."""

import re
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.ca import certificates, context
from harness.checks import Checks, Skip, equal, eventually
from harness.collector import Collector, latest
from harness.proxy import Proxy, Server, fresh, once

checks = Checks("otlp_metrics")

DYNAMIC = """http:
  routers:
    told: {{rule: "Host(`told.test`)", service: app}}
    ready: {{rule: "Host(`ready.test`)", service: app, observability: {{metrics: false}}}}
    ping: {{rule: "Host(`ping.test`)", service: "ping@internal"}}
  services:
    app:
      loadBalancer:
        healthCheck: {{path: /, interval: 1h}}
        servers: [{{url: "{url}"}}]
"""


def proxy(server, flags, **more):
    one = Proxy("otlp_metrics", flags, DYNAMIC.format(url=server.url), **more)
    # What no router wanted before the file was read would be counted on the entry point.
    eventually(5, lambda: "told@file" in str(one.get("/api/http/routers")))
    return one


def over_http(collector, scheme="http"):
    return [
        f"--metrics.otlp.http.endpoint={scheme}://127.0.0.1:{collector.http}",
        "--metrics.otlp.http.headers.X-Key=k1",
    ]


def over_grpc(collector, insecure="true"):
    try:
        import h2  # noqa: F401
    except ImportError:
        raise Skip("the Python package h2 is not installed") from None
    flags = [f"endpoint=127.0.0.1:{collector.grpc}", f"insecure={insecure}", "headers.X-Key=k1"]
    return [f"--metrics.otlp.grpc.{flag}" for flag in flags]


def labels(**pairs):
    return tuple(sorted(pairs.items()))


def end(one):
    one.signal(15)
    equal(one.ended(15), 0)


def all_metrics(collector, flags):
    more = ["--metrics.otlp.pushInterval=200ms", "--metrics.otlp.addRoutersLabels=true", "--metrics.otlp.explicitBoundaries=60,120"]
    more += ["--metrics.otlp.serviceName=edge", "--metrics.otlp.resourceAttributes.team=blue"]
    with Server("app") as app, proxy(app, [*flags, *more]) as one:
        for _n in range(3):
            equal(one.ask("/", headers={"Host": "told.test"}).status, 200)
        equal(one.ask("/count", method="POST", body=b"hello", headers={"Host": "told.test"}).status, 200)
        equal(one.ask("/", headers={"Host": "nothing.test"}).status, 404)
        equal(one.ask("/", headers={"Host": "ready.test"}).status, 200)
        equal(one.ask("/", headers={"Host": "ping.test"}).status, 200)
        eventually(10, lambda: told_whole(latest(collector), app))
    first = collector.metrics[0]
    equal((first["resource"]["service.name"], first["resource"]["team"]), ("edge", "blue"))
    equal(first["scope"]["name"], "github.com/traefik/traefik")
    equal(collector.requests[0]["headers"].get("x-key"), "k1")
    sums = [metric["sum"] for metric in collector.metrics if "sum" in metric]
    equal({(each["temporality"], each["monotonic"]) for each in sums}, {(2, 1)})


def told_whole(told, app):
    """Fails unless these are all that was asked, under Traefik's names."""
    equal(told["traefik_config_reloads_total"][:2], ("sum", "1"))
    assert told["traefik_config_reloads_total"][2][()]["double"] >= 1
    equal(told["traefik_config_last_reload_success"][:2], ("gauge", "ms"))
    up = {labels(service="app@file", url=app.url): 1.0}
    equal({key: point["double"] for key, point in told["traefik_service_server_up"][2].items()}, up)
    open_on = {dict(key)["entrypoint"] for key in told["traefik_open_connections"][2]}
    equal(open_on, {"web", "traefik"})
    get = {"code": "200", "method": "GET", "protocol": "http"}
    post, none = {**get, "method": "POST"}, {**get, "code": "404"}
    owners = {
        "entrypoint": ({"entrypoint": "web"}, [get, post, none]),
        "router": ({"router": "told@file", "service": "app@file"}, [get, post]),
        "service": ({"service": "app@file"}, [get, post]),
    }
    for family, (owner, seen) in owners.items():
        kind, unit, points = told[f"traefik_{family}_requests_total"]
        equal((kind, unit), ("sum", "1"))
        wanted = {labels(**owner, **key): 3.0 if key is get else 1.0 for key in seen}
        equal({key: point["double"] for key, point in points.items()}, wanted, family)
        whole_histogram(told[f"traefik_{family}_request_duration_seconds"], wanted)
        sent = told[f"traefik_{family}_requests_bytes_total"][2]
        equal(sent[labels(**owner, **post)]["double"], 5.0)
        got = told[f"traefik_{family}_responses_bytes_total"][2]
        assert got[labels(**owner, **get)]["double"] > 0
    # Those of the conventions: what came, and what was sent to servers.
    known = {"network.protocol.name": "http/1.1", "network.protocol.version": "1.1", "url.scheme": "http"}
    get = {**known, "http.request.method": "GET", "http.response.status_code": 200}
    post = {**get, "http.request.method": "POST"}
    none = {**get, "http.response.status_code": 404, "error.type": "404", "server.address": "nothing.test"}
    came = {labels(**get, **{"server.address": "told.test"}): 3, labels(**post, **{"server.address": "told.test"}): 1}
    whole_histogram(told["http.server.request.duration"], {**came, labels(**none): 1})
    server = {"server.address": f"127.0.0.1:{app.port}", "server.port": app.port}
    whole_histogram(told["http.client.request.duration"], {labels(**get, **server): 3, labels(**post, **server): 1})
    return True


def whole_histogram(told, wanted):
    kind, unit, points = told
    equal((kind, unit), ("histogram", "s"))
    equal({key: point["count"] for key, point in points.items()}, wanted)
    for point in points.values():
        equal((sum(point["buckets"]), point["bounds"]), (point["count"], [60.0, 120.0]))
        assert 0 < point["min"] <= point["max"] <= point["sum"], point
        assert point["start"] < point["time"], point


@checks("what was counted is told over HTTP under Traefik's names")
def _(_none):
    with Collector() as collector:
        all_metrics(collector, over_http(collector))
        equal({request["path"] for request in collector.requests}, {"/v1/metrics"})


@checks("what was counted is told over gRPC under Traefik's names")
def _(_none):
    with Collector() as collector:
        all_metrics(collector, over_grpc(collector))


@checks("metrics are pushed at their interval, and those that are off are not")
def _(_none):
    with Collector() as collector, Server("app") as app:
        flags = [*over_http(collector), "--metrics.otlp.pushInterval=200ms", "--metrics.otlp.addEntryPointsLabels=false"]
        with proxy(app, flags) as one:
            name = "traefik_service_requests_total"
            count = lambda: [p["double"] for p in latest(collector).get(name, (0, 0, {}))[2].values()]  # noqa: E731
            for number in (1.0, 2.0):
                equal(one.ask("/", headers={"Host": "told.test"}).status, 200)
                eventually(5, lambda: count() == [number])
        families = {name.split("_")[1] for name in latest(collector) if name.startswith("traefik_") and "_request" in name}
        equal(families, {"service"})


@checks("Prometheus and a collector are told the same counts, each by its own bounds")
def _(_none):
    with Collector() as collector, Server("app") as app:
        flags = [*over_http(collector), "--metrics.otlp.pushInterval=200ms", "--metrics.otlp.explicitBoundaries=0.000001,50"]
        with proxy(app, [*flags, "--metrics.prometheus.buckets=0.000002,60"]) as one:
            for _n in range(4):
                equal(one.ask("/", headers={"Host": "told.test"}).status, 200)
            bucket = r'traefik_service_request_duration_seconds_bucket\{le="([^"]+)".* (\d+)'
            wanted = [("0.000002", "0"), ("60", "4"), ("+Inf", "4")]
            eventually(5, lambda: re.findall(bucket, one.get_text("/metrics")) == wanted)

            def told():
                ((_key, point),) = latest(collector)["traefik_service_request_duration_seconds"][2].items()
                return (point["bounds"], point["buckets"]) == ([0.000001, 50.0], [0, 4, 0])

            eventually(5, told)


@checks("the metrics are told once more at the end")
def _(_none):
    def told():
        with Collector() as collector, Server("app") as app:
            with proxy(app, [*over_http(collector), "--metrics.otlp.pushInterval=1h"]) as one:
                equal(one.ask("/", headers={"Host": "told.test"}).status, 200)
                equal(collector.metrics, [])
                end(one)
            points = latest(collector).get("traefik_service_requests_total", (0, 0, {}))[2]
            return [point["double"] for point in points.values()]

    # The end waits a few seconds for a collector, which a busy machine's may need more than once.
    assert any(told() == [1.0] for _try in range(5))


@checks("a dead collector of metrics costs no request any time, and is said once")
def _(_none):
    with Server("app") as app:
        flags = ["--metrics.otlp.http.endpoint=http://127.0.0.1:1", "--metrics.otlp.pushInterval=100ms"]
        with proxy(app, flags) as one:
            eventually(10, lambda: "metrics are not taken by http://127.0.0.1:1/v1/metrics" in one.log)
            for _n in range(50):
                equal(one.ask("/", headers={"Host": "told.test"}).status, 200)
            end(one)
            equal(one.log.count("are not taken by"), 1)


@checks("a collector that refuses is told again")
def _(_none):
    with Collector() as collector, Server("app") as app:
        collector.refusals = [503, 503]
        with proxy(app, [*over_http(collector), "--metrics.otlp.pushInterval=100ms", "--log.level=INFO"]) as one:
            eventually(15, lambda: latest(collector))
            eventually(5, lambda: "OpenTelemetry metrics are taken again" in one.log)


def over_tls(flags, tls, is_taken):
    """Whether a collector with a certificate of the tests' own CA is believed."""
    folder = fresh("collector")
    certificates(folder)
    with Collector(context(folder)) as collector, Server("app") as app:
        tls = [tls.format(folder=folder)] if tls else []
        option = ".".join(flags(collector)[0].split(".")[:3])
        tls = [f"{option}.tls.{each}" for each in tls]
        with proxy(app, [*flags(collector), *tls, "--metrics.otlp.pushInterval=200ms"]) as one:
            if is_taken:
                eventually(10, lambda: latest(collector))
            else:
                said = eventually(10, lambda: re.search(r"metrics are not taken by \S+: (.*)", one.log))
                assert "certificate" in said.group(1).lower(), said.group(0)
                equal(collector.metrics, [])


@checks("over TLS a collector is believed by tls.ca or not verified at all, and else not told anything")
def _(_none):
    ways = [lambda collector: over_http(collector, "https"), lambda collector: over_grpc(collector, "false")]
    for flags in ways:
        over_tls(flags, "ca={folder}/ca.pem", True)
        over_tls(flags, "insecureSkipVerify=true", True)
        over_tls(flags, None, False)


@checks("options of a collector that contradict each other end the start")
def _(_none):
    grpc = "--metrics.otlp.grpc"
    for flags, words in (
        ([f"{grpc}.insecure=true", f"{grpc}.tls.ca=/x"], r"metrics\.otlp\.grpc\.insecure.*`tls` is set"),
        (["--metrics.otlp.explicitBoundaries=2,1"], r"explicitBoundaries.*growing order"),
        ([f"{grpc}.tls.ca=/nothing.pem"], r"metrics\.otlp\.grpc\.tls.*/nothing\.pem"),
    ):
        status, said = once(flags)
        equal(status, 1, said)
        assert re.search(words, said), said


sys.exit(checks.run(nullcontext()))
