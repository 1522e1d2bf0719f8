"""What one container's labels do to others: nothing, unless the rules of precedence say so, and then it is told.

One project is under load throughout. Others come with hostile labels, one after the other; each has
its problem, and every answer to the load is the first project's."""

import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, equal, eventually
from harness.load import Load
from harness.proxy import Proxy

checks = Checks("blast_radius")

ROUTERS = "traefik.http.routers"
SERVICES = "traefik.http.services"
MIDDLEWARES = "traefik.http.middlewares"
FRONT = f"{MIDDLEWARES}.front.headers.customresponseheaders.X-Front"
HOST = "shop.test"

# What the first project says.
SHOP = {
    f"{ROUTERS}.shop.rule": f"Host(`{HOST}`)",
    f"{ROUTERS}.shop.middlewares": "front",
    f"{ROUTERS}.shop.service": "shop",
    f"{SERVICES}.shop.loadbalancer.server.port": "8080",
    FRONT: "shop",
}
OWN = {f"{ROUTERS}.own.rule": "Host(`own.test`)"}


def rules(count, rule):
    return {f"{ROUTERS}.r{n}.rule": rule for n in range(count)}


# What the labels do, the labels, what the problem says.
OFFENCES = [
    ("define its router otherwise", {f"{ROUTERS}.shop.rule": f"Host(`{HOST}`) && PathPrefix(`/`)"}, "who came first, keeps it"),
    (
        "define its service otherwise",
        {**OWN, f"{ROUTERS}.own.service": "shop", f"{SERVICES}.shop.loadbalancer.server.port": "8080", f"{SERVICES}.shop.loadbalancer.passhostheader": "false"},
        "HTTP service defined multiple times.*who came first, keeps it",
    ),
    ("define its middleware otherwise", {**OWN, f"{ROUTERS}.own.middlewares": "front", FRONT: "thief"}, "HTTP middleware defined multiple times.*who came first, keeps it"),
    ("claim its rule under a name that sorts first", {f"{ROUTERS}.aaa.rule": f"Host(`{HOST}`)"}, "never answers: same rule and priority as router shop@docker"),
    ("are a rule of 60,000 bytes", {f"{ROUTERS}.big.rule": " || ".join(["Host(`x.test`)"] * 3300)}, "longer than 16384 bytes"),
    ("are rules of 80,000 bytes", rules(8, " || ".join(f"Host(`h{n}.test`)" for n in range(500))), "bytes together"),
    ("are 1,500 routers", rules(1500, "Host(`many.test`)"), "more than 1024 labels"),
    ("are nested 5,000 deep", {f"{ROUTERS}.deep.rule": "(" * 5000 + "Host(`a`)" + ")" * 5000}, "nested parentheses"),
    ("are a regular expression that takes seconds to compile", {f"{ROUTERS}.slow.rule": "PathRegexp(`(?i)" + r"[a-\x{10ffff}]" * 250 + "`)"}, "beyond ASCII|they weigh"),
    ("are 300 regular expressions that take long", rules(300, "PathRegexp(`[a-z]{900}`)"), "they weigh"),
    ("are a regular expression of a million states", {f"{ROUTERS}.wide.rule": "PathRegexp(`((a{60}){60}){60}`)"}, "nests too deeply or repeats too often"),
    (
        "are middlewares that go round",
        {**OWN, f"{ROUTERS}.own.middlewares": "a", f"{MIDDLEWARES}.a.chain.middlewares": "b", f"{MIDDLEWARES}.b.chain.middlewares": "a"},
        "recursion detected",
    ),
    ("ask for 300 certificates", {**rules(300, "Host(`c.test`)"), **{f"{ROUTERS}.r{n}.tls.certresolver": "le" for n in range(300)}}, "300 certificates"),
    ("hold control characters", {**OWN, f"{ROUTERS}.x\u0007y.rule": "Host(`bell.test`)"}, "invalid element"),
]


