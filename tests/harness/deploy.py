"""Replicas of an application that come and go behind a proxy, under an open-loop load.

A scenario is a check in tests/docker/deploys*.py: `with site.app(...) as app`, do something to
`app.replicas` or `site.proxy`, wait for what shows that it has happened, `return app.judge()`. With
WHARF_TEST_TRAEFIK nothing is judged, and the figures are Traefik's."""

import json
import os
import time
from collections import Counter, namedtuple

from . import engine
from .checks import equal, eventually
from .load import Load, figures
from .proxy import Proxy, fresh

TRAEFIK = os.environ.get("WHARF_TEST_TRAEFIK")

# Before and after what is tested, so many requests go through.
SOME = 60

# A server that stops closes connections, and a request may be arriving on one in that moment.
# Nobody can tell whether it was read, so what is not idempotent can't be sent again (RFC 9110
# section 9.2.2), nor what changes the protocol. So many in a scenario are shown, but not judged.
MET_THE_CLOSE = 2


class Site:
    """A proxy on this machine that watches an engine, and a network for the replicas."""

    def __init__(self, name, endpoint=f"unix://{engine.SOCKET}", flags=()):
        self.name, self.endpoint, self.flags = name, endpoint, flags

    def __enter__(self):
        engine.need()
        engine.image()
        # Here the replicas note what they were given, also those that are killed.
        self.told = fresh(f"{self.name}-told")
        self.told.chmod(0o777)
        self.network = engine.Network(self.name)
        self.network.__enter__()
        flags = [
            f"--providers.docker.endpoint={self.endpoint}",
            "--providers.docker.exposedByDefault=false",
            f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)",
            "--accesslog=true",
            *self.flags,
        ]
        try:
            self.proxy = self.start_proxy(flags)
        except BaseException:
            self.network.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        engine.sweep()

    def start_proxy(self, flags):
        """Whatever has a `port`, can `ask` and `stop`."""
        return Proxy(self.name, flags)

    def app(self, name, replicas, *options, **more):
        return App(self, name, replicas, options, **more)

    def told_lines(self):
        """What all replicas were given, from the start: (replica, method, target)."""
        file = self.told / "requests"
        return [line.split(" ") for line in file.read_text().splitlines()] if file.exists() else []


