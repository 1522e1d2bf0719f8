"""The four queries of MusicShare's dashboard, answered by a real Prometheus."""

import json
import os
import shutil
import sys
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, Skip, equal, eventually
from harness.proxy import Process, fresh, free_ports
from harness.web import ask

checks = Checks("prometheus")


def queries():
    """The queries as they stand in the example's Grafana dashboard."""
    path = engine.ROOT / "examples/musicshare/monitoring/grafana/dashboards/musicshare.json"
    return [panel["targets"][0]["expr"] for panel in json.loads(path.read_text())["panels"]]


class Given(engine.Project):
    """MusicShare with a Prometheus that scrapes it each second."""

    def __enter__(self):
        program = shutil.which("prometheus")
        if not program:
            raise Skip("no prometheus installed")
        super().__enter__()
        (self.port,) = free_ports(1)
        folder = fresh("prometheus")
        target = f"{self.host}:8080"
        (folder / "prometheus.yml").write_text(
            f"global: {{ scrape_interval: 1s }}\n"
            f"scrape_configs: [ {{ job_name: wharf, static_configs: [ {{ targets: ['{target}'] }} ] }} ]\n"
        )
        command = [program, "--config.file=prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command.append(f"--web.listen-address=127.0.0.1:{self.port}")
        self.prometheus = Process(command, "prometheus-server", cwd=folder)
        self.began = time.time()
        return self

    def __exit__(self, *what):
        if hasattr(self, "prometheus"):
            self.prometheus.stop()
        super().__exit__(*what)

    def query(self, text):
        answer = ask("127.0.0.1", self.port, f"/api/v1/query?{urllib.parse.urlencode({'query': text})}").json
        assert answer["status"] == "success", answer
        return {tuple(sorted(r["metric"].items())): float(r["value"][1]) for r in answer["data"]["result"]}

    def burst(self):
        """40 good requests to users, 20 to music of which 5 fail, 10 slow ones (0.4 s) to social."""
        for n in range(40):
            equal(self.get(f"/api/users/{n}"), 200)
        for n in range(20):
            self.get("/api/music/status/503" if n % 4 == 0 else "/api/music/x")
        for _n in range(10):
            self.get("/api/social/slow?ms=400")

    def get(self, path):
        return ask(self.host, 443, path, tls=True).status


@checks("it is scraped without a complaint")
def _(given):
    eventually(20, lambda: given.query("up == 1"))
    targets = ask("127.0.0.1", given.port, "/api/v1/targets").json["data"]["activeTargets"]
    equal([(t["health"], t["lastError"]) for t in targets], [("up", "")])


@checks("all counters agree with what was asked")
def _(given):
    given.get("/api/users/0")  # a first observation, so that increase() has a beginning
    given.get("/api/music/status/503")
    eventually(10, lambda: given.query('traefik_service_requests_total{service="music@docker",code="503"}'))
    eventually(10, lambda: given.query('count_over_time(traefik_service_requests_total{service="music@docker",code="503"}[1m])').popitem()[1] >= 3)
    given.burst()
    eventually(10, lambda: sum(given.query('traefik_service_requests_total{service="users@docker"} or traefik_service_requests_total{service="userservice@docker"}').values()) == 41)
    equal(sum(given.query('traefik_service_requests_total{service="music@docker"}').values()), 21)
    everything = 'traefik_entrypoint_requests_total{entrypoint="websecure"}'
    eventually(5, lambda: sum(given.query(everything).values()) == 72)


@checks("sum(rate(traefik_entrypoint_requests_total[1m]))")
def _(given):
    # A rate needs samples on both sides; wait until the window holds them.
    found = eventually(15, lambda: given.query(queries()[0]))
    (value,) = found.values()
    assert 0.3 < value < 40, value
    return f"{value:.2f}/s"


@checks("histogram_quantile(0.95, ...) by le")
def _(given):
    found = eventually(15, lambda: given.query(queries()[1]))
    (value,) = found.values()
    # 10 of 72 took 0.4 s: the 95th percentile lies in the bucket from 0.3 to 1.2.
    assert 0.3 <= value <= 1.2, value
    return f"{value:.3f} s"


@checks("sum by(service) (increase(...{code=~5..}[5m]))")
def _(given):
    found = eventually(15, lambda: given.query(queries()[2]))
    values = {dict(key)["service"]: value for key, value in found.items()}
    equal(set(values), {"music@docker"})
    # Five after the first; increase() extrapolates to the window's ends.
    assert 4 <= values["music@docker"] <= 8, values
    return f"{values['music@docker']:.1f}"


@checks("sum by(router) (rate(traefik_router_requests_total[1m]))")
def _(given):
    if os.environ.get("WHARF_TEST_TRAEFIK"):
        raise Skip("empty in Traefik without addRoutersLabels")
    found = eventually(15, lambda: given.query(queries()[3]))
    values = {dict(key)["router"]: value for key, value in found.items()}
    assert values["userservice@docker"] > 0 and values["music@docker"] > 0, values
    return ", ".join(sorted(values))


if __name__ == "__main__":
    sys.exit(checks.run(Given("musicshare", "prometheus")))
