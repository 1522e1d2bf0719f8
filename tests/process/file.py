"""The file provider: reload, and one bad field that leaves out only its own."""

import re
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server

checks = Checks("file")

GOOD = """http:
  routers:
    good:
      rule: "Host(`good.test`)"
      service: app
{more_routers}
  services:
    app:
      loadBalancer:
        servers:
          - url: "{url}"
{more}
"""


def text(server, more_routers="", more=""):
    return GOOD.format(url=server.url, more_routers=more_routers, more=more)


def status(proxy, host):
    return proxy.ask(headers={"Host": host}).status


def one_problem(proxy, pattern):
    """Exactly one problem like this, with file, line and a mend."""
    def found():
        return [p for p in proxy.problems() if re.search(pattern, f"{p['text']} {p['origin']} {p.get('subject', '')}")]

    all_found = eventually(5, found)
    equal(len(all_found), 1, str(all_found))
    assert re.search(r"dynamic\.(yml|toml):\d+", all_found[0]["origin"]), all_found
    return all_found[0]


@checks("a changed file is served within two seconds, without a failed request")
def _(_none):
    with Server("one") as one, Server("two") as two, Proxy("reload", dynamic=text(one)) as proxy:
        proxy.routed("good.test")
        proxy.file.write_text(text(two))
        eventually(2, lambda: proxy.ask(headers={"Host": "good.test"}).header("x-replica") == "two")
        replaced = proxy.file.with_suffix(".new")
        replaced.write_text(text(one))
        replaced.rename(proxy.file)  # as editors do
        eventually(2, lambda: proxy.ask(headers={"Host": "good.test"}).header("x-replica") == "one")


@checks("bad YAML is one problem with its line, and the last good file goes on serving")
def _(_none):
    with Server("app") as app, Proxy("bad-yaml", dynamic=text(app)) as proxy:
        proxy.routed("good.test")
        proxy.file.write_text(text(app) + "\n  oops: [\n")
        problem = one_problem(proxy, r"dynamic\.yml")
        assert problem.get("mend"), problem
        equal(status(proxy, "good.test"), 200)
        proxy.file.write_text(text(app))
        eventually(5, lambda: not proxy.problems())


@checks("each bad field leaves out its own router, and names it with a mend")
def _(_none):
    cases = {
        "unknown-key": ('      ruel: "Host(`bad.test`)"', "ruel"),
        "bad rule": ('      rule: "Hots(`bad.test`)"\n      service: app', "Hots"),
        "bad priority": ('      rule: "Host(`bad.test`)"\n      service: app\n      priority: high', "high"),
        "unknown middleware": ('      rule: "Host(`bad.test`)"\n      service: app\n      middlewares: [nope]', "nope"),
        "unknown service": ('      rule: "Host(`bad.test`)"\n      service: ghost', "ghost"),
    }
    with Server("app") as app, Proxy("bad-field", dynamic=text(app)) as proxy:
        proxy.routed("good.test")
        for name, (lines, value) in cases.items():
            proxy.file.write_text(text(app, f"    bad:\n{lines}"))
            problem = one_problem(proxy, re.escape(value))
            assert problem.get("mend"), f"{name}: {problem}"
            equal((status(proxy, "good.test"), status(proxy, "bad.test")), (200, 404), name)


@checks("a hostname as server URL is resolved")
def _(_none):
    with Server("app") as app:
        named = text(app).replace("127.0.0.1", "localhost")
        with Proxy("hostname", dynamic=named) as proxy:
            proxy.routed("good.test")


@checks("h2c servers are spoken to in HTTP/2, gRPC passes with its trailers")
def _(_none):
    with Server("grpc", "--h2c") as app:
        over = text(app).replace("http://127", "h2c://127")
        with Proxy("h2c", dynamic=over) as proxy:
            proxy.routed("good.test")
            seen = proxy.ask(headers={"Host": "good.test"}).json
            equal(seen["protocol"], "HTTP/2.0")


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
