"""Certificates from a CA (pebble): obtained, served, kept, renewed, and named when they fail."""

import json
import random
import socket
import ssl
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.ca import CA
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server, free_ports, fresh
from harness.web import ask, trusting

checks = Checks("acme")
ROUTER = '    {name}: {{ rule: "{rule}", service: app, entryPoints: [{on}], tls: {{ certResolver: {resolver} }} }}\n'


def dynamic(server, routers, more=""):
    """A file with these routers: name to (rule, resolver)."""
    lines = [ROUTER.format(name=name, rule=rule, resolver=resolver, on="websecure") for name, (rule, resolver) in routers.items()]
    return (
        "http:\n  routers:\n" + "".join(lines) + more + '    plain: { rule: "PathPrefix(`/`)", service: app, entryPoints: [web] }\n'
        f'  services: {{ app: {{ loadBalancer: {{ servers: [ {{ url: "{server.url}" }} ] }} }} }}\n'
    )


def served(port, name):
    """The certificate for a name: (names, serial, end)."""
    context = trusting()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain, server_hostname=name) as stream:
        der = stream.getpeercert(binary_form=True)
    path = fresh("certificate") / "one.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(der))
    found = ssl._ssl._test_decode_cert(str(path))
    return sorted(value for _kind, value in found.get("subjectAltName", ())), found["serialNumber"], found["notAfter"]


def has(port, name):
    return name in served(port, name)[0]


class World:
    """A server, a CA, and a proxy that orders from it."""

    def __init__(self, server, **ca):
        self.server = server
        self.http, self.tls = free_ports(2)
        self.ca = CA(self.http, self.tls, **ca)
        self.storage = fresh("storage") / "acme.json"

    def proxy(self, routers, *flags, env=None, more=""):
        resolvers = []
        for name, challenge in {
            "http": "httpChallenge.entryPoint=web", "tls": "tlsChallenge=true", "dns": "dnsChallenge.provider=exec",
        }.items():  # fmt: skip
            prefix = f"--certificatesResolvers.{name}.acme."
            resolvers += [
                f"{prefix}{challenge}", f"{prefix}email=a@example.org", f"{prefix}storage={self.storage}",
                f"{prefix}caServer={self.ca.url}", f"{prefix}caCertificates={self.ca.root}",
            ]  # fmt: skip
        # The CA's own DNS knows no zones, only records: tests/process/dns.py has both.
        prefix = "--certificatesResolvers.dns.acme.dnsChallenge."
        resolvers += [f"{prefix}resolvers={self.ca.dns_at}", f"{prefix}propagation.requireAllRNS=true", f"{prefix}propagation.disableANSChecks=true"]
        hook = self.storage.parent / "hook"
        hook.write_text(
            "#!/bin/sh\n"
            f'[ "$1" = present ] || exit 0\nexec curl -sf -d "{{\\"host\\":\\"$2\\",\\"value\\":\\"$3\\"}}" '
            f"http://127.0.0.1:{self.ca.dns_management}/set-txt >/dev/null\n"
        )
        hook.chmod(0o700)
        return Proxy(
            "acme", ["--log.level=INFO", *resolvers, *flags], dynamic(self.server, routers, more), ("web", "websecure"),
            env={"EXEC_PATH": str(hook), **(env or {})}, ports=[self.http, self.tls],
        )  # fmt: skip

    def kept(self):
        return json.loads(self.storage.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ca.stop()


def state(proxy, resolver, name):
    """What the API says of a certificate."""
    entries = proxy.get("/api/wharf/certificates")[resolver]["certificates"]
    return next((entry for entry in entries if name in entry["domains"]), None)


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
