"""Two generations of a service at once, under an open-loop load: who gets which requests, and that
none fails but those of a release that is broken."""

import json
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, equal, eventually
from harness.deploy import App, Composed, Site

checks = Checks("generations")

# Answers to so many requests tell how they are shared.
MANY = 500


class Deployed(App):
    """Replicas of a service, each with the generation that was set when it was started."""

    own = {"wharf.deploy.generation": "v1"}

    def labels(self):
        return {**super().labels(), **self.own}

    def deploy(self, generation, *options, **labels):
        """Starts one replica of that generation, with labels below `wharf.deploy.`, dots written
        as two underscores."""
        labels = {f"wharf.deploy.{key.replace('__', '.')}": value for key, value in labels.items()}
        self.own = {**labels, "wharf.deploy.generation": generation}
        return self.start(*options)

    def generations(self):
        """What is shown of each, by its id."""
        shown = self.site.proxy.get(f"/api/wharf/generations?serviceName={self.name}@docker")
        return {one["generation"]: one for one in shown}

    def is_in(self, generation, state):
        """Waits until that generation is in that state."""
        eventually(20, lambda: self.generations().get(generation, {}).get("state") == state)

    def spread(self, count, **fields):
        """Who answers so many requests, one after the other."""
        headers = {"Host": self.host, **fields}
        return Counter(self.site.proxy.ask(headers=headers).header("x-replica") for _turn in range(count))

    def only(self, *replicas, **fields):
        """Requests with these fields go to these replicas and no other."""
        equal(set(self.spread(40, **fields)), {replica[:12] for replica in replicas})


def deployed(site, name, replicas, *options, **more):
    return Deployed(site, name, replicas, options, **more)


