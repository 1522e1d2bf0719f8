"""A name server of the tests' own (Knot DNS): real zones, updates signed with real keys."""

import base64
import random
import shutil
import socket
import struct

from .checks import PATIENCE, Skip, eventually
from .proxy import Process, free_ports, fresh

KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "TXT": 16, "AAAA": 28}
# Names to (algorithm, secret).
KEYS = {f"{algorithm}.key": (f"hmac-{algorithm}", algorithm.encode() * 6) for algorithm in ("sha1", "sha224", "sha256", "sha384", "sha512")}


def secret(key):
    """As variables and key files have it."""
    return base64.b64encode(KEYS[key][1]).decode()


def own_address():
    """An address of this machine with nothing at port 53, where name servers are looked for."""
    for _try in range(20):
        address = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, 53))
        except PermissionError:
            raise Skip("port 53 is not ours to bind: run as root") from None
        except OSError:
            continue
        return address
    raise Skip("something else listens at port 53 of every address")


def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.strip(".").split(".")) + b"\0"


def query(server, name, kind):
    """Asks a server: (code, number of records in its answer, the answer's bytes)."""
    number = random.randrange(1 << 16)
    question = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + name_bytes(name) + struct.pack(">2H", KINDS[kind], 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(2 * PATIENCE)
        asking.connect(server)
        asking.send(question)
        answer = asking.recv(65535)
    found, flags, _questions, records = struct.unpack(">4H", answer[:8])
    assert found == number
    return flags & 15, records, answer


class NameServer(Process):
    """Answers for these zones (name to lines of their file) at a free port, and where there
    is an `address` at its port 53 as well. Updates are taken when signed with one of KEYS."""

    def __init__(self, zones, address=None, name="knot"):
        program = shutil.which("knotd") or shutil.which("knotd", path="/usr/sbin")
        if not program:
            raise Skip("knotd is missing: apt-get install knot")
        folder = fresh(name)
        (self.port,) = free_ports(1)
        self.at = ("127.0.0.1", self.port)
        self.shown = f"127.0.0.1:{self.port}"
        listen = [f"127.0.0.1@{self.port}", *([f"{address}@53"] if address else [])]
        lines = [
            "server:", f'  rundir: "{folder}"', f"  listen: [{', '.join(listen)}]", "  background-workers: 1", "  udp-workers: 1",
            "  tcp-workers: 1", "log:", "  - target: stdout", "    any: info",
            "database:", f'  storage: "{folder}"', "  journal-db-max-size: 16M", "  timer-db-max-size: 16M", "  kasp-db-max-size: 16M",
            "control:", f'  listen: "{folder}/sock"', "key:",
        ]  # fmt: skip
        for key, (algorithm, _secret) in KEYS.items():
            lines += [f"  - id: {key}", f"    algorithm: {algorithm}", f"    secret: {secret(key)}"]
        lines += ["acl:", "  - id: updates", f"    key: [{', '.join(KEYS)}]", "    action: update", "zone:"]
        for zone, records in zones.items():
            file = folder / f"{zone}.zone"
            head = [f"@ 60 SOA ns1.{zone}. admin.{zone}. 1 60 60 3600 1", "@ 60 NS ns1"]
            file.write_text("\n".join([f"$ORIGIN {zone}.", *head, *records, ""]))
            lines += [f"  - domain: {zone}", f'    file: "{file}"', "    acl: updates", "    zonefile-sync: -1"]
        (folder / "knot.conf").write_text("\n".join([*lines, ""]))
        super().__init__([program, "-c", str(folder / "knot.conf")], name, cwd=folder)
        self.up(list(zones)[0])

    def up(self, zone):
        try:
            eventually(10, lambda: self.child.poll() is not None or query(self.at, zone, "SOA")[1] == 1)
            assert self.child.poll() is None, f"knotd did not start: {self.log[-1500:]}"
        except BaseException:
            self.stop()
            raise

    def has(self, name, kind="TXT"):
        return query(self.at, name, kind)[1] > 0
