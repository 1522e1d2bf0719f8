"""Two containers of the proxy on the host's network: one follows the other on a shared port."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, equal, eventually
from harness.proxy import free_ports
from harness.web import Load, ask

checks = Checks("handover")


class Given:
    def __enter__(self):
        engine.need()
        self.containers = []
        (self.port,) = free_ports(1)
        self.network = engine.Network("handover")
        self.network.__enter__()
        labels = {
            "traefik.enable": "true",
            "traefik.http.routers.app.rule": "Host(`app.test`)",
            "traefik.http.services.app.loadbalancer.server.port": "8080",
        }
        self.containers.append(engine.start("handover-app", self.network.name, ["demo-server"], labels))
        return self

    def proxy(self, name):
        """A proxy in a container on the host's network: its id, and its API's port."""
        (api,) = free_ports(1)
        flags = [
            f"--entryPoints.web.address=127.0.0.1:{self.port}", "--entryPoints.web.reusePort=true",
            f"--entryPoints.traefik.address=127.0.0.1:{api}", "--api.insecure=true", "--ping=true", "--log.level=INFO",
            "--providers.docker.exposedByDefault=false", f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)",
        ]  # fmt: skip
        extra = {"HostConfig": {"NetworkMode": "host", "Binds": ["/var/run/docker.sock:/var/run/docker.sock:ro"]}}
        container = engine.start(name, "host", flags, extra=extra)
        self.containers.append(container)
        eventually(10, lambda: ask("127.0.0.1", api, "/api/http/routers/app@docker").status == 200)
        return container, api

    def __exit__(self, *_):
        for container in reversed(self.containers):
            engine.remove(container)
        self.network.__exit__()


@checks("with reusePort a second container takes over from the first, and no request fails")
def _(given):
    old, _api = given.proxy("handover-old")
    eventually(10, lambda: ask("127.0.0.1", given.port, headers={"Host": "app.test"}).status == 200)
    kept = Load("127.0.0.1", given.port, "/", name="app.test", threads=2, pause=0.01)
    single = Load("127.0.0.1", given.port, "/", name="app.test", threads=3, pause=0.01, reuse=False)
    with kept, single:
        eventually(10, lambda: min(kept.count(), single.count()) > 30)
        new, api = given.proxy("handover-new")
        before = single.count()
        eventually(10, lambda: single.count() > before + 60)
        engine.call("POST", f"/containers/{old}/stop", query={"t": "20"})
        before = single.count()
        eventually(10, lambda: single.count() > before + 60)
    equal((single.failed(), kept.failed()), ([], []))
    equal(ask("127.0.0.1", api, "/ping").status, 200)
    equal(engine.inspect(old)["State"]["ExitCode"], 0)
    equal(engine.inspect(new)["State"]["Running"], True)
    return f"{single.count()} requests on connections of their own, {kept.count()} on kept ones"


@checks("in a container SIGUSR2 is refused by name: the container would end with its first process")
def _(given):
    container, api = given.proxy("handover-refused")
    engine.call("POST", f"/containers/{container}/kill", query={"signal": "USR2"})
    logs = lambda: engine.run(["docker", "logs", container])
    eventually(10, lambda: "docs/upgrade.md" in logs())
    equal(ask("127.0.0.1", api, "/ping").status, 200)


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
