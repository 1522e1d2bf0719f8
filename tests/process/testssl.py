"""testssl.sh against the default TLS options: nothing it finds may be worse than LOW."""

import json
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import PATIENCE, Checks, Skip, eventually
from harness.openssl import Authority, s_client
from harness.proxy import Proxy, Server, fresh

checks = Checks("testssl")

# What is the tests' own and no option of the proxy's: a CA that nobody trusts, whose
# certificates end within a year and have no list of revoked ones.
OWN = {"cert_chain_of_trust", "cert_expirationStatus", "cert_notAfter", "cert_revocation", "cert_extlifeSpan"}
BAD = {"MEDIUM", "HIGH", "CRITICAL", "FATAL"}

# All of its default groups but the simulation of clients, which only shows what each would
# choose; it takes as long as the rest together.
GROUPS = [
    "--protocols", "--std", "--fs", "--server-preference", "--server-defaults", "--headers", "--heartbleed", "--ccs-injection",
    "--ticketbleed", "--robot", "--renegotiation", "--compression", "--breach", "--poodle", "--tls-fallback", "--sweet32", "--freak",
    "--drown", "--logjam", "--beast", "--lucky13", "--rc4", "--grease",
]  # fmt: skip

DYNAMIC = """
http:
  routers:
    all: {{ rule: "PathPrefix(`/`)", service: app, middlewares: [secure], tls: {{}} }}
  middlewares:
    # The application's: what a browser is told is no business of TLS.
    secure: {{ headers: {{ stsSeconds: 31536000, stsIncludeSubdomains: true, frameDeny: true, contentTypeNosniff: true,
      contentSecurityPolicy: "default-src 'self'", referrerPolicy: no-referrer }} }}
  services: {{ app: {{ loadBalancer: {{ servers: [ {{ url: "{url}" }} ] }} }} }}
tls:
  certificates: [ {{ certFile: {cert}, keyFile: {key} }} ]
"""


def findings(port):
    """What testssl.sh finds: (id, severity, text)."""
    folder = fresh("testssl-found")
    found = folder / "found.json"
    command = ["testssl", "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none", "--ip", "127.0.0.1"]
    command += ["--connect-timeout", "20", "--openssl-timeout", "60", "--jsonfile", str(found), *GROUPS, f"a.example.org:{port}"]
    # Its helpers end with it: nothing it starts outlives its own time-outs.
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=200 * PATIENCE)
    assert found.exists(), f"status {done.returncode}: {(done.stdout + done.stderr)[-1500:]}"
    return [(one["id"], one["severity"], one["finding"]) for one in json.loads(found.read_text())]


@checks("on the default options testssl.sh finds nothing above LOW but that the test's CA is unknown")
def _(server):
    if not shutil.which("testssl"):
        raise Skip("testssl is missing: apt-get install testssl.sh")
    cert, key = Authority(fresh("testssl-files")).issue("a", "a.example.org", days=300)
    with Proxy("testssl", [], DYNAMIC.format(url=server.url, cert=cert, key=key)) as proxy:
        eventually(5, lambda: "CN = a.example.org" in s_client(proxy.port, "a.example.org"))
        all = findings(proxy.port)
        bad = [f"{severity} {name}: {text}" for name, severity, text in all if severity in BAD and name.split(" ")[0] not in OWN]
        assert not bad, "; ".join(bad)
        # It was looked at, and not passed over.
        seen = {name.split(" ")[0]: text for name, _severity, text in all}
        for name in ("TLS1_3", "TLS1_2", "cipher_order", "heartbleed", "LUCKY13", "sessionresumption_ticket"):
            assert any(one.startswith(name) for one in seen), f"no finding {name} among {sorted(seen)}"

        return f"{len(all)} findings"


if __name__ == "__main__":
    sys.exit(checks.run(Server("app")))