class App:
    """Replicas of one service, and the load on it."""

    def __init__(self, site, name, replicas, options, extra=None, mix=None, host=None, labels=None):
        self.site, self.name, self.options, self.extra = site, name, options, extra
        self.host_config, self.more_labels = host or {}, labels or {}
        self.host = f"{name}.test"
        self.first, self.mix = replicas, mix
        self.replicas, self.made = [], 0
        self.done = 0.0

    def __enter__(self):
        for _turn in range(self.first):
            self.start()
        want = {replica[:12] for replica in self.replicas}
        eventually(20, lambda: want <= {self.ask() for _turn in range(2 * len(want))})
        self.load = Load(self.site.proxy.port, self.host, self.mix)
        self.load.__enter__()
        self.some()
        return self

    def __exit__(self, *_):
        self.load.__exit__()
        for replica in self.replicas:
            engine.remove(replica)

    def ask(self):
        return self.site.proxy.ask(headers={"Host": self.host}).header("x-replica")

    def labels(self):
        return {
            "traefik.enable": "true",
            "com.docker.compose.project": engine.RUN,
            "com.docker.compose.service": self.name,
            f"traefik.http.routers.{self.name}.rule": f"Host(`{self.host}`)",
            f"traefik.http.services.{self.name}.loadbalancer.server.port": "8080",
            **self.more_labels,
        }

    def start(self, *options, **extra):
        """One more replica; returns its id at once."""
        self.made += 1
        command = ["demo-server", "--log", "/told/requests", *self.options, *options]
        host = {"NetworkMode": self.site.network.name, "Binds": [f"{self.site.told}:/told"], **self.host_config}
        extra = {"HostConfig": host, **(self.extra or {}), **extra}
        made = engine.start(f"{self.name}{self.made}", self.site.network.name, command, self.labels(), extra)
        self.replicas.append(made)
        return made

    def call(self, what, replica, **query):
        """`docker stop` and the like; returns when it is done."""
        engine.call("POST", f"/containers/{replica}/{what}", query=query or None)
        self.done = time.monotonic()

    def disconnect(self, replica):
        """Takes it out of the network."""
        move = {"Container": replica, "Force": False}
        engine.call("POST", f"/networks/{self.site.network.id}/disconnect", move)
        self.done = time.monotonic()

    def connect(self, replica):
        move = {"Container": replica}
        engine.call("POST", f"/networks/{self.site.network.id}/connect", move)

    def remove(self, replica):
        engine.remove(replica)
        self.replicas.remove(replica)

    # --- waiting, by condition ---

    def some(self, count=SOME):
        """Waits until that many more have been answered."""
        goal = self.load.count() + count
        eventually(30, lambda: self.load.count() >= goal)

    def answers(self, *replicas):
        """Waits until each of these has answered what was asked from now on."""
        since, want = time.monotonic(), {replica[:12] for replica in replicas}
        eventually(30, lambda: want <= self.load.replicas(since))

    # --- what came of it ---

    def end(self):
        """Ends the load; all its results."""
        self.some()
        self.load.__exit__()
        return self.load.all()

    def judge(self, dead=(), stay=False):
        """Fails if a request failed. When replicas were lost (`dead`), what is not idempotent may
        fail if it was on its way by then, and what one of them had begun to answer. Nothing that
        is not idempotent may be given to the application twice, whatever happened. With `stay` no
        WebSocket may be told goodbye."""
        results = self.end()
        figure = figures(results)
        if TRAEFIK:
            return figure
        dead = {replica[:12] for replica in dead}
        reached, posts = set(), Counter()
        for replica, method, target in self.site.told_lines():
            ident = target.partition("id=")[2]
            posts[ident] += method == "POST"
            if replica in dead:
                reached.add(ident)
        twice = [ident for ident, count in posts.items() if count > 1]
        equal(twice, [], f"{figure}; given twice")
        lost = Lost(dead, reached, self.done)
        failed = [result for result in results if result.outcome != "ok" and not lost.has(result)]
        met = [result for result in failed if result.kind in ("POST", "WS") and result.due < self.done]
        if len(met) <= MET_THE_CLOSE:
            failed = [result for result in failed if result not in met]
        assert not failed, f"{figure}; {failed[:3]}"
        told = [result for result in results if result.goodbye]
        assert not (stay and told), f"{figure}; {len(told)} told goodbye: {told[:3]}"
        return figure


class Lost(namedtuple("Lost", "replicas reached by")):
    """What went with replicas: what they had been given, or was due `by` the time that they were
    gone. Of that what is not idempotent may fail, for it may have been done."""

    def has(self, result):
        if not self.replicas:
            return False
        if result.kind in ("POST", "WS") and (result.ident in self.reached or result.due < self.by):
            return True
        # Its answer had begun.
        return result.kind in ("STREAM", "WS") and result.replica in self.replicas


class Composed(App):
    """The same, started by docker-compose."""

    def __enter__(self):
        self.project = f"{engine.RUN}{self.name}"
        self.folder = fresh(self.project)
        service = {
            "image": engine.image(),
            "command": ["demo-server", "--log", "/told/requests", *self.options],
            "labels": {**self.labels(), "wharf-test.run": engine.RUN},
            "volumes": [f"{self.site.told}:/told"],
            "networks": ["net"],
        }
        for label in ("project", "service"):
            del service["labels"][f"com.docker.compose.{label}"]
        networks = {"net": {"external": True, "name": self.site.network.name}}
        text = {"version": "3.8", "services": {"app": service}, "networks": networks}
        (self.folder / "compose.yml").write_text(json.dumps(text))
        self.up("--scale", f"app={self.first}")
        self.first = 0
        try:
            return super().__enter__()
        except BaseException:
            self.down()
            raise

    def __exit__(self, *_):
        super().__exit__()
        self.down()

    def down(self):
        self.compose("down", "-t", "1")

    def compose(self, *arguments):
        command = [*engine.compose_command(), "-p", self.project, "-f", "compose.yml", *arguments]
        engine.run(command, cwd=self.folder)
        labels = [f"com.docker.compose.project={self.project}"]
        self.replicas = [c["Id"] for c in engine.containers(labels) if c["State"] == "running"]
        self.done = time.monotonic()

    def up(self, *arguments):
        """Brings it up; returns the ids that are new."""
        before = set(self.replicas)
        self.compose("up", "-d", *arguments)
        return set(self.replicas) - before
