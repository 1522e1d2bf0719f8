"""A CA that hangs, forgets, bars or wants more, and resolvers that get in each other's way."""

import base64
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.acme import World, dynamic, has, served, state
from harness.checks import Checks, equal, eventually
from harness.openssl import openssl
from harness.proxy import Server, fresh
from harness.web import trusting

checks = Checks("acme-faults")


def resolver(world, name, *options):
    """The flags of one more resolver."""
    prefix = f"--certificatesResolvers.{name}.acme."
    own = [f"storage={world.storage}", f"caServer={world.ca.url}", f"caCertificates={world.ca.root}", "email=a@example.org"]
    said = {option.split("=")[0] for option in options}
    return [prefix + option for option in [*(one for one in own if one.split("=")[0] not in said), *options]]


@checks("a CA that hangs is named with its time-out, and holds no other resolver up")
def _(server):
    with World(server) as world, socket.create_server(("127.0.0.1", 0)) as hangs:
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}/dir"
        dead = resolver(world, "dead", f"caServer={url}", "tlsChallenge=true", "clientTimeout=3s")
        routers = {"a": ("Host(`a.example.org`)", "dead"), "b": ("Host(`b.example.org`)", "http")}
        with world.proxy(routers, *dead) as proxy:
            eventually(40, lambda: has(world.tls, "b.example.org"))
            entry = eventually(40, lambda: (one := state(proxy, "dead", "a.example.org"))["state"] == "failed" and one)
            assert "no answer within 3s" in entry["error"] and url in entry["error"], entry
            assert "caServer" in entry["mend"] and entry["nextTry"], entry


@checks("a CA that forgot the account gets a new one; the file and its certificates stay")
def _(server):
    with World(server) as world:
        with world.proxy({"a": ("Host(`a.example.org`)", "http")}) as proxy:
            eventually(40, lambda: has(world.tls, "a.example.org"))
            before = world.kept()["http"]
            # All it knows is in its memory.
            world.ca.restart()
            proxy.file.write_text(dynamic(server, {"a": ("Host(`a.example.org`)", "http"), "b": ("Host(`b.example.org`)", "http")}))
            eventually(60, lambda: has(world.tls, "b.example.org"))
            after = eventually(5, lambda: len((kept := world.kept()["http"])["Certificates"]) == 2 and kept)
            equal(after["Certificates"][0], before["Certificates"][0])
            assert after["Account"]["PrivateKey"] != before["Account"]["PrivateKey"], "the same account"
            assert "does not know the account" in proxy.log, proxy.log
            equal(proxy.get("/api/wharf/certificates")["http"]["ordersFailed"], 0)


@checks("an account that was deactivated is replaced by a new one, and it is said")
def _(server):
    with World(server) as world:
        with world.proxy({"a": ("Host(`a.example.org`)", "http")}) as proxy:
            eventually(40, lambda: has(world.tls, "a.example.org"))
            before = eventually(5, lambda: world.kept()["http"])
            deactivate(world, before["Account"])
            proxy.file.write_text(dynamic(server, {"a": ("Host(`a.example.org`)", "http"), "b": ("Host(`b.example.org`)", "http")}))
            eventually(60, lambda: has(world.tls, "b.example.org"))
            after = eventually(5, lambda: len((kept := world.kept()["http"])["Certificates"]) == 2 and kept)
            assert after["Account"]["Registration"]["uri"] != before["Account"]["Registration"]["uri"], after["Account"]
            assert "deactivated" in proxy.log, proxy.log


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def deactivate(world, account):
    """As whoever has the key can (RFC 8555, 7.3.6)."""
    folder = fresh("account")
    (folder / "key.der").write_bytes(base64.b64decode(account["PrivateKey"]))
    openssl("rsa", "-inform", "DER", "-in", folder / "key.der", "-out", folder / "key.pem")
    uri = account["Registration"]["uri"]

    def call(url, body=None, method=None):
        request = urllib.request.Request(url, body, {"Content-Type": "application/jose+json"}, method=method)
        return urllib.request.urlopen(request, timeout=20, context=trusting())

    directory = json.load(call(world.ca.url))

    def done():
        nonce = call(directory["newNonce"], method="HEAD").headers["Replay-Nonce"]
        protected = b64(json.dumps({"alg": "RS256", "kid": uri, "nonce": nonce, "url": uri}).encode())
        payload = b64(b'{"status":"deactivated"}')
        command = ["openssl", "dgst", "-sha256", "-sign", str(folder / "key.pem")]
        signature = subprocess.run(command, input=f"{protected}.{payload}".encode(), capture_output=True, check=True).stdout
        body = json.dumps({"protected": protected, "payload": payload, "signature": b64(signature)})
        return json.load(call(uri, body.encode()))["status"] == "deactivated"

    # pebble refuses some good nonces on purpose.
    eventually(20, done)


@checks("a CA that wants an external account gets it, and its lack is named")
def _(server):
    kid, key = "kid-1", b64(bytes(range(32)))
    with World(server, eab={kid: key}) as world:
        bound = resolver(world, "bound", "tlsChallenge=true", f"eab.kid={kid}", f"eab.hmacEncoded={key}")
        routers = {"a": ("Host(`a.example.org`)", "bound"), "b": ("Host(`b.example.org`)", "http")}
        with world.proxy(routers, *bound) as proxy:
            eventually(40, lambda: has(world.tls, "a.example.org"))
            entry = eventually(40, lambda: (one := state(proxy, "http", "b.example.org"))["state"] == "failed" and one)
            assert "eab.kid" in entry["error"], entry


@checks("two resolvers that show the same name by TLS-ALPN-01 at once wait for each other")
def _(server):
    # The CA takes a while to look: both orders are open together.
    with World(server, PEBBLE_VA_NOSLEEP=0, PEBBLE_VA_SLEEPTIME=5) as world:
        other = resolver(world, "other", "tlsChallenge=true")
        with world.proxy({}, *other) as proxy:
            text = dynamic(server, {"a": ("Host(`a.example.org`)", "tls"), "b": ("Host(`a.example.org`) && Path(`/b`)", "other")})
            proxy.file.write_text(text)
            eventually(60, lambda: has(world.tls, "a.example.org"))
            done = lambda: [(state(proxy, name, "a.example.org") or {}).get("state") for name in ("tls", "other")]  # noqa: E731
            eventually(60, lambda: "ordering" not in done() and "waiting" not in done())
            equal([one for one in done() if one not in ("valid", None)], [])
            resolvers = proxy.get("/api/wharf/certificates")
            equal([resolvers[name]["ordersFailed"] for name in ("tls", "other")], [0, 0])
            equal(served(world.tls, "a.example.org")[0], ["a.example.org"])


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
