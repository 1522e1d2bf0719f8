"""What asks DNS: records put up by dynamic update and seen before the CA looks, at real name servers."""

import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.acme import dynamic, has, served, state
from harness.ca import CA
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server, free_ports, fresh
from harness.web import trusting
from harness.zone import NameServer, own_address, secret

checks = Checks("dns")


class World:
    """A server, name servers, a CA that asks the first of them, and a proxy that orders from it."""

    def __init__(self, server, **faults):
        self.server = server
        self.address, self.second = own_address(), own_address()
        # `late.example.org` has a second name server that nobody tells of changes.
        late = [f"ns1 60 A {self.address}", "@ 60 NS ns2", f"ns2 60 A {self.second}"]
        zones = {
            "example.org": [f"ns1 60 A {self.address}"],
            "example.net": [f"ns1 60 A {self.address}", "_acme-challenge.alias 60 CNAME further", "further 60 CNAME alias.example.org."],
            "late.example.org": late,
        }  # fmt: skip
        self.first = NameServer(zones, self.address)
        try:
            self.stale = NameServer({"late.example.org": late}, self.second, "stale")
            http, self.tls = free_ports(2)
            self.ca = CA(http, self.tls, resolver=self.first.shown, **faults)
        except BaseException:
            self.__exit__()
            raise
        self.ports = [http, self.tls]
        self.storage = fresh("storage") / "acme.json"

    def proxy(self, rule, env, *options, provider="rfc2136"):
        prefix = "--certificatesResolvers.dns.acme."
        options = [f"{prefix}dnsChallenge.{option}" for option in options]
        resolver = [
            f"{prefix}dnsChallenge.provider={provider}", f"{prefix}email=a@example.org", f"{prefix}storage={self.storage}",
            f"{prefix}caServer={self.ca.url}", f"{prefix}caCertificates={self.ca.root}",
        ]  # fmt: skip
        if not any("dnsChallenge.resolvers" in option for option in options):
            options.append(f"{prefix}dnsChallenge.resolvers={self.first.shown}")
        env = {"RFC2136_NAMESERVER": self.first.shown, "RFC2136_POLLING_INTERVAL": "1", **env}
        return Proxy(
            "dns", ["--log.level=DEBUG", *resolver, *options], dynamic(self.server, {"one": (rule, "dns")}), ("web", "websecure"),
            env=env, ports=self.ports,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for name in ("ca", "stale", "first"):
            if hasattr(self, name):
                getattr(self, name).stop()


def key(name="sha256.key", **more):
    return {"RFC2136_TSIG_KEY": name, "RFC2136_TSIG_SECRET": secret(name), "RFC2136_TSIG_ALGORITHM": f"hmac-{name.split('.')[0]}", **more}


def failed(proxy, name):
    return eventually(20, lambda: (entry := state(proxy, "dns", name) or {}).get("state") == "failed" and entry)


@checks("rfc2136: a wildcard and its own name by signed updates, seen at the zone's server first, taken away after")
def _(server):
    with World(server) as world:
        file = world.storage.parent / "secret"
        file.write_text(secret("sha256.key") + "\n")
        env = {"DNSUPDATE_TSIG_KEY": "sha256.key.", "RFC2136_TSIG_SECRET_FILE": str(file), "RFC2136_TSIG_ALGORITHM": "hmac-sha256."}
        with world.proxy("Host(`*.example.org`) || Host(`example.org`)", env) as proxy:
            eventually(20, lambda: has(world.tls, "example.org"))
            equal(served(world.tls, "x.example.org")[0], ["*.example.org", "example.org"])
            equal(world.first.has("_acme-challenge.example.org"), False)
            equal(proxy.problems(), [])
            equal(proxy.log.count("left behind"), 0)


@checks("rfc2136: by lego's default algorithm, and with a key as tsig-keygen writes it")
def _(server):
    with World(server) as world:
        env = {"RFC2136_TSIG_KEY": "sha1.key", "RFC2136_TSIG_SECRET": secret("sha1.key")}
        with world.proxy("Host(`a.example.org`)", env):
            eventually(20, lambda: has(world.tls, "a.example.org"))
        file = world.storage.parent / "key"
        file.write_text(f'key "sha512.key" {{\n\talgorithm hmac-sha512;\n\tsecret "{secret("sha512.key")}";\n}};\n')
        with world.proxy("Host(`b.example.org`)", {"RFC2136_TSIG_FILE": str(file), "RFC2136_ZONES": "example.org"}):
            eventually(20, lambda: has(world.tls, "b.example.org"))


@checks("an alias at the challenge's name is followed into the other zone")
def _(server):
    # The CA does not look: its library asks only one server, and that one does not follow.
    with World(server, PEBBLE_VA_ALWAYS_VALID=1) as world, world.proxy("Host(`alias.example.net`)", key("sha384.key")) as proxy:
        eventually(20, lambda: has(world.tls, "alias.example.net"))
        assert "_acme-challenge.alias.example.net. is an alias of further.example.net." in proxy.log
        changed = [line for line in world.first.log.splitlines() if "DDNS, finished" in line]
        assert len(changed) == 2 and all("[example.org.]" in line for line in changed), changed


@checks("what a server has against an update is told with its mend: wrong secret, unknown key, no key, no such zone")
def _(server):
    with World(server) as world:
        for number, (env, error, mend) in enumerate([
            (key(RFC2136_TSIG_SECRET=secret("sha1.key")), "BADSIG", "RFC2136_TSIG_SECRET is not the secret"),
            (key(RFC2136_TSIG_KEY="other.key"), "BADKEY", "the server knows no key other.key"),
            ({}, "NOTAUTH", "the server wants updates to be signed"),
            (key(RFC2136_ZONES="example.com"), "in none of the zones example.com.", "RFC2136_ZONES"),
        ]):  # fmt: skip
            name = f"n{number}.example.org"
            with world.proxy(f"Host(`{name}`)", env) as proxy:
                entry = failed(proxy, name)
                assert error in entry["error"] and mend in entry["mend"], entry
                equal(entry["error"].startswith(f"{name}: "), True, entry)
                assert secret("sha256.key") not in proxy.log
        equal(world.ca.orders(), 0)


@checks("a record that a name server does not show is named, and the CA is not asked; without that check it is")
def _(server):
    with World(server) as world:
        name = "a.late.example.org"
        with world.proxy(f"Host(`{name}`)", key(RFC2136_PROPAGATION_TIMEOUT="2")) as proxy:
            entry = failed(proxy, name)
            assert "is not out after 2 s" in entry["error"], entry
            assert f"ns2.late.example.org. ({world.second}) says NXDOMAIN" in entry["error"], entry
            assert "raise RFC2136_PROPAGATION_TIMEOUT" in entry["mend"], entry
            equal(world.first.has(f"_acme-challenge.{name}"), False, "taken away")
            equal(world.ca.pebble.log.count("/chalZ/"), 0, "challenges begun")
        for option in ("propagation.disableANSChecks=true", "propagation.disableChecks=true", "disablePropagationCheck=true"):
            world.storage.unlink()
            with world.proxy(f"Host(`{name}`)", key(), option):
                eventually(20, lambda: has(world.tls, name))


@checks("requireAllRNS: every server of `resolvers` must show the record")
def _(server):
    with World(server) as world:
        name = "a.late.example.org"
        both = [f"resolvers={world.first.shown},{world.stale.shown}", "propagation.disableANSChecks=true"]
        with world.proxy(f"Host(`{name}`)", key(RFC2136_PROPAGATION_TIMEOUT="3"), *both, "propagation.requireAllRNS=true") as proxy:
            entry = failed(proxy, name)
            assert f"{world.stale.shown} says NXDOMAIN" in entry["error"] and "requireAllRNS" in entry["mend"], entry
        with world.proxy(f"Host(`{name}`)", key(), *both):
            eventually(20, lambda: has(world.tls, name))


@checks("what is wrong with the variables is told at the start, and the rest starts")
def _(server):
    with World(server) as world:
        for env, text in [
            ({"RFC2136_NAMESERVER": ""}, "set RFC2136_NAMESERVER"),
            (key(RFC2136_TSIG_ALGORITHM="hmac-md5"), "there are hmac-sha1"),
            (key(RFC2136_TSIG_SECRET=""), "RFC2136_TSIG_SECRET is not"),
            (key(RFC2136_TTL="soon"), 'RFC2136_TTL=\\"soon\\" is no whole number'),
        ]:
            with world.proxy("Host(`a.example.org`)", env) as proxy:
                told = " ".join(problem["text"] for problem in proxy.problems())
                assert text.replace("\\", "") in told, told


class Aliases:
    """A name server with aliases, a resolv.conf that names it, and a proxy that follows them."""

    def __init__(self, server, *options, dynamic=None, nameserver=None):
        self.address = nameserver or own_address()
        chain = [f"c{number} 60 CNAME c{number + 1}" for number in range(1, 7)]
        records = ["www 3600 CNAME app.example.org.", *chain, "short 1 CNAME app.example.org.", "app 60 A 127.0.0.1"]
        zones = {"example.org": ["ns1 60 A 127.0.0.1", *records], "example.net": ["ns1 60 A 127.0.0.1", "far 60 CNAME www.example.org."]}
        self.names = None if nameserver else NameServer(zones, self.address, "aliases")
        file = fresh("resolver") / "resolv.conf"
        file.write_text(f"search example.com\nnameserver {self.address}\n")
        routes = dynamic or {"app": "Host(`app.example.org`)", "deep": "Host(`c6.example.org`)", "deeper": "Host(`c7.example.org`)"}
        lines = [f'    {name}: {{ rule: "{rule}", service: app, middlewares: [{name}] }}' for name, rule in routes.items()]
        marks = [f"    {name}: {{ headers: {{ customResponseHeaders: {{ X-Router: {name} }} }} }}" for name in routes]
        service = f'  services: {{ app: {{ loadBalancer: {{ servers: [ {{ url: "{server.url}" }} ] }} }} }}'
        text = "\n".join(["http:", "  routers:", *lines, "  middlewares:", *marks, service, ""])
        flags = ["--log.level=DEBUG", "--hostResolver.cnameFlattening=true", f"--hostResolver.resolvConfig={file}", *options]
        try:
            self.proxy = Proxy("aliases", flags, text)
        except BaseException:
            if self.names:
                self.names.stop()
            raise

    def status(self, host, **more):
        return self.proxy.ask(headers={"Host": host}, **more).status

    def __enter__(self):
        eventually(10, lambda: self.status("app.example.org") == 200)
        return self

    def __exit__(self, *_):
        self.proxy.stop()
        if self.names:
            self.names.stop()


@checks("hostResolver: Host and HostRegexp match what a request's host is an alias of, as deep as resolvDepth")
def _(server):
    with Aliases(server) as world:
        for host, wanted in [
            ("www.example.org", 200), ("WWW.example.org.:80", 200), ("far.example.net", 200), ("app.example.org", 200),
            ("other.example.org", 404), ("nothing.example.com", 404), ("127.0.0.1", 404),
            # c1 is c6 after five steps, which is where it ends; c2 gets to c7.
            ("c1.example.org", 200), ("c2.example.org", 200),
        ]:  # fmt: skip
            equal(world.status(host), wanted, host)
        equal(world.proxy.problems(), [])
    rules = {"short": "HostRegexp(`^app[.]`) && Path(`/regexp`)", "not": "!Host(`app.example.org`)", "one": "Host(`c2.example.org`) && PathPrefix(`/`)"}
    with Aliases(server, "--hostResolver.resolvDepth=1", dynamic={**rules, "app": "Host(`app.example.org`)"}) as world:
        for host, path, wanted in [
            ("www.example.org", "/regexp", "short"), ("www.example.org", "/", "app"), ("c1.example.org", "/", "one"), ("c2.example.org", "/", "one"),
            ("c3.example.org", "/", "not"), ("far.example.net", "/", "not"),
        ]:  # fmt: skip
            found = world.proxy.ask(path, headers={"Host": host})
            equal((found.status, found.header("x-router")), (200, wanted), (host, path))


@checks("hostResolver: an alias outlives its name server, and is asked for again when its time is over")
def _(server):
    with Aliases(server, "--wharf.workers=1") as world:
        equal([world.status("www.example.org"), world.status("short.example.org")], [200, 200])
        world.names.stop()
        for _again in range(40):
            equal([world.status("www.example.org"), world.status("short.example.org")], [200, 200])
            time.sleep(0.05)  # so that the short one's second passes
        world.names = NameServer({"example.org": ["ns1 60 A 127.0.0.1", "short 1 CNAME elsewhere"]}, world.address, "aliases")
        eventually(30, lambda: world.status("short.example.org") == 404)
        equal(world.status("www.example.org"), 200, "its hour is not over")


@checks("hostResolver: a name server that never answers holds up neither others nor its own request for good")
def _(server):
    address = own_address()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind((address, 53))
        with Aliases(server, "--wharf.workers=1", nameserver=address, dynamic={"app": "Host(`app.example.org`)", "ip": "Host(`127.0.0.1`)"}) as world:
            # Hosts that nobody asked for yet; a busy machine may get one of them the wrong way round.
            for number in range(20):
                waiting = threading.Thread(target=world.status, args=(f"n{number}.example.org",))
                waiting.start()
                equal(world.status("127.0.0.1"), 200)
                before = waiting.is_alive()
                waiting.join()
                if before:
                    break
            assert before, "a worker waits with its request"
            equal(world.status("app.example.org"), 200)


@checks("hostResolver: strangers' hosts by the thousand push out no alias that is in use, and memory stays bounded")
def _(server):
    with Aliases(server, "--wharf.workers=1") as world:
        resident = lambda: int(Path(f"/proc/{world.proxy.child.pid}/statm").read_text().split()[1]) * 4096  # noqa: E731
        equal(world.status("www.example.org"), 200)
        errors = []

        def flood(part):
            try:
                with socket.create_connection(("127.0.0.1", world.proxy.port)) as stream:
                    stream.settimeout(60)
                    reader = stream.makefile("rb")
                    for number in range(1000):
                        stream.sendall(f"GET / HTTP/1.1\r\nHost: {part}-{number}.{'x' * 60}.example.org\r\n\r\n".encode())
                        assert reader.readline().split()[1] == b"404"
                        length = 0
                        while (line := reader.readline()) not in (b"\r\n", b""):
                            if line.lower().startswith(b"content-length:"):
                                length = int(line.split(b":")[1])
                        reader.read(length)
            except Exception as error:  # noqa: BLE001
                errors.append(error)

        before = resident()
        floods = [threading.Thread(target=flood, args=(part,)) for part in range(6)]
        for one in floods:
            one.start()
        while any(one.is_alive() for one in floods):
            equal(world.status("www.example.org"), 200)
        equal(errors, [])
        grown = (resident() - before) >> 20
        assert grown < 24, f"{grown} MiB more"
        return f"{grown} MiB more after 6,000 hosts"


def by_name(port, name):
    """The status of a request over TLS that names its host at both levels."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain, trusting().wrap_socket(plain, server_hostname=name) as stream:
        stream.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return int(stream.makefile("rb").readline().split()[1])


@checks("hostResolver: an alias leads past no TLS options, and what is wrong with its options is told")
def _(server):
    dynamic = {"app": "Host(`nobody.example.org`)"}
    for option, text in [
        ("--hostResolver.resolvConfig=/no/such/file", "resolvConfig /no/such/file"), ("--hostResolver.resolvDepth=0", "resolvDepth is 0"),
    ]:  # fmt: skip
        flags = ["--hostResolver.cnameFlattening=true", option]
        with Proxy("wrong", flags, dynamic=f'http: {{ routers: {{ a: {{ rule: "{dynamic["app"]}", service: noop@internal }} }} }}') as proxy:
            told = " ".join(problem["text"] for problem in proxy.problems())
            assert text in told, told
    names = NameServer({"example.org": ["ns1 60 A 127.0.0.1", "mine 60 CNAME strict", "plain 60 CNAME open"]}, address := own_address(), "aliases")
    with names:
        file = fresh("resolver") / "resolv.conf"
        file.write_text(f"nameserver {address}\n")
        router = '    {0}: {{ rule: "Host(`{0}.example.org`)", service: app, tls: {{ {1} }} }}\n'
        text = (
            "http:\n  routers:\n" + router.format("strict", "options: strict") + router.format("open", "")
            + f'  services: {{ app: {{ loadBalancer: {{ servers: [ {{ url: "{server.url}" }} ] }} }} }}\n'
            + "tls: { options: { strict: { minVersion: VersionTLS13 } } }\n"
        )  # fmt: skip
        flags = ["--hostResolver.cnameFlattening=true", f"--hostResolver.resolvConfig={file}"]
        with Proxy("tls-aliases", flags, text) as proxy:
            eventually(10, lambda: by_name(proxy.port, "strict.example.org") == 200)
            equal([by_name(proxy.port, f"{name}.example.org") for name in ("open", "plain", "mine")], [200, 200, 421])


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
