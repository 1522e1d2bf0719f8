"""OpenTelemetry: the records of both logs that a collector is told."""

import re
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.ca import certificates, context
from harness.checks import Checks, Skip, equal, eventually
from harness.collector import Collector
from harness.proxy import Proxy, Server, fresh, once

checks = Checks("otlp_logs")

INFO, WARN = 9, 13

DYNAMIC = """http:
  routers:
    told: {{rule: "Host(`told.test`)", service: app}}
    quiet: {{rule: "Host(`quiet.test`)", service: app, observability: {{accessLogs: false}}}}
  services:
    app: {{loadBalancer: {{servers: [{{url: "{url}"}}]}}}}
"""

ALLOWED = "--experimental.otlplogs=true"


def proxy(server, flags, **more):
    one = Proxy("otlp_logs", [ALLOWED, *flags], DYNAMIC.format(url=server.url), **more)
    # What no router wanted before the file was read would be told.
    eventually(5, lambda: "told@file" in str(one.get("/api/http/routers")))
    return one


def over_http(log, collector, scheme="http"):
    return [f"--{log}.otlp.http.endpoint={scheme}://127.0.0.1:{collector.http}"]


def over_grpc(log, collector):
    try:
        import h2  # noqa: F401
    except ImportError:
        raise Skip("the Python package h2 is not installed") from None
    return [f"--{log}.otlp.grpc.endpoint=127.0.0.1:{collector.grpc}", f"--{log}.otlp.grpc.insecure=true"]


def records(collector, wanted):
    with collector.lock:
        return [record for record in collector.records if wanted(record)]


def of_host(host):
    return lambda record: record["attributes"].get("RequestHost") == host


def first(collector, wanted):
    return eventually(10, lambda: records(collector, wanted))[0]


def an_access_log(collector, flags):
    more = ["--accessLog.otlp.serviceName=edge", "--accessLog.fields.headers.names.User-Agent=keep"]
    more.append(f"--tracing.otlp.http.endpoint=http://127.0.0.1:{collector.http}")
    with Server("app") as app, proxy(app, [*flags, *more]) as one:
        agent = {"User-Agent": "test/1"}
        equal(one.ask("/a", headers={"Host": "quiet.test", **agent}).status, 200)
        equal(one.ask("/a?q=1", headers={"Host": "told.test", **agent}).status, 200)
        equal(one.ask("/a", headers={"Host": "nothing.test", **agent}).status, 404)
        record = first(collector, of_host("told.test"))
        span = eventually(
            10, lambda: [s for s in list(collector.spans) if s["attributes"].get("server.address") == "told.test"]
        )[0]
        lost = first(collector, of_host("nothing.test"))
        said = one.log
    had = record["attributes"]
    wanted = {
        "ClientHost": "127.0.0.1",
        "ClientUsername": "-",
        "DownstreamStatus": 200,
        "OriginStatus": 200,
        "RequestAddr": "told.test",
        "RequestContentSize": 0,
        "RequestMethod": "GET",
        "RequestPath": "/a?q=1",
        "RequestPort": "-",
        "RequestProtocol": "HTTP/1.1",
        "RequestScheme": "http",
        "RetryAttempts": 0,
        "RouterName": "told@file",
        "ServiceName": "app@file",
        "ServiceURL": app.url,
        "SpanId": span["id"],
        "TraceId": span["trace"],
        "entryPointName": "web",
        "request_User-Agent": "test/1",
        "span_id": span["id"],
        "trace_id": span["trace"],
    }
    equal({key: had.get(key) for key in wanted}, wanted)
    # What a line has of its own is not repeated.
    equal({"level", "msg", "time"} & set(had), set())
    assert had["Duration"] >= had["Overhead"] >= 0 and had["OriginDuration"] > 0, had
    equal(record["time"], had["StartUTC"])
    assert record["observed"] >= record["time"]
    equal((record["severity"], record["level"]), (INFO, "info"))
    equal((record["trace"], record["span"], record["flags"]), (span["trace"], span["id"], 1))
    line = r'127\.0\.0\.1 - - \[[^]]+\] "GET /a\?q=1 HTTP/1\.1" 200 \d+ "-" "test/1" \d+ "told@file" "http://[0-9.:]+" \d+ms\n'
    assert re.fullmatch(line, record["body"]["text"]), record["body"]
    equal((record["resource"]["service.name"], record["scope"]["name"]), ("edge", "traefik"))
    equal((lost["attributes"]["DownstreamStatus"], lost["attributes"].get("RouterName")), (404, None))
    equal(records(collector, of_host("quiet.test")), [])
    assert "told@file" not in said, "the log is written, too"


