"""The proxy itself is upgraded under an open-loop load: by SIGUSR2, and by a second container."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, Skip, equal, eventually
from harness.deploy import Site
from harness.proxy import free_ports
from harness.successors import Successors, alive
from harness.web import ask

checks = Checks("upgrade under load")


class Given(Site):
    """A site whose proxy is followed by others."""

    def __init__(self):
        super().__init__("deploysupgrade", flags=["--log.level=INFO"])

    def __enter__(self):
        if os.environ.get("WHARF_TEST_TRAEFIK"):
            raise Skip("Traefik has nothing of the kind")
        return super().__enter__()

    def start_proxy(self, flags):
        return Followed(super().start_proxy(flags))


class Followed(Successors):
    """Whoever serves now: all have the first one's ports."""

    def __init__(self, proxy):
        super().__init__(proxy)
        self.port, self.ask = proxy.port, proxy.ask


@checks("three upgrades in a row by SIGUSR2")
def _(site):
    with site.app("upgraded", 2) as app:
        for _turn in range(3):
            site.proxy.upgrade()
            app.some(150)
        figure = app.judge(stay=True)
    equal(site.proxy.proxy.ended(10), 0)
    *left, last = site.proxy.pids
    eventually(10, lambda: not any(map(alive, left)))
    assert alive(last)
    return figure


class Contained:
    """A proxy in a container on the host's network, whose port others may share."""

    def __init__(self, site, name, port):
        self.port = port
        (self.api,) = free_ports(1)
        flags = [
            f"--entryPoints.web.address=127.0.0.1:{port}", "--entryPoints.web.reusePort=true",
            f"--entryPoints.traefik.address=127.0.0.1:{self.api}", "--api.insecure=true", "--ping=true",
            "--providers.docker.exposedByDefault=false", f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)",
        ]  # fmt: skip
        host = {"NetworkMode": "host", "Binds": [f"{engine.SOCKET}:/var/run/docker.sock:ro"]}
        self.id = engine.start(name, "host", flags, extra={"HostConfig": host})
        eventually(10, lambda: ask("127.0.0.1", self.api, "/ping").status == 200)

    def ask(self, path="/", **more):
        return ask("127.0.0.1", self.port, path, **more)

    def stop(self):
        engine.call("POST", f"/containers/{self.id}/stop", query={"t": "20"})


@checks("with reusePort a second container takes over from the first")
def _(site):
    (port,) = free_ports(1)
    before, old = site.proxy, Contained(site, "upgrade-old", port)
    site.proxy = old
    try:
        with site.app("followed", 2) as app:
            new = Contained(site, "upgrade-new", port)
            app.some(150)
            old.stop()
            app.some(150)
            figure = app.judge(stay=True)
    finally:
        site.proxy = before
    equal(engine.inspect(old.id)["State"]["ExitCode"], 0)
    equal(ask("127.0.0.1", new.api, "/ping").status, 200)
    return figure


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
