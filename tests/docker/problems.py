"""Bad labels: each is one clear problem with a mend, and everything else keeps serving."""

import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy

checks = Checks("problems")

ROUTER = "traefik.http.routers.bad.rule"
SERVICE = "traefik.http.services.bad.loadbalancer"
RULE = {ROUTER: "Host(`bad.test`)"}

# What is wrong, the labels, what the problem must name, what the mend must name.
CASES = [
    ("an unknown label", {"traefik.http.routers.bad.ruel": "Host(`bad.test`)"}, r"ruel", r"rule"),
    ("an unknown label of a service", {**RULE, f"{SERVICE}.server.prot": "80"}, r"prot", r"port"),
    ("a bad rule", {ROUTER: "Hots(`bad.test`)"}, r"Hots", r"Host"),
    ("a rule that ends too soon", {ROUTER: "Host(`bad.test`) &&"}, r"&&|EOF|end", r""),
    ("a bad port", {**RULE, f"{SERVICE}.server.port": "http"}, r"http", r"port|number|80"),
    ("a port out of range", {**RULE, f"{SERVICE}.server.port": "70000"}, r"70000", r"65535|port"),
    (
        "a bad duration",
        {**RULE, f"{SERVICE}.healthcheck.path": "/", f"{SERVICE}.healthcheck.interval": "10 secs"},
        r"10 secs",
        r"10s|duration",
    ),
    ("a bad boolean", {**RULE, f"{SERVICE}.passhostheader": "maybe"}, r"maybe", r"true"),
    ("an unreachable network", {**RULE, "traefik.docker.network": "nosuchnet"}, r"nosuchnet", r"network"),
    ("an unknown middleware", {**RULE, "traefik.http.routers.bad.middlewares": "nope"}, r"nope", r"middleware"),
    ("an unknown service", {**RULE, "traefik.http.routers.bad.service": "ghost"}, r"ghost", r"service"),
    ("an unknown entry point", {**RULE, "traefik.http.routers.bad.entrypoints": "wbe"}, r"wbe", r"web"),
    ("a resolver, which is not built yet", {**RULE, "traefik.http.routers.bad.tls.certresolver": "le"}, r"certresolver", r""),
    ("a tcp router, which is not built yet", {**RULE, "traefik.tcp.routers.t.rule": "HostSNI(`*`)"}, r"tcp", r""),
    ("a bad regular expression", {ROUTER: "HostRegexp(`(`)"}, r"\(", r""),
    ("a label of the wrong root's case", {"Traefik.http.routers.bad.rule": "Host(`bad.test`)"}, r"Traefik", r"traefik"),
    ("both roots with different values", {**RULE, "wharf.http.routers.bad.rule": "Host(`other.test`)"}, r"wharf", r""),
]


class Given:
    """A proxy of this machine, one good container, and a network for them."""

    def __enter__(self):
        engine.need()
        self.network = engine.Network("problems")
        self.network.__enter__()
        flags = [
            "--providers.docker=true",
            "--providers.docker.exposedByDefault=false",
            f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)",
        ]
        self.proxy = Proxy("problems", flags)
        self.good = self.start("good", {"traefik.http.routers.good.rule": "Host(`good.test`)"})
        self.proxy.routed("good.test")
        return self

    def start(self, name, labels):
        given = {"traefik.enable": "true", **labels}
        extra = {"ExposedPorts": {"8080/tcp": {}}}
        return engine.start(name, self.network.name, ["demo-server", "--name", name], given, extra)

    @contextmanager
    def running(self, name, labels):
        container = self.start(name, labels)
        try:
            yield container
        finally:
            engine.remove(container)

    def about(self, *containers):
        """The problems that name one of these containers."""
        ids = [container[:12] for container in containers]
        return [p for p in self.proxy.problems() if any(i in json.dumps(p) for i in ids)]

    def status(self, host):
        return self.proxy.ask(headers={"Host": host}).status

    def __exit__(self, *_):
        self.proxy.stop()
        engine.remove(self.good)
        self.network.__exit__()


def case(sentence, labels, names, mends):
    @checks(f"{sentence} is one problem with a mend, and the rest keeps serving")
    def _(given):
        with given.running("bad", labels) as bad:
            found = eventually(5, lambda: given.about(bad))
            equal(len(found), 1, json.dumps(found))
            (problem,) = found
            said = f"{problem['origin']} {problem.get('subject', '')} {problem['text']}"
            assert re.search(names, said), f"{names!r} is not in {problem}"
            assert problem.get("mend"), f"no mend: {problem}"
            assert re.search(mends, problem["mend"] + problem["text"]), f"{mends!r} is not in {problem}"
            equal(given.status("good.test"), 200)
            if "network" not in sentence:  # there the first network is used, as in Traefik
                assert given.status("bad.test") in (404, 503), "a container with a mistake is served"
        eventually(5, lambda: not given.about(bad))
        return problem["text"][:90]


for row in CASES:
    case(*row)


@checks("the same router on two unrelated containers stays with the first and is reported against the second")
def _(given):
    with given.running("one", {"traefik.http.routers.twice.rule": "Host(`twice.test`)"}) as one:
        given.proxy.routed("twice.test")
        with given.running("two", {"traefik.http.routers.twice.rule": "Host(`twice.test`) && Path(`/x`)"}) as two:
            (found,) = eventually(5, lambda: given.about(one, two))
            assert two[:12] in found["origin"] and found.get("mend"), found
            assert "container" in found["text"] and one[:12] in found["text"], found
            equal(given.status("twice.test"), 200)
            equal(given.status("good.test"), 200)
        eventually(5, lambda: not given.about(one, two))
        equal(given.status("twice.test"), 200)


@checks("a container without a port is named with what to write")
def _(given):
    labels = {"traefik.enable": "true", "traefik.http.routers.noport.rule": "Host(`noport.test`)"}
    container = engine.start("noport", given.network.name, ["demo-server"], labels)
    try:
        (problem,) = eventually(5, lambda: given.about(container))
        assert re.search(r"port", problem["text"]) and "loadbalancer.server.port" in problem["mend"], problem
    finally:
        engine.remove(container)


@checks("a bad label on a new version leaves the old, running one serving")
def _(given):
    def version(number, **more):
        return {
            "com.docker.compose.project": engine.RUN,
            "com.docker.compose.service": "shop",
            "com.docker.compose.config-hash": f"hash{number}",
            "traefik.http.routers.shop.rule": "Host(`shop.test`)",
            **more,
        }

    with given.running("shop1", version(1)):
        given.proxy.routed("shop.test")
        bad = version(2, **{"traefik.http.routers.shop.middelwares": "auth"})
        with given.running("shop2", bad) as second:
            eventually(5, lambda: given.about(second))
            for _turn in range(10):
                equal(given.status("shop.test"), 200)


@checks("no problem is left when all mistakes are gone")
def _(given):
    eventually(5, lambda: not [p for p in given.proxy.problems() if p["severity"] == "error"])


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
