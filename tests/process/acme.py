"""Certificates from a CA (pebble): obtained, served, kept, renewed, and named when they fail."""

import json
import random
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.acme import World, dynamic, has, served, state
from harness.checks import Checks, equal, eventually
from harness.proxy import Server
from harness.web import ask

checks = Checks("acme")


@checks("HTTP-01, TLS-ALPN-01 and DNS-01 give routers that appear live their certificates, past redirects and catch-alls")
def _(server):
    with World(server, PEBBLE_WFE_NONCEREJECT=30) as world:
        redirect = "--entryPoints.web.http.redirections.entryPoint.to=websecure"
        with world.proxy({}, redirect) as proxy:
            equal(has(world.tls, "a.example.org"), False)
            proxy.file.write_text(
                dynamic(
                    server,
                    {
                        "a": ("Host(`a.example.org`)", "http"), "b": ("Host(`b.example.org`)", "tls"),
                        "c": ("Host(`*.c.example.org`) || Host(`c.example.org`)", "dns"),
                    },
                    '    thief: { rule: "PathPrefix(`/.well-known/acme-challenge/`)", priority: 1000000, service: app, entryPoints: [web] }\n',
                )  # fmt: skip
            )
            for name in ("a.example.org", "b.example.org", "c.example.org"):
                eventually(20, lambda name=name: has(world.tls, name))
            equal(served(world.tls, "x.c.example.org")[0], ["*.c.example.org", "c.example.org"])
            answer = ask("127.0.0.1", world.tls, "/", tls=True, headers={"Host": "a.example.org"})
            equal(answer.status, 200)
            equal(proxy.problems(), [])
            equal(ask("127.0.0.1", world.http, "/.well-known/acme-challenge/unknown").status, 404)
            equal(oct(world.storage.stat().st_mode & 0o777), "0o600")


@checks("two hosts of one router share a certificate; a restart orders nothing")
def _(server):
    with World(server) as world:
        routers = {"two": ("Host(`a.example.org`) || Host(`b.example.org`)", "http"), "one": ("Host(`a.example.org`)", "http")}
        with world.proxy(routers):
            eventually(20, lambda: has(world.tls, "b.example.org"))
            first = served(world.tls, "a.example.org")
            equal(first[0], ["a.example.org", "b.example.org"])
        with world.proxy(routers) as proxy:
            eventually(5, lambda: (state(proxy, "http", "a.example.org") or {}).get("state") == "valid")
            equal(served(world.tls, "b.example.org"), first)
            equal(world.ca.orders(), 1)


@checks("a host that fails leaves the others alone, and the API says why and what to do")
def _(server):
    with World(server) as world:
        world.ca.tell_dns("add-a", host="bad.example.org", addresses=["127.0.0.9"])
        routers = {"bad": ("Host(`bad.example.org`)", "http"), "good": ("Host(`good.example.org`)", "http")}
        with world.proxy(routers) as proxy:
            eventually(20, lambda: has(world.tls, "good.example.org"))
            failed = eventually(20, lambda: (entry := state(proxy, "http", "bad.example.org"))["state"] == "failed" and entry)
            assert "connection" in failed["error"] and "port 80 of bad.example.org" in failed["mend"], failed
            assert failed["nextTry"] and failed["routers"] == ["bad@file"], failed
            equal(ask("127.0.0.1", world.tls, "/", tls=True, headers={"Host": "bad.example.org"}).status, 200, "served all the same")
            equal(proxy.get("/api/wharf/certificates")["http"]["ordersFailed"], 1)


@checks("what can't be ordered is told by name: unknown resolver, wildcard without DNS, no public name")
def _(server):
    with World(server) as world:
        routers = {
            "unknown": ("Host(`u.example.org`)", "htpp"), "star": ("Host(`*.example.org`)", "http"), "local": ("Host(`localhost`)", "tls"),
        }  # fmt: skip
        with world.proxy(routers) as proxy:
            problems = eventually(5, lambda: len(all := proxy.problems()) == 3 and all)
            texts = " ".join(f"{problem['text']} {problem.get('mend')}" for problem in problems)
            for word in ("nonexistent certificate resolver", "did you mean `http`?", "only the DNS challenge", "it has no domain"):
                assert word in texts, (word, texts)
            equal(world.ca.orders(), 0)


@checks("the default certificate is obtained by a resolver, and served to all that no other one is for")
def _(server):
    store = "tls: { stores: { default: { defaultGeneratedCert: { resolver: http, domain: { main: all.example.org, sans: [more.example.org] } } } } }\n"
    with World(server) as world, world.proxy({"a": ("Host(`a.example.org`)", "http")}) as proxy:
        eventually(20, lambda: has(world.tls, "a.example.org"))
        proxy.file.write_text(dynamic(server, {"a": ("Host(`a.example.org`)", "http")}) + store)
        eventually(20, lambda: served(world.tls, "unknown.example.org")[0] == ["all.example.org", "more.example.org"])
        equal(served(world.tls, "a.example.org")[0], ["a.example.org"])
        entry = state(proxy, "http", "all.example.org")
        equal((entry["state"], entry.get("default"), entry["routers"]), ("valid", True, []))
        equal(proxy.problems(), [])
        # A resolver that nobody has: said, and the old one or a self-signed one is served.
        proxy.file.write_text(dynamic(server, {}) + store.replace("http", "htpp"))
        text = eventually(5, lambda: next((one for one in proxy.problems() if "nonexistent" in one["text"]), None))
        equal((text["severity"], text["mend"]), ("warning", "did you mean `http`?"))
        equal(world.ca.orders(), 2)


