"""A server that fails where the other of its service does not: left alone for a time, and seen."""

import json
import sys
import threading
import time
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy
from harness.web import ask

checks = Checks("ejection")


class Fixed(ThreadingHTTPServer):
    """Answers every request with one status."""

    def __init__(self, status):
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.seen += 1
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def dynamic(servers, **more):
    balancer = {"servers": [{"url": server.url} for server in servers], **more}
    router = {"rule": "PathPrefix(`/`)", "service": "web"}
    return json.dumps({"http": {"routers": {"web": router}, "services": {"web": {"loadBalancer": balancer}}}})


class Shown(Proxy):
    def __init__(self, name, *servers, flags=(), **more):
        super().__init__(name, flags=["--metrics.prometheus=true", *flags], dynamic=dynamic(servers, **more))

    def states(self):
        replicas = self.get("/api/wharf/replicas").get("web@file", [])
        return {replica["url"]: replica for replica in replicas}

    def page(self, path):
        return ask("127.0.0.1", self.api, path).text


@checks("it gets no requests for a time; state, reason, time and count are shown")
def _(_none):
    with Fixed(200) as well, Fixed(500) as sick, Shown("ejected", well, sick) as proxy:
        eventually(10, lambda: proxy.ask("/").status == 200)

        def is_out():
            proxy.ask("/")
            return proxy.states()[sick.url]["state"] == "ejected"

        eventually(20, is_out)
        replica = proxy.states()[sick.url]
        assert "of its requests failed" in replica["reason"], replica
        last = replica["changes"][-1]
        equal((last["from"], last["to"], last["reason"]), ("ready", "ejected", replica["reason"]))
        assert last["at"], last
        equal(proxy.states()[well.url]["state"], "ready")

        seen = sick.seen
        for _n in range(20):
            # It comes back after ten seconds at the earliest.
            status = proxy.ask("/").status
            assert status == 200 or proxy.states()[sick.url]["state"] == "ready", status
        assert sick.seen == seen or len(proxy.states()[sick.url]["changes"]) > 1, sick.seen

        metrics = proxy.page("/metrics").splitlines()
        assert 'wharf_ejections_total{service="web@file"} 1' in metrics, metrics
        states = [line for line in metrics if line.startswith("wharf_server_state{") and sick.url in line]
        equal(len(states), 1)
        assert 'state="ejected"' in states[0] or 'state="ready"' in states[0], states
        assert "its last changes" in proxy.page("/dashboard/services/web@file")


@checks("switched off in its file or for all, it keeps its share")
def _(_none):
    for flags, more in ([], {"outlierEjection": False}), (["--wharf.outlierEjection=false"], {}):
        with Fixed(200) as well, Fixed(500) as sick, Shown("kept", well, sick, flags=flags, **more) as proxy:
            eventually(10, lambda: proxy.ask("/").status == 200)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                proxy.ask("/")
            equal(proxy.states()[sick.url]["changes"], [])


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
