"""What ACME checks share: a CA, a server, and a proxy that orders from the one for the other."""

import json
import socket
import ssl

from .ca import CA
from .proxy import Proxy, free_ports, fresh
from .web import trusting

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
