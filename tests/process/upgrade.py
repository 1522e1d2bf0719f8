"""SIGUSR2 and `wharf upgrade`: a new process takes the sockets, and nobody notices."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (0, 1)]
from harness import engine
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server, fresh, program
from harness.successors import Successors, alive
from harness.web import Load, WebSocket, ask

checks = Checks("upgrade")


def dynamic(server):
    return f"""
http:
  routers:
    app: {{ rule: "PathPrefix(`/`)", service: app, entryPoints: [web] }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: "{server.url}" }} ] }} }}
"""


class Family(Successors):
    """A proxy and the processes that follow it."""

    def __init__(self, server, *flags, binary=None, **more):
        before = os.environ.get("WHARF_BIN")
        if binary:
            os.environ["WHARF_BIN"] = str(binary)
        try:
            super().__init__(Proxy("upgrade", ["--log.level=INFO", *flags], dynamic(server), **more))
        finally:
            if binary and before is None:
                del os.environ["WHARF_BIN"]
            elif binary:
                os.environ["WHARF_BIN"] = before
        eventually(5, lambda: self.proxy.ask("/").status == 200)


@contextmanager
def family(server, *flags, **more):
    one = Family(server, *flags, **more)
    try:
        yield one
    finally:
        one.stop()


@checks("under load, three upgrades in a row cost no request, with new connections and kept ones")
def _(server):
    with family(server) as one:
        fresh_ones = Load("127.0.0.1", one.proxy.port, "/", threads=3, pause=0.01, reuse=False)
        kept = Load("127.0.0.1", one.proxy.port, "/slow?ms=30", threads=3)
        with fresh_ones, kept:
            for _turn in range(3):
                before = fresh_ones.count(), kept.count()
                one.upgrade()
                eventually(10, lambda: fresh_ones.count() > before[0] + 60 and kept.count() > before[1] + 60)
        equal((fresh_ones.failed(), kept.failed()), ([], []))
        equal(one.proxy.ended(10), 0)
        first, second, third = one.pids
        eventually(10, lambda: not alive(first) and not alive(second))
        assert alive(third)
        equal(one.proxy.ask("/").status, 200)
        return f"{fresh_ones.count()} and {kept.count()} requests"


@checks("an open WebSocket stays where it is until it ends, and so does the old process")
def _(server):
    with family(server) as one:
        client = WebSocket("127.0.0.1", one.proxy.port, "/ws")
        client.receive()
        one.upgrade()
        for text in (b"still", b"here"):
            client.send(text)
            equal(client.receive(), (1, text))
        equal(one.proxy.ask("/").status, 200)
        equal(one.proxy.child.poll(), None)
        equal(Path(f"/proc/{one.pid}/comm").read_text().strip(), "wharf-leaving")
        client.send(b"\x03\xe8", opcode=8)
        client.receive()
        client.close()
        equal(one.proxy.ended(10), 0)


@checks("after upgradeTimeout a WebSocket that stays is told goodbye")
def _(server):
    flags = ("--wharf.upgradeTimeout=1s", "--entryPoints.web.transport.lifeCycle.graceTimeOut=1s")
    with family(server, *flags) as one:
        client = WebSocket("127.0.0.1", one.proxy.port, "/ws")
        client.receive()
        one.upgrade()
        kind, payload = client.receive()
        equal((kind, payload[:2]), (8, b"\x03\xe9"), "close frame 1001")
        client.send(payload, opcode=8)
        equal(one.proxy.ended(10), 0)


@checks("`wharf upgrade` starts the binary that stands there now, and says which process serves")
def _(server):
    place = fresh("upgrade-binary") / "wharf"
    shutil.copy(engine.binary(), place)
    with family(server, binary=place) as one:
        place.unlink()
        shutil.copy(engine.binary(), place)
        newer = place.stat().st_ino
        done = subprocess.run([place, "upgrade", f"--pid={one.pid}"], capture_output=True, text=True, timeout=120)
        new = one.next()
        equal((done.returncode, done.stdout), (0, f"process {new} serves; {one.pid} finishes its connections\n"), done.stderr)
        equal(os.stat(f"/proc/{new}/exe").st_ino, newer)
        equal(one.proxy.ended(10), 0)


@checks("a new process that does not start changes nothing, and both say why")
def _(server):
    folder = fresh("upgrade-broken")
    with family(server) as one:
        # The configuration is a file's from the second start on.
        (folder / "wharf.yml").write_text("entryPoints: {web: {addres: ':1'}}\n")
        for name in ("wharf.yml", "traefik.yml"):
            (one.proxy.folder / name).write_text("entryPoints: {web: {addres: ':1'}}\n")
        with Load("127.0.0.1", one.proxy.port, "/", threads=2, pause=0.01) as load:
            done = subprocess.run([program(), "upgrade", f"--pid={one.pid}"], capture_output=True, text=True, timeout=120)
            before = load.count()
            eventually(10, lambda: load.count() > before + 20)
        equal(load.failed(), [])
        equal(done.returncode, 1)
        assert re.search("ended before it was ready|started no new one", done.stderr), done.stderr
        log = one.proxy.log
        assert "addres" in log and "does not take over" in log, log[-800:]
        # Mended, it works.
        for name in ("wharf.yml", "traefik.yml"):
            (one.proxy.folder / name).unlink()
        one.upgrade()
        equal(one.proxy.ask("/").status, 200)


@checks("an upgrade waits for a provider that has not spoken, and is given up for TERM")
def _(server):
    with family(server, "--providers.docker.endpoint=unix:///nowhere/docker.sock") as one:
        os.kill(one.pid, signal.SIGUSR2)
        pid = int(eventually(10, lambda: re.search(r"process (\d+) is started to take over", one.proxy.log))[1])
        one.pids.append(pid)
        # The file provider of the new one has spoken, the engine's not.
        eventually(10, lambda: one.proxy.log.count("service app@file appeared") >= 2)
        equal(one.proxy.ask("/").status, 200)
        assert f"process {pid} accepts" not in one.proxy.log
        one.proxy.signal(signal.SIGTERM)
        equal(one.proxy.ended(15), 0)
        eventually(10, lambda: not alive(pid))


@checks("a file that can't be understood is not taken over with; once it is mended the new process follows")
def _(server):
    with family(server) as one:
        good = one.proxy.file.read_text()
        one.proxy.file.write_text("http: [")
        os.kill(one.pid, signal.SIGUSR2)
        pid = int(eventually(10, lambda: re.search(r"process (\d+) is started to take over", one.proxy.log))[1])
        one.pids.append(pid)
        # What the new one says of the file, beside what the old one says.
        eventually(10, lambda: len([line for line in one.proxy.log.splitlines() if "dynamic.yml" in line]) >= 2)
        with Load("127.0.0.1", one.proxy.port, "/", threads=2, pause=0.01) as load:
            eventually(10, lambda: load.count() > 20)
            assert f"process {pid} accepts" not in one.proxy.log
            one.proxy.file.write_text(good)
            eventually(20, lambda: f"process {pid} accepts" in one.proxy.log)
            before = load.count()
            eventually(10, lambda: load.count() > before + 20)
        equal(load.failed(), [])
        equal(one.proxy.ended(10), 0)


@checks("a service manager hears when it serves, that it is alive, and which process follows")
def _(server):
    place = Path(f"/tmp/{engine.RUN}-notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        manager.settimeout(30)
        try:
            with family(server, env={"NOTIFY_SOCKET": str(place), "WATCHDOG_USEC": "400000"}) as one:
                heard = [manager.recv(200).decode() for _turn in range(4)]
                assert "READY=1" in heard and heard.count("WATCHDOG=1") >= 2, heard
                new = one.upgrade()
                eventually(10, lambda: manager.recv(200).decode() == f"MAINPID={new}\nREADY=1")
                equal(one.proxy.ended(10), 0)
                # From here on only the new process is there.
                eventually(10, lambda: manager.recv(200).decode() == "WATCHDOG=1")
        finally:
            place.unlink()


@checks("certificates: the new process has them all, orders what is missing, and nothing twice")
def _(server):
    from acme import World, has
    from acme import dynamic as with_resolvers

    with World(server) as world, world.proxy({"a": ("Host(`a.example.org`)", "http")}) as proxy:
        eventually(20, lambda: has(world.tls, "a.example.org"))
        proxy.signal(signal.SIGUSR2)
        pid = int(eventually(20, lambda: re.search(r"process (\d+) accepts", proxy.log))[1])
        try:
            assert has(world.tls, "a.example.org")
            proxy.file.write_text(
                with_resolvers(server, {"a": ("Host(`a.example.org`)", "http"), "b": ("Host(`b.example.org`)", "tls")})
            )
            eventually(20, lambda: has(world.tls, "b.example.org"))
            equal(proxy.ended(20), 0)
            assert has(world.tls, "a.example.org") and has(world.tls, "b.example.org")
            equal(world.ca.orders(), 2)
            kept = eventually(5, lambda: (kept := world.kept()) and kept.get("tls") and kept)
            equal([len(kept[name]["Certificates"]) for name in ("http", "tls")], [1, 1])
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
            eventually(20, lambda: not alive(pid))


@checks("a start answers no request before the table is there")
def _(server):
    for _turn in range(5):
        with Proxy("first", dynamic=dynamic(server)) as proxy:
            equal(proxy.ask("/").status, 200)


@checks("`wharf upgrade` names what it can't signal")
def _(_server):
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        cases = [(f"--pid={sleeper.pid}", "not a running wharf"), ("--pid=x", "no process id"), ("--pid=4194300", "there is no process")]
        for argument, words in [*cases, ("--now", "--pid=NUMBER")]:
            done = subprocess.run([program(), "upgrade", argument], capture_output=True, text=True, timeout=60)
            equal(done.returncode, 1)
            assert words in done.stderr, (argument, done.stderr)
        equal(sleeper.poll(), None)
        done = subprocess.run([program(), "take-over"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        equal(done.returncode, 1)
        assert "only a proxy that hands over" in done.stderr, done.stderr
    finally:
        sleeper.kill()
        sleeper.wait()


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
