"""A certificate authority of the tests' own: pebble, with the DNS that it asks."""

import json
import shutil
import ssl
import subprocess
import urllib.request

from .checks import Skip, eventually
from .proxy import Process, fresh, free_ports, listens


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificates(folder):
    """`ca.pem`, a root, and `cert.pem` with `key.pem` by it, for this machine's names."""
    file = lambda name: str(folder / name)  # noqa: E731
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=tests", "-keyout", file("root.key"), "-out", file("ca.pem"))
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", file("key.pem"), "-out", file("csr.pem"))
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    openssl(
        "x509", "-req", "-in", file("csr.pem"), "-CA", file("ca.pem"), "-CAkey", file("root.key"), "-CAcreateserial",
        "-days", "30", "-extfile", file("names"), "-out", file("cert.pem"),
    )  # fmt: skip


def context(folder):
    """A server's TLS with these certificates; HTTP/2 is chosen where it is offered."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    made.set_alpn_protocols(["h2", "http/1.1"])
    return made


class CA:
    """Validates at these ports of this machine, asking its own DNS or the one at `resolver`;
    `faults` are pebble's variables."""

    def __init__(self, http_port, tls_port, seconds=None, resolver=None, eab=None, **faults):
        if not shutil.which("pebble") or not shutil.which("pebble-challtestsrv"):
            raise Skip("pebble is missing: apt-get install pebble")
        self.folder = fresh("ca")
        self.port, management, dns, self.dns_management = free_ports(4)
        self.dns_at = f"127.0.0.1:{dns}"
        self.url = f"https://localhost:{self.port}/dir"
        self.root = self.folder / "ca.pem"
        # The CA's own API is behind TLS.
        certificates(self.folder)
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": str(self.folder / "cert.pem"),
            "privateKey": str(self.folder / "key.pem"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": bool(eab),
            "externalAccountMACKeys": eab or {},
        }
        if seconds:
            settings["certificateValidityPeriod"] = seconds
        (self.folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        self.dns = Process(
            ["pebble-challtestsrv", "-defaultIPv6", "", "-defaultIPv4", "127.0.0.1", "-http01", "", "-https01", "", "-tlsalpn01", "",
             "-dns01", self.dns_at, "-management", f"127.0.0.1:{self.dns_management}"],
            "ca-dns",
        )  # fmt: skip
        variables = {"PEBBLE_VA_NOSLEEP": "1", **{name: str(value) for name, value in faults.items()}}
        command = ["pebble", "-config", str(self.folder / "pebble.json"), "-dnsserver", resolver or self.dns_at]
        self.start = lambda: Process(command, "pebble", env=variables)
        self.pebble = self.start()
        try:
            eventually(10, lambda: listens(self.port) and listens(self.dns_management))
        except BaseException:
            self.stop()
            raise

    def restart(self):
        """Forgets everything: its memory is all that it has."""
        self.pebble.stop()
        self.pebble = self.start()
        eventually(10, lambda: listens(self.port))

    def tell_dns(self, what, **about):
        body = json.dumps(about).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{self.dns_management}/{what}", body, timeout=10).read()

    def orders(self):
        """Certificates that were made so far."""
        return self.pebble.log.count("Issued certificate serial")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.pebble.stop()
        self.dns.stop()
