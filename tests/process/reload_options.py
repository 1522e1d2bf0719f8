"""What a running proxy takes over of its static configuration: every option of the table, the Docker
provider under load, and tracing."""

import copy
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[n]) for n in (0, 1)]
from reload import Configured

from harness import engine
from harness.checks import Checks, equal, eventually
from harness.collector import Collector
from harness.fake_engine import FakeEngine
from harness.proxy import Server, free_ports
from harness.web import Load

checks = Checks("reload options")
SETTINGS = Path(__file__).resolve().parents[2] / "src/settings"

# They say where something is, which has to be there.
PLACES = (
    "address", "entryPoint", "endpoint", "filename", "directory", "filePath", "storage", "resolvConfig", "ca", "cert",
    "key", "rootCAs", "caCertificates", "workloadAPIAddr",
)  # fmt: skip
# They are of use only with others beside them, which are looked at together.
SECTIONS = (
    "certificatesResolvers", "log.otlp", "accessLog.otlp", "accessLog.dualOutput", "metrics.otlp", "tracing.otlp",
    "providers.docker", "entryPoints.<name>.http.redirections",
)  # fmt: skip
# A second one of the same meaning, that is refused beside the first; and what would not wait for us.
TWINS = ("underscoreHeadersStrategy", "wharf.watch")
OTHERS = {
    "api.basePath": ("/a", "/b"),
    "ping.terminatingStatusCode": (500, 501),
    "accessLog.filters.statusCodes": (["404"], ["500-599"]),
}


def rows(name):
    lines = (SETTINGS / name).read_text().splitlines()[1:]
    return [line.split("\t") for line in lines]


def needs(path):
    """What the table says of an option: the longest rule that it begins with."""
    def covers(rule):
        parts = zip(rule.split("."), path.split("."), strict=False)
        return rule.count(".") <= path.count(".") and all(mine.startswith("<") or mine == its for mine, its in parts)

    how = max((rule for rule in rows("change.tsv") if covers(rule[0])), key=lambda rule: rule[0].count("."))[1]
    # Alone it waits for nothing.
    return "hot" if how == "with" else how


def values(kind, path):
    """Two values that an option takes."""
    if kind.startswith("enum("):
        return kind[5:-1].split(",")[:2]
    if path in OTHERS:
        return OTHERS[path]
    if path.endswith("IPs"):
        return ["10.0.0.1"], ["10.0.0.2"]
    if path.endswith("precedence"):
        return ["file", "docker"], ["docker", "file"]
    return {
        "bool": (True, False), "int": (7, 8), "float": (0.25, 0.5), "duration": ("7s", "8s"),
        "list": (["a"], ["b"]), "list of float": ([0.25, 0.5], [0.75]), "string": ("a", "b"),
    }.get(kind)  # fmt: skip


@checks("every option that changes is named, and in force at once or waiting for an upgrade as the table says")
def _(server):
    with Configured(server, "reload-options") as one:
        (free,) = free_ports(1)
        counts, odd = {"hot": 0, "upgrade": 0}, []
        for _state, path, kind, *_ in (row for row in rows("known.tsv") if row[0] == "built"):
            both = values(kind, path)
            if not both or "[n]" in path or path.startswith(SECTIONS) or path.rsplit(".", 1)[-1] in PLACES or path.endswith(TWINS):
                continue
            name = path.replace("<name>", "web" if path.startswith("entryPoints") else "x_name")
            before, found = one.settings, []
            for value in both:
                one.settings = copy.deepcopy(before)
                one.set(name, value)
                one.write()
                status, said = one.reload()
                # A section that is new and needs an upgrade is named as a whole.
                parts = name.split(".")
                is_named = any(f"`{'.'.join(parts[:length])}`" in said for length in range(1, len(parts) + 1))
                found.append((status, is_named, said))
            expected = needs(path)
            # What needs an upgrade stays as it is, which one of the two may be.
            wanted = {"hot": (0, True), "upgrade": (2, True)}[expected]
            looked_at = found[1:] if expected == "hot" else found
            if wanted not in [each[:2] for each in looked_at]:
                odd.append((name, found))
            counts[expected] += 1
            one.settings = before
            one.write()
            status, said = one.reload()
            if status != 0:
                odd.append((name, "not undone", status, said))
        equal(odd, [])
        equal(one.texts(), [])
        equal(one.ask("/").status, 200)
        one.change(**{"entryPoints.web.address": f"127.0.0.1:{free}"})
        equal(one.reload()[0], 2)
        assert counts["hot"] > 50 and counts["upgrade"] > 20, counts
        return f"{counts['hot']} at once, {counts['upgrade']} with an upgrade"


