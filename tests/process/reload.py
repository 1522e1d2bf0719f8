"""SIGHUP, `wharf reload` and a changed file: the static configuration is read again."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Process, Server, free_ports, fresh, listens, program
from harness.web import Load, ask

checks = Checks("reload")


def dynamic(server, path="/"):
    return f"""http:
  routers:
    app: {{ rule: "PathPrefix(`{path}`)", service: app, entryPoints: [web] }}
  services:
    app: {{ loadBalancer: {{ servers: [ {{ url: "{server.url}" }} ] }} }}
"""


class Configured(Process):
    """A proxy by a file."""

    def __init__(self, server, name="reload", default=False, **more):
        folder = fresh(name)
        self.port, self.api = free_ports(2)
        self.file = folder / ("wharf.json" if default else "static.json")
        for files in ("one", "two"):
            (folder / files).mkdir()
            (folder / files / "app.yml").write_text(dynamic(server))
        self.settings = {
            "log": {"level": "INFO"},
            "api": {"insecure": True},
            "ping": {},
            "metrics": {"prometheus": {}},
            "providers": {"file": {"directory": "one"}},
            "wharf": {"watch": False},
            "entryPoints": {
                "web": {"address": f"127.0.0.1:{self.port}"},
                "traefik": {"address": f"127.0.0.1:{self.api}"},
            },
        }
        for path, value in more.items():
            self.set(path, value)
        self.write()
        arguments = [] if default else [f"--configFile={self.path}"]
        super().__init__([program(), *arguments], name, cwd=folder)
        try:
            eventually(10, lambda: self.child.poll() is not None or listens(self.api) and listens(self.port))
            eventually(10, lambda: self.ask("/").status == 200)
        except BaseException:
            self.stop()
            raise

    @property
    def path(self):
        return self.file.with_suffix(".yml")

    def set(self, path, value):
        """Sets an option in what will be written; `None` takes it out."""
        *above, last = path.split(".")
        place = self.settings
        for key in above:
            place = place.setdefault(key, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value

    def write(self):
        # JSON is YAML.
        self.path.write_text(json.dumps(self.settings, indent=1))

    def change(self, **options):
        for path, value in options.items():
            self.set(path, value)
        self.write()

    def reload(self):
        """`wharf reload`: its status, and what it said."""
        done = subprocess.run([program(), "reload", f"--pid={self.child.pid}"], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def ask(self, path="/", **more):
        return ask("127.0.0.1", self.port, path, **more)

    def problems(self):
        return ask("127.0.0.1", self.api, "/api/wharf/problems").json

    def routers(self):
        return ask("127.0.0.1", self.api, "/api/http/routers?per_page=1000").json

    def metrics(self):
        return ask("127.0.0.1", self.api, "/metrics").text

    def texts(self):
        return [problem["text"] for problem in self.problems()]


@checks("the log's level, format and file change with SIGHUP")
def _(server):
    with Configured(server) as one:
        one.change(**{"log.level": "DEBUG", "log.format": "json", "log.filePath": "wharf.log"})
        one.signal(signal.SIGHUP)
        log = one.folder / "wharf.log"
        eventually(10, lambda: log.exists() and "`log.level`: INFO -> DEBUG" in log.read_text())
        for line in log.read_text().splitlines():
            assert json.loads(line)["level"] in ("info", "debug", "warn"), line
        one.change(**{"log.level": "ERROR", "log.filePath": None})
        equal(one.reload()[0], 0)
        length = log.stat().st_size
        equal(one.reload(), (0, "nothing has changed\n"))
        equal(log.stat().st_size, length)


@checks("the access log goes on, off and elsewhere under load: a request is logged once or not at all")
def _(server):
    with Configured(server) as one:
        files = [one.folder / "a.log", one.folder / "b.log"]
        turns = [
            {"accessLog": {"filePath": "a.log", "format": "json"}},
            {"accessLog": {"filePath": "b.log", "format": "json", "filters": {"statusCodes": ["200-299"]}}},
            {"accessLog": None},
            {"accessLog": {"filePath": "a.log", "format": "json", "fields": {"headers": {"defaultMode": "keep"}}}},
        ]
        asked, number = [0], itertools.count()
        ending = threading.Event()

        def work():
            failures = []
            while not ending.is_set():
                path = f"/?n={next(number)}"
                answer = one.ask(path)
                asked[0] += 1
                if answer.status != 200:
                    failures.append((path, answer.status))
            return failures

        with ThreadPoolExecutor(3) as pool:
            workers = [pool.submit(work) for _ in range(3)]
            try:
                for turn in turns * 3:
                    one.change(**turn)
                    equal(one.reload()[0], 0)
                    before = asked[0]
                    eventually(20, lambda before=before: asked[0] > before + 20)
                last = asked[0]
                eventually(20, lambda: asked[0] > last + 20)
            finally:
                ending.set()
            failures = [worker.result() for worker in workers]
        equal(failures, [[], [], []])
        one.signal(signal.SIGTERM)
        equal(one.ended(15), 0)
        seen = []
        for file in files:
            for line in file.read_text().splitlines():
                entry = json.loads(line)
                equal(entry["DownstreamStatus"], 200)
                found = re.fullmatch(r"/\?n=(\d+)", entry["RequestPath"])
                assert found, line
                seen.append(int(found[1]))
        equal(len(seen), len(set(seen)), "logged twice")
        assert 100 < len(seen) < asked[0], (len(seen), asked[0])
        return f"{len(seen)} lines of {asked[0]} requests"


@checks("other buckets begin anew while counters go on; series are switched on and off")
def _(server):
    def value(text, start):
        lines = [line for line in text.splitlines() if line.startswith(start)]
        return float(lines[0].rsplit(" ", 1)[1]) if lines else None

    labels = '{code="200",method="GET",protocol="http",entrypoint="web"'
    with Configured(server) as one:
        for _turn in range(5):
            one.ask("/")
        counted = eventually(5, lambda: value(one.metrics(), f"traefik_entrypoint_requests_total{labels}"))
        assert counted >= 5, counted
        one.change(**{"metrics.prometheus.buckets": [0.25, 7], "metrics.prometheus.addRoutersLabels": False})
        equal(one.reload()[0], 0)
        one.ask("/")
        text = eventually(5, lambda: (text := one.metrics()) and 'le="0.25"' in text and text)
        assert 'le="0.1"' not in text and 'le="7"' in text, text
        equal(value(text, f"traefik_entrypoint_requests_total{labels}"), counted + 1)
        equal(value(text, f"traefik_entrypoint_request_duration_seconds_count{labels}"), 1)
        assert "traefik_router_requests_total{" not in text
        one.change(**{"metrics.prometheus": {"addRoutersLabels": True, "headerLabels": {"team": "X-Team"}}})
        equal(one.reload()[0], 0)
        one.ask("/", headers={"X-Team": "blue"})
        eventually(5, lambda: 'team="blue"' in one.metrics())
        one.change(**{"metrics": None})
        equal(one.reload()[0], 0)
        eventually(5, lambda: "traefik_" not in one.metrics())


@checks("metrics that were off at the start count from the moment they are on")
def _(server):
    with Configured(server, metrics=None) as one:
        one.change(**{"metrics": {"prometheus": {}}})
        equal(one.reload()[0], 0)
        eventually(5, lambda: ask("127.0.0.1", one.api, "/metrics").status == 200)
        with Load("127.0.0.1", one.port, "/", threads=1, pause=0.02) as load:
            eventually(10, lambda: 'traefik_router_requests_total{code="200"' in one.metrics())
            eventually(10, lambda: 'traefik_entrypoint_requests_total{code="200"' in one.metrics())
        equal(load.failed(), [])


@checks("another folder of files is taken over without a failed request, and so is none and one again")
def _(server):
    with Configured(server) as one:
        with Load("127.0.0.1", one.port, "/", threads=3, pause=0.005) as load:
            for folder in ("two", "one", "missing", "two"):
                one.change(**{"providers.file.directory": folder})
                equal(one.reload()[0], 0)
                if folder == "missing":
                    eventually(10, lambda: any("missing" in json.dumps(problem) for problem in one.problems()))
                before = load.count()
                eventually(10, lambda before=before: load.count() > before + 50)
            # It is the new folder that is followed.
            (one.folder / "two" / "more.yml").write_text('http: {routers: {more: {rule: "Path(`/more`)", priority: 99, service: noop@internal}}}')
            eventually(10, lambda: one.ask("/more").status == 418)
        equal(load.failed(), [])
        one.change(**{"providers.file": None})
        equal(one.reload()[0], 0)
        eventually(5, lambda: one.ask("/").status == 404)
        one.change(**{"providers.file": {"directory": "one"}})
        equal(one.reload()[0], 0)
        eventually(5, lambda: one.ask("/").status == 200)
        return f"{load.count()} requests"


@checks("API, dashboard, ping, middlewares of entry points and transports change")
def _(server):
    with Configured(server) as one:
        equal(ask("127.0.0.1", one.api, "/dashboard/").status, 200)
        one.change(
            **{
                "api": {"insecure": True, "dashboard": False, "debug": True},
                "ping.terminatingStatusCode": 599,
                "entryPoints.web.http": {"middlewares": ["tagged@file"]},
                "serversTransport": {"forwardingTimeouts": {"responseHeaderTimeout": "300ms"}},
            }
        )
        (one.folder / "one" / "more.yml").write_text(
            'http: {middlewares: {tagged: {headers: {customResponseHeaders: {X-Tagged: "yes"}}}}}'
        )
        status, said = one.reload()
        equal(status, 0, said)
        eventually(5, lambda: ask("127.0.0.1", one.api, "/dashboard/").status == 404)
        eventually(5, lambda: ask("127.0.0.1", one.api, "/debug/vars").status == 200)
        eventually(5, lambda: one.ask("/").header("x-tagged") == "yes")
        eventually(10, lambda: one.ask("/slow?ms=2000").status == 504)
        one.change(**{"api": None, "ping": None})
        equal(one.reload()[0], 0)
        eventually(5, lambda: ask("127.0.0.1", one.api, "/ping").status == 404)
        equal(ask("127.0.0.1", one.api, "/api/version").status, 404)


@checks("with a mistake nothing changes, and the mistake is shown until it is mended")
def _(server):
    with Configured(server) as one:
        one.change(**{"log.level": "DEBUG", "log.lewel": "x", "entryPoints.web.adress": ":1"})
        status, said = one.reload()
        equal(status, 1)
        for word in ("lewel", "adress", str(one.path), "what was in force stays"):
            assert word in said, said
        eventually(5, lambda: len([text for text in one.texts() if "lewel" in text or "adress" in text]) == 2)
        assert "lewel" in one.log and "adress" in one.log, one.log
        one.change(**{"log.lewel": None, "entryPoints.web.adress": None, "log.level": "loud"})
        status, said = one.reload()
        equal(status, 1)
        assert "no log level" in said, said
        eventually(5, lambda: any("loud" in text for text in one.texts()))
        one.change(**{"log.level": "DEBUG"})
        equal(one.reload(), (0, "`log.level`: INFO -> DEBUG\n"))
        eventually(5, lambda: one.texts() == [])
        equal(one.ask("/").status, 200)


@checks("a file that changes is taken over without a signal, if that is not switched off")
def _(server):
    with Configured(server, wharf={"watch": True}) as one:
        one.change(**{"log.level": "DEBUG"})
        eventually(15, lambda: "`log.level`: INFO -> DEBUG" in one.log)
        new = one.folder / "new.yml"
        one.set("accessLog", {})
        new.write_text(json.dumps(one.settings))
        new.rename(one.path)
        eventually(15, lambda: '"GET /seen HTTP/1.1" 200' in one.log or not one.ask("/seen"))
        one.path.write_text("log: [")
        eventually(15, lambda: any(str(one.path) in json.dumps(problem) for problem in one.problems()))
        one.change(**{"wharf.watch": False})
        eventually(15, lambda: one.texts() == [])
        one.change(**{"log.level": "INFO"})
        # The signal is heard all the same.
        one.signal(signal.SIGHUP)
        eventually(10, lambda: "`log.level`: DEBUG -> INFO" in one.log)


@checks("a file in a default place that goes, or another that comes before it, changes nothing")
def _(server):
    with Configured(server, name="reload-place", default=True, wharf={"watch": True}) as one:
        text = one.path.read_text()
        one.path.unlink()
        eventually(15, lambda: any("can't be read any more" in text for text in one.texts()))
        status, said = one.reload()
        equal(status, 1, said)
        assert "wharf.yml" in said and "what was in force stays" in said, said
        equal(one.ask("/").status, 200)
        # It comes again, by way of an empty file, and is followed as before.
        one.path.write_text("")
        one.path.write_text(text)
        eventually(15, lambda: one.texts() == [])
        other = one.path.with_suffix(".toml")
        other.write_text("[log]")
        status, said = one.reload()
        equal(status, 1, said)
        assert "no longer what is read first" in said and "wharf.toml" in said, said
        equal(one.ask("/").status, 200)
        other.unlink()
        one.change(**{"log.level": "DEBUG"})
        eventually(15, lambda: "`log.level`: INFO -> DEBUG" in one.log)
        # Whoever opens a pipe waits for who writes to it.
        one.path.unlink()
        os.mkfifo(one.path)
        status, said = one.reload()
        equal(status, 1, said)
        assert "no regular file" in said, said
        eventually(15, lambda: any("no regular file" in text for text in one.texts()))
        equal(one.ask("/").status, 200)


@checks("what needs an upgrade is named, shown, and gone with the upgrade")
def _(server):
    with Configured(server) as one:
        (other,) = free_ports(1)
        one.change(**{"entryPoints.web.address": f"127.0.0.1:{other}", "log.level": "DEBUG", "wharf.workers": 1})
        status, said = one.reload()
        equal(status, 2, said)
        assert "`log.level`: INFO -> DEBUG" in said, said
        for option in (f"`entryPoints.web.address` has changed (127.0.0.1:{one.port} -> 127.0.0.1:{other})", "`wharf.workers`"):
            assert option in said and option in one.log, (option, said)
        eventually(5, lambda: len([text for text in one.texts() if "needs a new process" in text]) == 2)
        assert all("wharf upgrade" in problem["mend"] for problem in one.problems())
        equal(one.ask("/").status, 200)
        one.change(**{"wharf.workers": None})
        equal(one.reload()[0], 2)
        eventually(5, lambda: len([text for text in one.texts() if "needs a new process" in text]) == 1)
        done = subprocess.run([program(), "upgrade", f"--pid={one.child.pid}"], capture_output=True, text=True, timeout=120)
        equal(done.returncode, 0, done.stderr)
        new = int(re.match(r"process (\d+) serves", done.stdout)[1])
        try:
            eventually(10, lambda: ask("127.0.0.1", other, "/").status == 200)
            equal(one.ended(15), 0)
            equal(one.texts(), [])
            done = subprocess.run([program(), "reload", f"--pid={new}"], capture_output=True, text=True, timeout=60)
            equal((done.returncode, done.stdout), (0, "nothing has changed\n"), done.stderr)
        finally:
            os.kill(new, signal.SIGTERM)
            eventually(20, lambda: not Path(f"/proc/{new}").exists() or "Z" in Path(f"/proc/{new}/stat").read_text().split()[2])


@checks("`wharf reload` says what it can't ask")
def _(_server):
    for argument, words in [("--pid=x", "no process id"), ("--pid=4194300", "there is no process"), ("--now", "--pid=NUMBER")]:
        done = subprocess.run([program(), "reload", argument], capture_output=True, text=True, timeout=60)
        equal(done.returncode, 1)
        assert words in done.stderr, (argument, done.stderr)


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