@checks("a canary gets its fifth, exactly, and no request fails")
def _(site):
    with deployed(site, "fifth", 2) as app:
        new = app.deploy("v2", canary__percent="20")
        app.answers(*app.replicas)
        app.some(200)
        note = app.judge()
        app.is_in("v2", "canary")
        before = app.generations()["v2"]["requests"]
        equal(app.spread(MANY)[new[:12]], MANY // 5, "of the requests go to the canary")
        shown = app.generations()
        equal({key: one["sharePercent"] for key, one in shown.items()}, {"v1": 80.0, "v2": 20.0})
        equal(shown["v2"]["requests"] - before, MANY // 5)
        by_id = {one["containerId"]: one for one in site.proxy.get("/api/wharf/replicas")["fifth@docker"]}
        equal(by_id[new]["generation"], "v2")
        return note


@checks("by field and by cookie, and nobody else")
def _(site):
    with deployed(site, "asked", 1) as app:
        (old,) = app.replicas
        new = app.deploy("v2", canary__header="X-Canary", canary__cookie="canary")
        app.is_in("v2", "canary")
        app.only(old)
        app.only(new, **{"X-Canary": "always"})
        app.only(old, **{"X-Canary": "never", "Cookie": "canary=always"})
        app.only(new, Cookie="a=b; canary=always")
        equal(app.load.replicas(), {old[:12]})
        return app.judge()


@checks("all at once, when two new ones are ready, and then the old ones go")
def _(site):
    with deployed(site, "switched", 2) as app:
        old = list(app.replicas)
        labels = {"minready": "2", "canary__percent": "100"}
        first = app.deploy("v2", **labels)
        app.is_in("v2", "waiting")
        eventually(20, lambda: app.generations()["v2"]["ready"] == 1)
        app.some(150)
        equal(first[:12] in app.load.replicas(), False, "one alone has no request")
        second = app.deploy("v2", **labels)
        app.is_in("v2", "serving")
        since = time.monotonic()
        app.answers(first, second)
        app.some(150)
        # A WebSocket stays where it is; what began since goes to the new ones.
        equal(app.load.replicas(since), {first[:12], second[:12]})
        equal(app.generations()["v1"]["state"], "old")
        for replica in old:
            app.call("stop", replica, t=10)
        app.some()
        return app.judge()


@checks("back to the old one when the new one fails, and clients of the old one notice nothing")
def _(site):
    with deployed(site, "broken", 2) as app:
        old = list(app.replicas)
        labels = {"canary__percent": "20", "canary__header": "X-Canary", "backoff__errors": "50"}
        labels |= {"backoff__minrequests": "10", "backoff__window": "5s"}
        new = app.deploy("v2", "--failing", **labels)
        app.is_in("v2", "backed off")
        since = time.monotonic()
        app.some(200)
        equal(app.load.replicas(since), {replica[:12] for replica in old})
        # One can look at what is wrong with it.
        app.only(new, **{"X-Canary": "always"})
        results = app.end()
        failed = [result for result in results if result.outcome != "ok"]
        equal({(result.replica, result.outcome) for result in failed}, {(new[:12], "status 500")})
        assert len(failed) >= 10 and all(result.due < since for result in failed), failed[:3]
        (problem,) = [one for one in site.proxy.problems() if "broken" in one.get("subject", "")]
        assert "generation v2 gets no more requests" in problem["text"], problem
        assert "backed off to the older one" in site.proxy.log
        metrics = site.proxy.get_text("/metrics").splitlines()
        mine = 'service="broken@docker",generation="v2"'
        assert f"wharf_generation_backed_off{{{mine}}} 1" in metrics, metrics
        assert f"wharf_generation_share{{{mine}}} 0.0" in metrics, metrics
        # Rolled back.
        app.call("stop", new, t=5)
        app.remove(new)
        eventually(10, lambda: not [one for one in site.proxy.problems() if "broken" in one.get("subject", "")])
        app.only(*old)
        return f"{len(failed)} of {len(results)} failed before"


@checks("a client stays with the generation that answered it first")
def _(site):
    app = deployed(site, "pinned", 1)
    app.own = {**app.own, "wharf.deploy.pin": "true"}
    with app:
        (old,) = app.replicas
        told = site.proxy.ask(headers={"Host": app.host}).header("set-cookie")
        pin = told.partition(";")[0]
        assert pin.startswith("_wharf_") and "HttpOnly" in told, told
        new = app.deploy("v2", pin="true", canary__percent="100")
        app.is_in("v2", "serving")
        app.only(new)
        app.only(old, Cookie=pin)
        app.call("stop", old, t=10)
        app.only(new, Cookie=pin)
        return app.judge()


@checks("docker-compose up --no-recreate beside the old generation, then without it")
def _(site):
    with Composed(site, "composed", 2, ()) as app:
        old = set(app.replicas)
        file = app.folder / "compose.yml"
        project = json.loads(file.read_text())
        project["services"]["app"]["labels"]["wharf.deploy.canary.percent"] = "20"
        # Another port: the settings of the service differ, and each server has its own.
        label = "traefik.http.services.composed.loadbalancer.server.port"
        project["services"]["app"]["labels"][label] = "8081"
        project["services"]["app"]["command"] += ["--port", "8081"]
        file.write_text(json.dumps(project))
        new = app.up("--no-recreate", "--scale", "app=4")
        equal((len(new), old <= set(app.replicas)), (2, True), "beside the old ones")
        app.answers(*new)
        app.answers(*old)
        shown = site.proxy.get("/api/wharf/generations?serviceName=composed@docker")
        equal([(one["servers"], one["sharePercent"]) for one in shown], [(2, 20.0), (2, 80.0)])
        third = app.up("--scale", "app=2")
        app.answers(*app.replicas)
        left = {engine.inspect(replica)["Config"]["Labels"]["com.docker.compose.config-hash"] for replica in app.replicas}
        equal((len(left), len(app.replicas)), (1, 2), "one generation is left")
        return f"{app.judge()}; {len(third)} made anew"


if __name__ == "__main__":
    sys.exit(checks.run(Site("generations", flags=["--metrics.prometheus=true", "--log.level=WARN"])))
