"""The API: every endpoint, its parameters, its errors."""

from side.table import Stage

STAGE = Stage(["--entryPoints.web.asDefault=true", "--metrics.prometheus=true", "--metrics.prometheus.addRoutersLabels=true"], entry_points=("web", "websecure"))
STAGE.labels("traefik.http.services.app.loadbalancer.server.port=8080")

s = STAGE.scenario("lists")
s.rule("alpha", "Host(`alpha.test`)", more="middlewares=strip,auth")
s.rule("beta", "Host(`beta.test`) && PathPrefix(`/b`)", more="priority=42\nentrypoints=web,websecure")
s.rule("gamma", "Host(`gamma.test`)", more="middlewares=missing")
s.rule("delta", "Host(`delta.test`)", "ghost")
s.rule("secure", "Host(`secure.test`)", more="entrypoints=websecure\ntls=true")
s.labels("""
traefik.http.middlewares.strip.stripprefix.prefixes=/a,/b
traefik.http.middlewares.auth.basicauth.users=test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/
traefik.http.middlewares.unused.addprefix.prefix=/x
traefik.http.middlewares.bad.ipallowlist.sourcerange=nonsense
traefik.http.services.empty.loadbalancer.server.url=http://127.0.0.1:1
""")
STAGE.file("""
http:
  routers:
    from-file:
      rule: Host(`file.test`)
      service: in-file
      middlewares:
        - in-file
  services:
    in-file:
      loadBalancer:
        servers:
          - url: <a>
    shared:
      weighted:
        services:
          - name: in-file
            weight: 1
          - name: app@docker
            weight: 2
  middlewares:
    in-file:
      headers:
        customRequestHeaders:
          X-A: b
""")
NO_INTERNAL = "@(docker|file)$"
for kind in ("routers", "services", "middlewares"):
    s.api(f"/api/http/{kind}", only=NO_INTERNAL)
    s.api(f"/api/http/{kind}", pick=["name", "status", "provider"], name=f"names of all {kind}")
for path in ("/api/tcp/routers", "/api/tcp/services", "/api/tcp/middlewares", "/api/udp/routers", "/api/udp/services"):
    s.api(path)
s.api("/api/entrypoints", pick=["name", "address", "asDefault", "http", "http2", "transport", "forwardedHeaders", "udp"])
for name in ("web", "websecure", "nope"):
    s.api(f"/api/entrypoints/{name}")
s.api("/api/overview")
s.api("/api/version", pick=["name"], name="version: an object")

s = STAGE.scenario("one of them")
for path in ("/api/http/routers/alpha@docker", "/api/http/routers/gamma@docker", "/api/http/routers/delta@docker", "/api/http/routers/secure@docker", "/api/http/routers/from-file@file", "/api/http/routers/nope@docker", "/api/http/routers/nope", "/api/http/services/app@docker", "/api/http/services/shared@file", "/api/http/services/nope@file", "/api/http/middlewares/strip@docker", "/api/http/middlewares/auth@docker", "/api/http/middlewares/bad@docker", "/api/http/middlewares/nope@x", "/api/tcp/routers/x@docker", "/api/udp/services/x@docker", "/api/nothing", "/api/http/routers/api@internal", "/api/http/services/noop@internal"):
    s.api(path)

s = STAGE.scenario("parameters")
for query in ("per_page=2&page=1", "per_page=2&page=2", "per_page=100", "per_page=2&page=99", "per_page=0", "per_page=x", "page=0", "page=x", "page=-1", "search=alpha", "search=TEST", "search=beta.test", "search=nothing", "status=enabled", "status=disabled", "status=DISABLED", "status=warning", "status=nonsense", "serviceName=app@docker", "serviceName=nope", "middlewareName=strip@docker", "search=a&status=enabled", "sortBy=name", "sortBy=name&direction=desc", "sortBy=priority", "sortBy=priority&direction=desc", "sortBy=status", "sortBy=rule", "sortBy=service", "sortBy=provider", "sortBy=entryPoints", "sortBy=nonsense"):
    s.api(f"/api/http/routers?{query}", pick=["name"])
for query in ("sortBy=name&direction=desc", "sortBy=type", "sortBy=servers", "sortBy=provider", "sortBy=status", "search=app", "status=enabled", "per_page=3&page=2"):
    s.api(f"/api/http/services?{query}", pick=["name"])
for query in ("sortBy=name&direction=desc", "sortBy=type", "sortBy=provider", "search=strip", "status=disabled", "per_page=1&page=3"):
    s.api(f"/api/http/middlewares?{query}", pick=["name"])
s.api("/api/entrypoints?search=secure", pick=["name"])

s = STAGE.scenario("raw data, methods, other pages")
s.api("/api/rawdata", only="^(routers|middlewares)$", name="raw data: routers and middlewares")
for method in ("POST", "HEAD", "OPTIONS", "DELETE"):
    s.api("/api/overview", method=method, name=f"{method} /api/overview", pick=[])
s.api("/ping")
s.api("/", name="the root leads to the dashboard")
s.api("/dashboard", name="without the slash")
