"""What asks DNS: records put up by dynamic update and seen before the CA looks, at real name servers."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.acme import dynamic, has, served, state
from harness.ca import CA
from harness.checks import Checks, equal, eventually
from harness.proxy import Proxy, Server, free_ports, fresh
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


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
