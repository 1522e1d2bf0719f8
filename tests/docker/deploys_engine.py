"""The engine's socket goes away under an open-loop load, and comes back."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, eventually
from harness.cuttable import Cuttable
from harness.deploy import TRAEFIK, Site

checks = Checks("engine under load")


class Given(Site):
    """A site whose engine's socket can be cut."""

    def __init__(self):
        # A socket's path must stay short.
        self.socket = Cuttable(f"/tmp/{engine.RUN}d.sock")
        super().__init__("deploysengine", endpoint=f"unix://{self.socket.path}")

    def __enter__(self):
        engine.need()
        self.socket.open()
        return super().__enter__()

    def __exit__(self, *_):
        super().__exit__()
        if os.path.exists(self.socket.path):
            self.socket.cut()

    def connected(self):
        return TRAEFIK or self.proxy.get("/api/wharf/engine")["connected"]


@checks("engine socket cut while one replica goes and one comes, and restored")
def _(site):
    with site.app("unseen", 3) as app:
        gone, *left = app.replicas
        site.socket.cut()
        app.some()
        app.call("stop", gone, t=10)
        new = app.start()
        app.answers(*left)
        site.socket.open()
        eventually(20, site.connected)
        app.answers(new, *left)
        return app.judge()


@checks("the engine's socket is cut for 200 requests, then a replica starts")
def _(site):
    with site.app("survivor", 2) as app:
        site.socket.cut()
        app.some(200)
        site.socket.open()
        eventually(20, site.connected)
        app.answers(app.start())
        return app.judge()


if __name__ == "__main__":
    sys.exit(checks.run(Given()))