def container(there, server, name, n, **labels):
    own = {
        f"traefik.http.routers.{name}.rule": f"Host(`{name}.test`)",
        f"traefik.http.services.{name}.loadbalancer.server.port": str(server.port),
        **labels,
    }
    there.put(f"{name}{n}", own, f"127.0.1.{n}")


@checks("the Docker provider's options change under load: how labels are read, and where the engine is")
def _(_server):
    # A socket's path must stay short.
    paths = [f"/tmp/{engine.RUN}r{n}.sock" for n in range(2)]
    with Server("docked") as server, FakeEngine(paths[0]) as first, FakeEngine(paths[1]) as second:
        for there in (first, second):
            for n in (1, 2):
                container(there, server, "steady", n, **{"traefik.enable": "true", "team": "blue"})
            container(there, server, "shy", 3)
        container(second, server, "late", 4, **{"traefik.enable": "true", "team": "blue"})
        docker = {"endpoint": f"unix://{paths[0]}"}
        with Configured(server, "reload-docker", providers={"file": {"directory": "one"}, "docker": docker}) as one:
            def status(name):
                return one.ask("/", headers={"Host": f"{name}.test"}).status

            def served(name):
                # The file's router takes whatever no container wants.
                return f"{name}@docker" in [router["name"] for router in one.routers()]

            eventually(10, lambda: served("steady") and served("shy"))
            with Load("127.0.0.1", one.port, "/", threads=3, pause=0.005, name="steady.test") as load:
                one.change(**{"providers.docker.exposedByDefault": False})
                equal(one.reload()[0], 0)
                eventually(10, lambda: served("steady") and not served("shy"))
                one.change(**{"providers.docker.exposedByDefault": True, "providers.docker.constraints": "Label(`team`, `blue`)"})
                equal(one.reload()[0], 0)
                eventually(10, lambda: served("steady") and not served("shy"))
                one.change(**{"providers.docker.constraints": None})
                equal(one.reload()[0], 0)
                eventually(10, lambda: served("shy"))
                equal(first.asked["events"], 1, "connected once")
                # An engine that is not there takes nothing away.
                one.change(**{"providers.docker.endpoint": "unix:///nowhere/docker.sock"})
                equal(one.reload()[0], 0)
                eventually(10, lambda: any("nowhere" in str(problem) for problem in one.problems()))
                before = load.count()
                eventually(10, lambda: load.count() > before + 50)
                assert served("steady") and served("shy")
                one.change(**{"providers.docker.endpoint": f"unix://{paths[1]}"})
                equal(one.reload()[0], 0)
                eventually(20, lambda: served("late") and served("steady"))
            equal(load.failed(), [])
            equal({replica for replica in load.replicas()}, {"docked"})
            one.change(**{"providers.docker": None})
            equal(one.reload()[0], 0)
            eventually(10, lambda: not served("steady") and not served("late"))
            one.change(**{"providers.docker": {"endpoint": f"unix://{paths[0]}"}})
            equal(one.reload()[0], 0)
            eventually(20, lambda: served("steady") and status("steady") == 200)
            return f"{load.count()} requests"


@checks("tracing goes on, elsewhere and off while requests pass, and what was begun is told")
def _(server):
    with Collector() as first, Collector() as second, Configured(server, "reload-tracing") as one:
        def told(collector):
            return len(collector.spans)

        def tracing(collector):
            return {"otlp": {"http": {"endpoint": f"http://127.0.0.1:{collector.http}"}}}

        with Load("127.0.0.1", one.port, "/", threads=2, pause=0.01) as load:
            one.change(tracing=tracing(first))
            equal(one.reload()[0], 0)
            eventually(15, lambda: told(first) > 10)
            one.change(tracing=tracing(second))
            equal(one.reload()[0], 0)
            eventually(15, lambda: told(second) > 10)
            one.change(tracing=None)
            equal(one.reload()[0], 0)
            before = load.count()
            eventually(15, lambda: load.count() > before + 20)
        equal(load.failed(), [])
        equal(one.texts(), [])


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
