"""Services of services: mirrors, fallbacks, health that goes up, middlewares of their own."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server, free_ports
from harness.web import ask

checks = Checks("services")

CHECK = {"path": "/", "interval": "100ms", "timeout": "5s"}


def balancer(url, **more):
    return {"loadBalancer": {"servers": [{"url": url}], **more}}


def dynamic(services, **more):
    """Each service behind a path of its own name."""
    routers = {name: {"rule": f"PathPrefix(`/{name}`)", "service": name} for name in services}
    return json.dumps({"http": {"routers": routers, "services": services, **more}})


def replica(proxy, path):
    return proxy.ask(path).header("x-replica")


def requests(proxy, service):
    """Requests that were counted for a service."""
    lines = proxy.ask_api("/metrics").text.splitlines()
    ours = [line for line in lines if line.startswith("traefik_service_requests_total") and f'"{service}@file"' in line]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in ours)


class Counted(Proxy):
    """A proxy with metrics."""

    def __init__(self, name, services, **more):
        super().__init__(name, flags=["--metrics.prometheus=true"], dynamic=dynamic(services, **more))

    def ask_api(self, path):
        return ask("127.0.0.1", self.api, path)


@checks("a mirror gets its percentage, and its death costs the client nothing")
def _(_none):
    with Server("main") as main, Server("mirror") as mirror:
        (dead,) = free_ports(1)
        services = {
            "main": balancer(main.url),
            "mirror": balancer(mirror.url),
            "dead": balancer(f"http://127.0.0.1:{dead}"),
            "copied": {
                "mirroring": {
                    "service": "main",
                    "mirrors": [{"name": "mirror", "percent": 20}, {"name": "dead", "percent": 100}],
                }
            },
        }
        with Counted("mirrors", services) as proxy:
            eventually(5, lambda: replica(proxy, "/main"))
            for _n in range(50):
                equal(replica(proxy, "/copied"), "main")
            eventually(5, lambda: requests(proxy, "mirror") == 10)
            eventually(5, lambda: requests(proxy, "dead") == 50)


@checks("a fallback serves while the first is down, also for the service above")
def _(_none):
    with Server("second") as second:
        first = Server("first")
        services = {
            "first": balancer(first.url, healthCheck=CHECK),
            "second": balancer(second.url, healthCheck=CHECK),
            "pair": {"failover": {"service": "first", "fallback": "second", "healthCheck": {}}},
            "above": {"weighted": {"services": [{"name": "pair"}], "healthCheck": {}}},
        }
        with Counted("failover", services) as proxy:
            try:
                eventually(5, lambda: replica(proxy, "/above") == "first")
            finally:
                first.stop()
            eventually(10, lambda: replica(proxy, "/pair") == "second")
            equal(replica(proxy, "/above"), "second")
            down = lambda: proxy.get("/api/http/services/first@file")["serverStatus"]
            eventually(10, lambda: list(down().values()) == ["DOWN"])


@checks("a service's own middlewares act for a router, and for a service above")
def _(_none):
    with Server("app") as app:
        services = {
            "own": {"middlewares": ["mark"], **balancer(app.url)},
            "above": {"weighted": {"services": [{"name": "own"}]}},
        }
        mark = {"mark": {"headers": {"customResponseHeaders": {"X-Mark": "yes"}}}}
        with Counted("own-middlewares", services, middlewares=mark) as proxy:
            eventually(5, lambda: replica(proxy, "/own"))
            for path in ("/own", "/above"):
                equal(proxy.ask(path).header("x-mark"), "yes")


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
