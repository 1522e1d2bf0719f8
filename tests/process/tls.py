"""TLS as clients see it: sessions that are resumed, and when they are not."""

import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.openssl import s_client, self_signed
from harness.proxy import Proxy, fresh

checks = Checks("tls")
VERSIONS = {"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}


def dynamic(*certificates, options=""):
    """A router for each name that answers 418, and these certificates."""
    text = "http:\n  routers:\n"
    text += '    all: { rule: "PathPrefix(`/`)", service: noop@internal, tls: {} }\n'
    text += "tls:\n" + (f"  options: {{ default: {{ {options} }} }}\n" if options else "")
    if certificates:
        text += "  certificates:\n" + "".join(f"    - {{ certFile: {cert}, keyFile: {key} }}\n" for cert, key in certificates)
    return text if certificates or options else text.replace("tls:\n", "")


def session(port, version, file, *more):
    """How a handshake went that may resume the session in the file: `New` or `Reused`, and the whole text."""
    text = s_client(port, "a.example.org", version, *more)
    found = [line for line in text.splitlines() if line.startswith(("New, ", "Reused, "))]
    assert found and VERSIONS[version] in found[0], text[-2000:]
    return found[0].split(",")[0]


def first(port, version, file):
    equal(session(port, version, file, "-sess_out", file), "New")


def again(port, version, file):
    return session(port, version, file, "-sess_in", file)


@checks("a session of TLS 1.2 and 1.3 is resumed on any worker, also after other certificates and routers came")
def _(_none):
    folder = fresh("sessions-files")
    pairs = [self_signed(folder, name, f"{name}.example.org") for name in ("a", "b")]
    with Proxy("sessions", ["--wharf.workers=4"], dynamic(pairs[0])) as proxy:
        eventually(20, lambda: "CN = a.example.org" in s_client(proxy.port, "a.example.org"))
        for version in VERSIONS:
            first(proxy.port, version, folder / version)
            # The kernel chooses the worker.
            equal([again(proxy.port, version, folder / version) for _ in range(8)], ["Reused"] * 8, version)

        proxy.file.write_text(dynamic(*pairs))
        eventually(20, lambda: "CN = b.example.org" in s_client(proxy.port, "b.example.org"))

        for version in VERSIONS:
            equal(again(proxy.port, version, folder / version), "Reused", f"{version} after other certificates")


@checks("no session is resumed past other TLS options, nor with tickets off")
def _(_none):
    folder = fresh("no-sessions-files")
    pair = self_signed(folder, "a", "a.example.org")
    with Proxy("no-sessions", [], dynamic(pair)) as proxy:
        eventually(20, lambda: "CN = a.example.org" in s_client(proxy.port, "a.example.org"))
        for version in VERSIONS:
            first(proxy.port, version, folder / version)

        # What clients must show is part of the options: a session from before would show nothing.
        proxy.file.write_text(dynamic(pair, options="alpnProtocols: [http/1.1]"))
        eventually(20, lambda: "ALPN protocol: http/1.1" in s_client(proxy.port, "a.example.org", "-alpn", "h2,http/1.1"))
        for version in VERSIONS:
            equal(again(proxy.port, version, folder / version), "New", version)

        proxy.file.write_text(dynamic(pair, options="disableSessionTickets: true"))
        eventually(20, lambda: "ALPN protocol: h2" in s_client(proxy.port, "a.example.org", "-alpn", "h2,http/1.1"))
        for version in VERSIONS:
            file = folder / f"off{version}"
            session(proxy.port, version, file, "-sess_out", file)
            found = again(proxy.port, version, file) if file.exists() else "New"
            equal(found, "New", f"{version} with disableSessionTickets")


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
