"""Replicas that stop badly, freeze, lose their network or die, under an open-loop load."""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.deploy import TRAEFIK, Site

checks = Checks("faults")


@checks("an application that ignores TERM until it is killed")
def _(site):
    with site.app("deaf", 2, "--deaf") as app:
        gone = app.replicas[0]
        app.call("stop", gone, t=3)
        # What a WebSocket's server does not end is ended with it, after its time.
        return app.judge(dead=[gone])


@checks("docker restart of the only replica, which ignores TERM until it is killed")
def _(site):
    with site.app("deafalone", 1, "--deaf") as app:
        (only,) = app.replicas
        app.call("restart", only, t=3)
        app.answers(only)
        return app.judge(dead=[only])


@checks("docker pause of one of two")
def _(site):
    with site.app("paused", 2) as app:
        frozen, other = app.replicas
        app.call("pause", frozen)
        app.answers(other)
        app.some(200)
        app.call("unpause", frozen)
        app.answers(frozen)
        return app.judge()


@checks("one of two is taken out of the network, and put back after 3 s")
def _(site):
    with site.app("cut", 2) as app:
        lost, other = app.replicas
        app.disconnect(lost)
        app.answers(other)
        app.some(350)
        app.connect(lost)
        app.answers(lost)
        return app.judge(dead=[lost])


@checks("the only replica is taken out of the network: 503 and a problem that names it, never 404; then put back")
def _(site):
    with site.app("alone", 1) as app:
        (only,) = app.replicas

        def refused():
            answer = site.proxy.ask(headers={"Host": app.host}, timeout=30)
            return answer.status == 404 if TRAEFIK else answer.status == 503 and answer.header("retry-after")

        def texts():
            said = [] if TRAEFIK else site.proxy.problems()
            return [problem["text"] for problem in said if "unable to find the IP address" in problem["text"]]

        app.disconnect(only)
        eventually(20, refused)
        assert TRAEFIK or "503" in texts()[0], texts()
        app.connect(only)
        eventually(20, lambda: app.ask() == only[:12])
        equal(texts(), [])
        outcomes = Counter(result.outcome for result in app.end())
        assert TRAEFIK or "status 404" not in outcomes, outcomes
        return f"{sum(outcomes.values())} requests"


@checks("docker kill of one of two: only what had reached it may fail, and no GET")
def _(site):
    with site.app("killed", 2) as app:
        app.call("kill", app.replicas[0])
        return app.judge(dead=app.replicas[:1])


@checks("an application that ends at TERM without finishing anything: no GET fails")
def _(site):
    with site.app("abrupt", 2, "--abrupt") as app:
        app.call("stop", app.replicas[0], t=10)
        return app.judge(dead=app.replicas[:1])


if __name__ == "__main__":
    sys.exit(checks.run(Site("faults")))
