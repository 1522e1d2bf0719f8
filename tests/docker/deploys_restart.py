"""The engine itself ends under an open-loop load and is started again: an engine of the tests' own."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, eventually
from harness.deploy import TRAEFIK, Site
from harness.own_engine import own_engine

checks = Checks("engine restart under load")

# Containers that the engine starts again when it is back.
ALWAYS = {"RestartPolicy": {"Name": "always"}}


def patient(service):
    """An engine takes its time on a busy machine, and for how long is not what is tested."""
    return {f"wharf.http.services.{service}.loadbalancer.hold.duration": "25s"}


class Given(Site):
    """A site whose engine is the tests' own."""

    def __init__(self):
        super().__init__("deploysrestart")

    def __enter__(self):
        self.engine = own_engine()
        self.endpoint = f"unix://{self.engine.socket}"
        try:
            return super().__enter__()
        except BaseException:
            self.engine.__exit__()
            raise

    def __exit__(self, *_):
        try:
            super().__exit__()
        finally:
            self.engine.__exit__()

    def start_engine(self, live_restore):
        self.engine.start(live_restore)
        eventually(20, lambda: TRAEFIK or self.proxy.get("/api/wharf/engine")["connected"])


@checks("the engine is killed and started again, with live-restore; then a replica joins")
def _(site):
    with site.app("survivor", 2) as app:
        site.engine.kill()
        app.some(100)
        site.start_engine(live_restore=True)
        app.answers(app.start())
        return app.judge() + site.engine.note


@checks("the engine is restarted without live-restore: both replicas are stopped and come back")
def _(site):
    site.engine.stop()
    site.start_engine(live_restore=False)
    with site.app("again", 2, host=ALWAYS, labels=patient("again")) as app:
        site.engine.stop()
        site.start_engine(live_restore=False)
        app.answers(*app.replicas)
        app.done = time.monotonic()
        return app.judge() + site.engine.note


@checks("the engine is killed and started again without live-restore: it stops what it finds, unseen")
def _(site):
    with site.app("orphan", 2, host=ALWAYS, labels=patient("orphan")) as app:
        site.engine.kill()
        app.some(100)
        site.start_engine(live_restore=False)
        app.answers(*app.replicas)
        app.done = time.monotonic()
        return app.judge(dead=app.replicas) + site.engine.note


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
