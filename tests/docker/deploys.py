"""Deploys under an open-loop load: replicas come, go, and are replaced, and no request fails."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks
from harness.deploy import Composed, Site

checks = Checks("deploys")


@checks("scale 2 -> 5 -> 2")
def _(site):
    with Composed(site, "scaled", 2, ()) as app:
        new = app.up("--scale", "app=5")
        app.answers(*new)
        app.up("--scale", "app=2")
        return app.judge()


@checks("docker-compose up --force-recreate: both replicas at once")
def _(site):
    with Composed(site, "recreated", 2, ()) as app:
        new = app.up("--force-recreate", "--scale", "app=2")
        assert len(new) == 2, new
        app.answers(*new)
        return app.judge()


@checks("docker stop of one of two")
def _(site):
    with site.app("stopped", 2) as app:
        app.call("stop", app.replicas[0], t=10)
        return app.judge()


@checks("docker stop of all but one of four")
def _(site):
    with site.app("thinned", 4) as app:
        for replica in app.replicas[1:]:
            app.call("stop", replica, t=10)
        app.answers(app.replicas[0])
        return app.judge()


@checks("rolling replace of two: a new one, then an old one goes")
def _(site):
    with site.app("rolled", 2) as app:
        for old in list(app.replicas):
            app.answers(app.start())
            app.call("stop", old, t=10)
            app.remove(old)
        return app.judge()


@checks("docker restart of the only replica")
def _(site):
    with site.app("restarted", 1) as app:
        app.call("restart", app.replicas[0], t=10)
        app.answers(app.replicas[0])
        return app.judge()


@checks("a replica that listens after 2 s takes the place of the only one")
def _(site):
    with site.app("slow", 1) as app:
        (old,) = app.replicas
        app.answers(app.start("--start-delay", "2000"))
        app.call("stop", old, t=10)
        return app.judge()


@checks("the same with a HEALTHCHECK")
def _(site):
    with site.app("checked", 1) as app:
        (old,) = app.replicas
        test = {"Test": ["CMD", "/wharf", "demo-server", "--probe", "8080"], "Interval": 500_000_000}
        app.answers(app.start("--start-delay", "2000", Healthcheck=test))
        app.call("stop", old, t=10)
        return app.judge()


if __name__ == "__main__":
    sys.exit(checks.run(Site("deploys")))
