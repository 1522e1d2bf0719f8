"""The engine goes away and comes back: what was served is served on, and the gap is made up."""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, Skip, equal, eventually
from harness.cuttable import Cuttable
from harness.proxy import Proxy, fresh
from harness.web import Load

checks = Checks("engine")


class Given:
    def __enter__(self):
        engine.need()
        # A socket's path must stay short.
        self.socket = Cuttable(f"/tmp/{engine.RUN}.sock")
        self.socket.open()
        self.network = engine.Network("loss")
        self.network.__enter__()
        self.folder = fresh("loss")
        flags = [
            f"--providers.docker.endpoint=unix://{self.socket.path}",
            "--providers.docker.exposedByDefault=false",
            f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)",
        ]
        self.containers = [self.start("app1")]
        self.proxy = Proxy("loss", flags)
        self.proxy.routed("app.test")
        return self

    def start(self, name):
        labels = {
            "traefik.enable": "true",
            "com.docker.compose.project": engine.RUN,
            "com.docker.compose.service": "app",
            "traefik.http.routers.app.rule": "Host(`app.test`)",
            "traefik.http.services.app.loadbalancer.server.port": "8080",
        }
        return engine.start(name, self.network.name, ["demo-server"], labels)

    def load(self):
        return Load("127.0.0.1", self.proxy.port, "/", name="app.test", pause=0.01)

    def connected(self):
        return self.proxy.get("/api/wharf/engine")["connected"]

    def __exit__(self, *_):
        self.proxy.stop()
        for container in self.containers:
            engine.remove(container)
        self.network.__exit__()
        if os.path.exists(self.socket.path):
            self.socket.cut()


@checks("while the engine is away everything is served on, and the loss is said")
def _(given):
    with given.load() as load:
        eventually(5, lambda: load.count() > 20)
        given.socket.cut()
        if not os.environ.get("WHARF_TEST_TRAEFIK"):
            eventually(5, lambda: not given.connected())
            problems = eventually(3, lambda: [p for p in given.proxy.problems() if p["code"] == "engine"])
            assert problems[0].get("mend"), problems
            eventually(5, lambda: re.search(r"engine", given.proxy.log, re.I))
        before = load.count()
        eventually(10, lambda: load.count() > before + 200)
    assert not load.failed(), load.failed()[:3]
    return f"{load.count()} requests"


@checks("what changed meanwhile is served soon after it is back")
def _(given):
    given.containers.append(given.start("app2"))
    with given.load() as load:
        given.socket.open()
        eventually(15, lambda: load.first(given.containers[-1][:12]))
    assert not load.failed(), load.failed()[:3]
    if not os.environ.get("WHARF_TEST_TRAEFIK"):
        eventually(5, given.connected)
        eventually(5, lambda: not [p for p in given.proxy.problems() if p["code"] == "engine"])


@checks("a replica that dies while the engine is away costs no request")
def _(given):
    if os.environ.get("WHARF_TEST_TRAEFIK"):
        raise Skip("Traefik answers 502 until the engine is back")
    given.socket.cut()
    eventually(5, lambda: not given.connected())
    gone = given.containers.pop()
    with given.load() as load:
        eventually(5, lambda: load.count() > 20)
        engine.remove(gone)
        before = load.count()
        eventually(10, lambda: load.count() > before + 100)
    assert not load.failed(), load.failed()[:3]
    given.socket.open()
    eventually(15, given.connected)
    (name,) = [s["name"] for s in given.proxy.get("/api/http/services") if s["provider"] == "docker"]

    def servers():
        return given.proxy.get(f"/api/http/services/{name}")["loadBalancer"]["servers"]

    eventually(5, lambda: len(servers()) == 1)


@checks("five losses in a row leave no mark")
def _(given):
    for _turn in range(5):
        given.socket.cut()
        given.socket.open()
    given.containers.append(given.start("app3"))
    with given.load() as load:
        eventually(20, lambda: load.first(given.containers[-1][:12]))
    assert not load.failed(), load.failed()[:3]
    equal(given.proxy.child.poll(), None)


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
