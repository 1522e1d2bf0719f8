"""TERM and INT: what is in flight ends well, nothing new is taken, the status is 0."""

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server, listens
from harness.web import WebSocket, ask

checks = Checks("stop")


def dynamic(server):
    return f"""
http:
  routers:
    app: {{ rule: "PathPrefix(`/`)", service: app, entryPoints: [web] }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: "{server.url}" }} ] }} }}
"""


def proxy(server, *flags, **more):
    started = Proxy("stopping", flags, dynamic(server), **more)
    eventually(5, lambda: started.ask("/").status == 200)
    return started


def in_flight(running):
    """Waits until a request is with the server."""
    eventually(5, lambda: any(r["inFlight"] for each in running.get("/api/wharf/replicas").values() for r in each))


def refuses(port):
    try:
        listens(port)
    except ConnectionRefusedError:
        return True
    return False


@checks("TERM and INT: an open request ends whole, new connections are refused, status 0")
def _(server):
    for number in (signal.SIGTERM, signal.SIGINT):
        with proxy(server) as running, ThreadPoolExecutor() as pool:
            slow = pool.submit(running.ask, "/slow?ms=3000")
            in_flight(running)
            running.signal(number)
            eventually(2, lambda: refuses(running.port))
            answer = slow.result()
            equal((answer.status, answer.json["path"]), (200, "/slow"))
            equal(running.ended(5), 0)


@checks("an open WebSocket is told goodbye and does not hold up the end past graceTimeOut")
def _(server):
    with proxy(server, "--entryPoints.web.transport.lifeCycle.graceTimeOut=2s") as running:
        client = WebSocket("127.0.0.1", running.port, "/ws")
        client.receive()
        start = time.monotonic()
        running.signal(signal.SIGTERM)
        kind, payload = client.receive()
        equal((kind, payload[:2]), (8, b"\x03\xe9"), "close frame 1001")
        client.send(payload, opcode=8)
        equal(running.ended(6), 0)
        assert time.monotonic() - start < 20


@checks("a request longer than graceTimeOut is cut, and the status is still 0")
def _(server):
    with proxy(server, "--entryPoints.web.transport.lifeCycle.graceTimeOut=1s") as running, ThreadPoolExecutor() as pool:
        slow = pool.submit(running.ask, "/slow?ms=20000")
        in_flight(running)
        running.signal(signal.SIGTERM)
        start = time.monotonic()
        equal(running.ended(6), 0)
        assert 0.5 < time.monotonic() - start < 15
        assert slow.exception(5) is not None


@checks("requestAcceptGraceTimeout: ping turns 503 while requests are still taken, then the door closes")
def _(server):
    flags = [f"--entryPoints.{e}.transport.lifeCycle.requestAcceptGraceTimeout=5s" for e in ("web", "traefik")]
    with proxy(server, *flags) as running:
        equal(ask("127.0.0.1", running.api, "/ping").status, 200)
        running.signal(signal.SIGTERM)
        eventually(1, lambda: ask("127.0.0.1", running.api, "/ping").status == 503)
        equal(running.ask("/").status, 200)
        eventually(6, lambda: refuses(running.port))
        equal(running.ended(5), 0)


@checks("a second signal ends it at once")
def _(server):
    with proxy(server) as running, ThreadPoolExecutor() as pool:
        pool.submit(running.ask, "/slow?ms=20000")
        in_flight(running)
        running.signal(signal.SIGTERM)
        eventually(2, lambda: refuses(running.port))
        running.signal(signal.SIGTERM)
        running.ended(2)


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