@contextmanager
def handshakes(port, name):
    """Shakes hands as fast as it goes; gives the list of failures and serial numbers."""
    failed, serials, over = [], set(), threading.Event()

    def shake():
        while not over.is_set():
            try:
                serials.add(served(port, name)[1])
            except OSError as error:
                failed.append(error)

    thread = threading.Thread(target=shake)
    thread.start()
    try:
        yield failed, serials
    finally:
        over.set()
        thread.join()


@checks("short-lived certificates are renewed under load without a failed handshake")
def _(server):
    with World(server, seconds=45) as world, world.proxy({"a": ("Host(`a.example.org`)", "tls")}) as proxy:
        eventually(20, lambda: has(world.tls, "a.example.org"))
        with handshakes(world.tls, "a.example.org") as (failed, serials):
            eventually(40, lambda: len(serials) >= 2, pause=0.5)
        equal(failed, [])
        assert state(proxy, "tls", "a.example.org")["renewal"]
        return f"{len(serials)} certificates"


@checks("kill -9 at any moment loses no account and no certificate that was kept")
def _(server):
    names = [f"h{number}.example.org" for number in range(30)]
    routers = {f"r{number}": (f"Host(`{name}`)", "http") for number, name in enumerate(names)}
    chance = random.Random(7)
    with World(server) as world:
        account, before = None, set()
        for _round in range(12):
            with world.proxy(routers) as proxy:
                time.sleep(chance.uniform(0.05, 0.8))  # the moment is the point
                proxy.child.kill()
                proxy.child.wait()
            if not world.storage.exists():
                continue
            kept = world.kept()["http"]
            now = {one["domain"]["main"] for one in kept["Certificates"]}
            assert before <= now, f"lost {before - now}"
            before = now
            if account:
                equal(kept["Account"]["Registration"]["uri"], account)
            account = account or (kept["Account"] or {}).get("Registration", {}).get("uri")
        with world.proxy(routers):
            eventually(30, lambda: len(world.kept()["http"]["Certificates"]) == len(names))
        equal(list(world.storage.parent.glob("*corrupt*")), [])
        return f"{len(before)} of {len(names)} before the last start"


@checks("a file that is no JSON stands aside and the last good one serves; an open mode is closed")
def _(server):
    with World(server) as world:
        routers = {"a": ("Host(`a.example.org`)", "http")}
        with world.proxy(routers):
            eventually(20, lambda: has(world.tls, "a.example.org"))
        serial = world.kept()["http"]["Certificates"][0]["certificate"]
        (world.storage.parent / "acme.json.bak").write_text(world.storage.read_text())
        (world.storage.parent / "acme.json.bak").chmod(0o600)
        world.storage.write_text('{"http": {"Acc')
        world.storage.chmod(0o644)
        with world.proxy(routers) as proxy:
            eventually(5, lambda: has(world.tls, "a.example.org"))
            texts = " ".join(problem["text"] for problem in proxy.problems())
            assert "had mode 644" in texts and "can't be understood" in texts, texts
            eventually(5, lambda: world.kept()["http"]["Certificates"][0]["certificate"] == serial)
            equal(len(list(world.storage.parent.glob("acme.json.corrupt-*"))), 1)
            equal(oct(world.storage.stat().st_mode & 0o777), "0o600")
            equal(world.ca.orders(), 1)


@checks("a file that can't be written keeps certificates in memory, says so, and is written once it can be")
def _(server):
    with World(server) as world:
        folder = world.storage.parent / "later"
        folder.write_text("a file where a directory is wanted")
        storage = folder / "acme.json"
        routers = {"a": ("Host(`a.example.org`)", "http")}
        # It is looked for only at the first write: there is none yet.
        folder.unlink()
        with world.proxy({}, f"--certificatesResolvers.http.acme.storage={storage}") as proxy:
            folder.write_text("a file where a directory is wanted")
            proxy.file.write_text(dynamic(server, routers))
            eventually(20, lambda: has(world.tls, "a.example.org"))
            resolver = eventually(5, lambda: (one := proxy.get("/api/wharf/certificates")["http"]).get("error") and one)
            assert "only in memory" in resolver["error"] and resolver["mend"], resolver
            folder.unlink()
            eventually(40, lambda: storage.exists() and len(json.loads(storage.read_text())["http"]["Certificates"]) == 1)
            eventually(5, lambda: "error" not in proxy.get("/api/wharf/certificates")["http"])


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