@checks("access log lines are told over HTTP as Traefik tells them, with their spans, and not written")
def _(_none):
    with Collector() as collector:
        an_access_log(collector, over_http("accessLog", collector))
        assert "/v1/logs" in {request["path"] for request in collector.requests}


@checks("access log lines are told over gRPC as Traefik tells them, with their spans, and not written")
def _(_none):
    with Collector() as collector:
        an_access_log(collector, over_grpc("accessLog", collector))


@checks("with dualOutput the lines are written, too, and a JSON line is a record's body")
def _(_none):
    with Collector() as collector, Server("app") as app:
        flags = ["--accessLog.dualOutput=true", "--accessLog.format=json"]
        with proxy(app, [*over_http("accessLog", collector), *flags]) as one:
            one.ask("/", headers={"Host": "told.test"})
            record = first(collector, of_host("told.test"))
            body = record["body"]["text"]
            assert '"RouterName":"told@file"' in body and '"msg":""' in body, body
            eventually(5, lambda: body in one.log)
            equal((record.get("trace"), record.get("flags")), (None, None))


@checks("fields that are dropped, and requests that are filtered, are told to nobody")
def _(_none):
    with Collector() as collector, Server("app") as app:
        flags = ["--accessLog.filters.statusCodes=404", "--accessLog.fields.names.ClientHost=drop"]
        with proxy(app, [*over_http("accessLog", collector), *flags]) as one:
            one.ask("/", headers={"Host": "told.test"})
            one.ask("/", headers={"Host": "nothing.test"})
            record = first(collector, of_host("nothing.test"))
            assert "ClientHost" not in record["attributes"] and "ClientAddr" in record["attributes"]
            equal(records(collector, of_host("told.test")), [])


@checks("a dead collector of the access log costs no request any time, and is said once")
def _(_none):
    with Server("app") as app:
        with proxy(app, ["--accessLog.otlp.http.endpoint=http://127.0.0.1:1"]) as one:
            for _n in range(50):
                equal(one.ask("/", headers={"Host": "told.test"}).status, 200)
            eventually(10, lambda: "logs are not taken by http://127.0.0.1:1/v1/logs" in one.log)
            one.signal(15)
            equal(one.ended(15), 0)
            equal(one.log.count("are not taken by"), 1)


def a_log(collector, flags):
    with Server("app") as app, proxy(app, [*flags, "--log.level=INFO", "--log.otlp.resourceAttributes.team=blue"]) as one:
        start = first(collector, lambda record: record["body"]["text"].startswith("Wharf version "))
        warning = first(collector, lambda record: "aliasHeadersStrategy" in record["body"]["text"])
        one.signal(signal.SIGUSR1)
        reopened = first(collector, lambda record: "log files are opened anew" in record["body"]["text"])
        # The log is written as well.
        assert "Wharf version " in one.log and "opened anew" in one.log, one.log
    equal((start["severity"], warning["severity"]), (INFO, WARN))
    equal((start.get("level"), start.get("trace")), (None, None))
    equal((start["resource"]["service.name"], start["resource"]["team"]), ("traefik", "blue"))
    equal(start["scope"]["name"], "traefik")
    assert 0 < start["time"] <= reopened["time"], (start, reopened)


@checks("the log is told over HTTP from the first line on, and written, too")
def _(_none):
    with Collector() as collector:
        a_log(collector, over_http("log", collector))


@checks("the log is told over gRPC from the first line on, and written, too")
def _(_none):
    with Collector() as collector:
        a_log(collector, over_grpc("log", collector))


@checks("over TLS both logs reach a collector whose CA is given, at its own paths")
def _(_none):
    folder = fresh("collector")
    certificates(folder)
    with Collector(context(folder)) as collector, Server("app") as app:
        flags = ["--log.level=INFO"]
        for log, path in (("log", "/own"), ("accessLog", "/lines")):
            flags.append(f"--{log}.otlp.http.endpoint=https://localhost:{collector.http}{path}/logs")
            flags.append(f"--{log}.otlp.http.tls.ca={folder}/ca.pem")
        with proxy(app, flags) as one:
            one.ask("/", headers={"Host": "told.test"})
            first(collector, of_host("told.test"))
            first(collector, lambda record: record["body"]["text"].startswith("Wharf version "))
        equal({request["path"] for request in collector.requests}, {"/own/logs", "/lines/logs"})


@checks("without experimental.otlplogs neither log's collector is taken")
def _(_none):
    for log in ("log", "accessLog"):
        status, said = once([f"--{log}.otlp.http.endpoint=http://127.0.0.1:1"])
        equal(status, 1, said)
        assert re.search(rf"{log}\.otlp.*needs experimental\.otlplogs", said), said


sys.exit(checks.run(nullcontext()))