class Given:
    """A proxy of this machine and the first project under load."""

    def __enter__(self):
        engine.need()
        self.network = engine.Network("blast")
        self.network.__enter__()
        self.proxy = Proxy(
            "blast",
            [
                "--providers.docker=true",
                "--providers.docker.exposedByDefault=false",
                f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)",
            ],
        )
        self.shop = self.start("shop", SHOP)
        self.proxy.routed(HOST)
        self.router = self.proxy.get("/api/http/routers/shop@docker")
        self.load = Load(self.proxy.port, HOST, {"GET": 30, "POST": 0, "SLOW": 0, "STREAM": 0, "WS": 0})
        self.load.__enter__()
        return self

    def start(self, project, labels, name=None):
        """A container of a Compose project's only service."""
        name = name or project
        given = {
            "traefik.enable": "true",
            "com.docker.compose.project": project,
            "com.docker.compose.service": "app",
            "com.docker.compose.config-hash": "1",
            **labels,
        }
        command = ["demo-server", "--name", name, "--replica", name]
        return engine.start(name, self.network.name, command, given, {"ExposedPorts": {"8080/tcp": {}}})

    @contextmanager
    def running(self, project, labels, name=None):
        container = self.start(project, labels, name)
        try:
            yield container
        finally:
            engine.remove(container)
            eventually(15, lambda: not self.about(container))

    def about(self, container):
        """The problems that name this container."""
        return [p for p in self.proxy.problems() if container[:12] in json.dumps(p)]

    def told(self, container, text):
        def find():
            return [p for p in self.about(container) if re.search(text, p["text"]) and container[:12] in p["origin"]]

        found = eventually(10, find)
        assert all(p.get("mend") for p in found), found
        return found

    def is_unharmed(self):
        """After this many more answers: all were the first project's, and its router is as it was."""
        count = self.load.count() + 10
        eventually(20, lambda: self.load.count() >= count)
        equal(self.load.failed(), [])
        equal({name for name in self.load.replicas() if not name.startswith("shop")}, set())
        equal(self.proxy.get("/api/http/routers/shop@docker"), self.router)
        answer = self.proxy.ask(headers={"Host": HOST})
        equal((answer.status, answer.header("x-front")), (200, "shop"))

    def __exit__(self, *_):
        self.load.__exit__()
        self.proxy.stop()
        engine.remove(self.shop)
        self.network.__exit__()


def offence(sentence, labels, text):
    @checks(f"labels that {sentence} are a problem of their container and change nothing else")
    def _(given):
        with given.running("thief", labels) as thief:
            found = given.told(thief, text)
            given.is_unharmed()
        return found[0]["text"][:90]


for row in OFFENCES:
    offence(*row)


@checks("a claimant that restarts gets neither the name nor the route")
def _(given):
    claims = {f"{ROUTERS}.shop.rule": f"Host(`{HOST}`) && Path(`/`)", f"{ROUTERS}.aaa.rule": f"Host(`{HOST}`)"}
    with given.running("thief", claims) as thief:
        given.told(thief, "who came first, keeps it")
        engine.call("POST", f"/containers/{thief}/restart", query={"t": "0"})
        given.told(thief, "who came first, keeps it")
        given.told(thief, "never answers")
        given.is_unharmed()


@checks("an owner that is recreated keeps its name and its route, while others wait for them")
def _(given):
    claims = {f"{ROUTERS}.shop.rule": f"Host(`{HOST}`) && Path(`/`)", f"{ROUTERS}.aaa.rule": f"Host(`{HOST}`)"}
    with given.running("thief", claims) as thief:
        given.told(thief, "who came first, keeps it")
        count = given.load.count()
        engine.remove(given.shop)
        given.shop = given.start("shop", SHOP, "shop-2")
        eventually(20, lambda: "shop-2" in given.load.replicas())
        given.told(thief, "never answers: same rule and priority as router shop@docker")
        given.is_unharmed()
        return f"{given.load.count() - count} requests meanwhile"


@checks("who takes requests by a higher priority gets them, and is told to both")
def _(given):
    with given.running("first", {f"{ROUTERS}.first.rule": "Host(`both.test`)"}) as first:
        given.proxy.routed("both.test")
        for labels in (
            {f"{ROUTERS}.over.rule": "Host(`both.test`) || Host(`both.test`)"},
            {f"{ROUTERS}.over.rule": "PathPrefix(`/`) && !Host(`shop.test`)", f"{ROUTERS}.over.priority": "9999"},
        ):
            with given.running("over", labels) as over:
                (found,) = given.told(over, "takes (all )?requests of router first@docker")
                assert first[:12] in found["text"] and found["also"] == "router first@docker", found
                eventually(5, lambda: given.proxy.ask(headers={"Host": "both.test"}).header("x-replica") == "over")
                page = given.proxy.get_text("/dashboard/routers/first@docker")
                assert "over@docker" in page, "the owner's page does not tell"
            eventually(15, lambda: given.proxy.ask(headers={"Host": "both.test"}).header("x-replica") == "first")
    given.is_unharmed()


@checks("no answer to the load failed or came from anybody else")
def _(given):
    given.is_unharmed()
    equal({p["severity"] for p in given.proxy.problems()} - {"warning"}, set())
    waits = [result.wait for result in given.load.all()]
    return f"{len(waits)} requests, the longest waited {max(waits):.2f} s"


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
