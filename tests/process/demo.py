"""`wharf demo`: the main job in one command, with an engine and without."""

import re
import shutil
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.acme import has
from harness.checks import Checks, Skip, equal, eventually
from harness.proxy import Process, free_ports
from harness.web import ask

checks = Checks("demo")


class Demo(Process):
    def __init__(self, *flags, env=None):
        self.port, self.dashboard = free_ports(2)
        ports = ["--port", str(self.port), "--dashboard-port", str(self.dashboard)]
        super().__init__([str(engine.binary()), "demo", *ports, *flags], "demo", env=env)

    def up(self):
        eventually(30, lambda: self.get("/api/music/x").status == 200 or self.child.poll() is not None)
        assert self.child.poll() is None, self.log

    def get(self, path):
        return ask("127.0.0.1", self.port, path)

    def servers(self, service):
        found = ask("127.0.0.1", self.dashboard, f"/api/http/services/{service}@docker").json
        return len(found["loadBalancer"]["servers"])


def marked():
    return engine.containers(["wharf-demo.run"])


def shows(demo):
    """What both engines must show."""
    demo.up()
    equal(demo.get("/api/users/7").json["path"], "/7")
    equal(demo.get("/about").json["service"], "front")
    assert "users_session" in demo.get("/api/users").header("set-cookie")
    assert f"http://127.0.0.1:{demo.dashboard}/dashboard/" in demo.log, demo.log
    equal(ask("127.0.0.1", demo.dashboard, "/dashboard/").status, 200)


@checks("without an engine replicas live inside the process, and it says so")
def _(_none):
    with Demo(env={"DOCKER_HOST": "unix:///nowhere.sock"}) as demo:
        shows(demo)
        assert "embedded engine" in demo.log and "/nowhere.sock" in demo.log, demo.log
        equal(demo.servers("users"), 2)
        eventually(15, lambda: demo.servers("music") >= 4)
        demo.signal(signal.SIGINT)
        equal(demo.ended(20), 0)
        assert not re.search(r"panicked|ERR", demo.log), demo.log


@checks("with an engine they are containers made of this binary, and none is left after Ctrl-C")
def _(_none):
    engine.need()
    before = {c["Id"] for c in marked()}
    with Demo("--engine", "docker", "--steady") as demo:
        shows(demo)
        assert "using Docker" in demo.log, demo.log
        equal(len({c["Id"] for c in marked()} - before), 6)
        demo.signal(signal.SIGINT)
        equal(demo.ended(60), 0, demo.log)
    equal({c["Id"] for c in marked()} - before, set())


@checks("what a killed demo left is cleared away by the next, which TERM ends during its start")
def _(_none):
    engine.need()
    before = {c["Id"] for c in marked()}
    with Demo("--engine", "docker", "--steady") as demo:
        demo.up()
        demo.signal(signal.SIGKILL)
        demo.ended(5)
        left = {c["Id"] for c in marked()} - before
        equal(len(left), 6)
    with Demo("--engine", "docker", "--steady") as demo:
        eventually(20, lambda: not left & {c["Id"] for c in marked()})
        demo.signal(signal.SIGTERM)
        equal(demo.ended(60), 0, demo.log)
    equal({c["Id"] for c in marked()} - before, set())
    names = [n["Name"] for n in engine.call("GET", "/networks")]
    assert not [n for n in names if n.startswith("wharf-demo-")], names


@checks("with --https a test CA gives each service its certificate, and ends with the demo")
def _(_none):
    if not shutil.which("pebble"):
        raise Skip("pebble is missing: apt-get install pebble")
    (port,) = free_ports(1)
    with Demo("--https", "--https-port", str(port), "--engine", "embedded", "--steady") as demo:
        demo.up()
        for service in ("front", "users", "music"):
            name = f"{service}.demo.localhost"
            eventually(20, lambda name=name: f"{name} has its certificate, by Pebble" in demo.log)
            eventually(5, lambda name=name: has(port, name))
            equal(ask("127.0.0.1", port, "/", tls=True, headers={"Host": name}).json["service"], service)
        page = ask("127.0.0.1", demo.dashboard, "/dashboard/certificates").text
        assert "music.demo.localhost" in page and "Pebble Intermediate CA" in page, page
        folders = [path for path in Path(tempfile.gettempdir()).glob(f"wharf-demo-ca-{demo.child.pid}-*")]
        equal(len(folders), 1)
        demo.signal(signal.SIGINT)
        equal(demo.ended(30), 0)
        equal(folders[0].exists(), False)
        equal([line for line in commands() if str(folders[0]) in line], [])


def commands():
    """What runs on this machine."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_text(errors="replace")
        except OSError:  # ended meanwhile
            pass


@checks("without pebble --https says what to install")
def _(_none):
    with Demo("--https", "--engine", "embedded", env={"PATH": "/nowhere"}) as demo:
        equal(demo.ended(15), 1)
        assert "apt install pebble" in demo.log, demo.log
        equal(list(Path(tempfile.gettempdir()).glob(f"wharf-demo-ca-{demo.child.pid}-*")), [])


@checks("a taken port is passed over, a port asked for that is taken is named")
def _(_none):
    with Demo("--engine", "embedded") as demo:
        demo.up()
        second = Demo("--engine", "embedded", "--port", str(demo.port))
        with second:
            equal(second.ended(15), 1)
            assert str(demo.port) in second.log, second.log


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
