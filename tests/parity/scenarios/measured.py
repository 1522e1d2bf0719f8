"""Metrics: names, labels and counts after a known series of requests."""

from side.table import Reply, Stage

STAGE = Stage(
    [
        "--metrics.prometheus=true",
        "--metrics.prometheus.addRoutersLabels=true",
        "--metrics.prometheus.addServicesLabels=true",
        "--metrics.prometheus.buckets=0.5,2",
        "--metrics.prometheus.headerLabels.agent=User-Agent",
    ],
    entry_points=("web", "websecure"),
)
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080\ntraefik.http.services.a.loadbalancer.server.url=<a>")

s = STAGE.scenario("a series of requests")
s.rule("one", "Host(`one.test`)")
s.rule("two", "Host(`two.test`)", "a")
s.rule("off", "Host(`off.test`)", "off", "observability.metrics=false")
s.labels("traefik.http.services.off.loadbalancer.server.url=<a>")
s.rule("tls", "Host(`tls.test`)", "a", "tls=true\nentrypoints=websecure")
for _turn in range(3):
    s.get("one.test/")
s.post("two.test/", "User-Agent: me", body="12345", replies={"a": [Reply(500, {}, "1234567890")]})
s.ask("FOO", "two.test/")
s.get("two.test/", "Accept: text/event-stream")
s.get("off.test/")
s.get("nobody.test/")
s.get("tls.test/", entry="websecure", tls={})
s.raw("an upgrade", "GET /ws HTTP/1.1\nHost: two.test\nConnection: Upgrade\nUpgrade: websocket\n\n", host="two.test", replies={"a": [Reply(raw=b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", act="upgrade")]}, then=b"x")
for name in ("entrypoint", "router", "service"):
    s.metrics(f"{name}: requests", rf"^traefik_{name}_requests_total\{{(?!.*protocol=\"websocket\")")
    s.metrics(f"{name}: bytes", rf"^traefik_{name}_(requests|responses)_bytes_total\{{(?!.*protocol=\"websocket\")(?!.*one@docker)(?!.*app@docker)(?!.*entrypoint=\"web\")")
    s.metrics(f"{name}: TLS", rf"^traefik_{name}_requests_tls_total\{{")
    s.metrics(f"{name}: durations", rf"^traefik_{name}_request_duration_seconds_(bucket|count)\{{(?!.*protocol=\"websocket\")")
s.metrics("configuration", r"^traefik_config_last_reload_success")
s.metrics("certificates", r"^traefik_tls_certs_not_after")
