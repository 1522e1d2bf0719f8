"""The small examples, and the image as users run it."""

import base64
import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, Skip, equal, eventually
from harness.web import ask

checks = Checks("examples")


def routed(site, host):
    eventually(10, lambda: ask(site.host, 80, headers={"Host": host}).status not in (404, 503))


@checks("the smallest example serves its one service")
def _(_none):
    with engine.Project("smallest") as site:
        routed(site, "whoami.localhost")
        seen = ask(site.host, 80, "/x", headers={"Host": "whoami.localhost"}).json
        equal((seen["service"], seen["path"]), ("whoami", "/x"))
        equal(ask(site.host, 80, headers={"Host": "other.localhost"}).status, 404)


@checks("the example with a password asks for it, passes the name on and guards its answers")
def _(_none):
    with engine.Project("auth") as site:
        host = {"Host": "private.localhost"}
        eventually(10, lambda: ask(site.host, 80, headers=host).status == 401)
        equal(ask(site.host, 80, headers=host).header("www-authenticate"), 'Basic realm="MusicShare"')
        for secret, status in {"ada:wrong": 401, "eve:wharf": 401, "ada:wharf": 200}.items():
            credentials = {"Authorization": "Basic " + base64.b64encode(secret.encode()).decode()}
            equal(ask(site.host, 80, headers={**host, **credentials}).status, status, secret)
        answer = ask(site.host, 80, headers={**host, **credentials, "X-User": "root"})
        seen = answer.json["headers"]
        equal(seen["x-user"], ["ada"])
        assert "authorization" not in seen, seen
        for name, value in {
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "same-origin",
            "x-served-by": "wharf",
        }.items():
            equal(answer.header(name), value)


def proxy_container(network, name, flags, **host):
    """Wharf in a container, as little privileged as can be."""
    extra = {
        "User": host.pop("user", ""),
        "HostConfig": {
            "NetworkMode": network.name,
            "Binds": [f"{engine.SOCKET}:{engine.SOCKET}:ro"],
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            **host,
        },
    }
    return engine.start(name, network.name, ["--entryPoints.web.address=:80", "--api.insecure=true", *flags], extra=extra)


@checks("the image runs without root, without capabilities and on a read-only file system")
def _(_none):
    engine.need()
    if os.environ.get("WHARF_TEST_TRAEFIK"):
        raise Skip("this is about Wharf's image")
    with engine.Network("rootless") as network:
        group = os.stat(engine.SOCKET).st_gid
        labels = {"traefik.enable": "true", "traefik.http.routers.a.rule": "Host(`a.test`)", "traefik.http.services.a.loadbalancer.server.port": "8080"}
        app = engine.start("rootless-app", network.name, ["demo-server"], labels)
        flags = ["--providers.docker=true", "--providers.docker.exposedByDefault=false"]
        flags.append(f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)")
        proxy = proxy_container(network, "rootless", flags, user=f"65532:{group}")
        try:
            where = engine.address(proxy)
            eventually(10, lambda: ask(where, 80, headers={"Host": "a.test"}).status == 200)
        finally:
            said = engine.run(["docker", "logs", proxy], check=False)
            engine.remove(proxy)
            engine.remove(app)
        assert "panicked" not in said, said[-500:]


@checks("a socket that may not be read is named with a mend, and the rest is served")
def _(_none):
    engine.need()
    if os.environ.get("WHARF_TEST_TRAEFIK"):
        raise Skip("this is about Wharf's messages")
    with engine.Network("norights") as network:
        proxy = proxy_container(network, "norights", ["--providers.docker=true"], user="65532:65532")
        try:
            where = engine.address(proxy)
            problems = eventually(10, lambda: [p for p in ask(where, 8080, "/api/wharf/problems").json if p["code"] == "engine"])
            assert problems[0].get("mend") and "docker.sock" in json.dumps(problems), problems
            equal(ask(where, 80).status, 404)
        finally:
            engine.remove(proxy)


@checks("names of containers are resolved in the static binary")
def _(_none):
    engine.need()
    if os.environ.get("WHARF_TEST_TRAEFIK"):
        raise Skip("this is about Wharf's binary")
    with engine.Network("names") as network:
        app = engine.start("names-app", network.name, ["demo-server"])
        folder = engine.OUT / engine.RUN / "names"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dynamic.yml").write_text(
            "http: { routers: { a: { rule: 'PathPrefix(`/`)', service: a, entryPoints: [web] } },"
            f" services: {{ a: {{ loadBalancer: {{ servers: [ {{ url: 'http://{engine.RUN}-names-app:8080' }} ] }} }} }} }}"
        )
        extra = {"HostConfig": {"NetworkMode": network.name, "Binds": [f"{folder}:/dynamic:ro"]}}
        flags = ["--entryPoints.web.address=:80", "--providers.file.directory=/dynamic"]
        proxy = engine.start("names", network.name, flags, extra=extra)
        try:
            where = engine.address(proxy)
            eventually(10, lambda: ask(where, 80).status == 200)
        finally:
            engine.remove(proxy)
            engine.remove(app)


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
