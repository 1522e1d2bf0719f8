"""The binary as a process of this machine: the proxy, and demo servers behind it."""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from . import engine
from .checks import PATIENCE, eventually
from .web import ask


def free_ports(count):
    """Ports nobody listens on now. They lie below the range the kernel takes clients' ports
    from, since one of those may be taken between our look and the program's bind (and a
    client that connects to a dead one of those can meet itself)."""
    found = []
    while len(found) < count:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found


def listens(port, host="127.0.0.1"):
    with socket.create_connection((host, port), timeout=0.5):
        return True


def program():
    """What is tested: Wharf, or Traefik to see whether the tests are right."""
    return os.environ.get("WHARF_TEST_TRAEFIK") or str(engine.binary())


def once(arguments, env=None, cwd=None, timeout=15):
    """Runs to the end: (status, everything it said)."""
    folder = cwd or fresh("once")
    done = subprocess.run(
        [program(), *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout


def fresh(name):
    """An empty folder of this run."""
    folder = engine.OUT / engine.RUN / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class Process:
    """A process that is ended by id, and whose output is kept."""

    def __init__(self, command, name, cwd=None, env=None):
        self.folder = Path(cwd) if cwd else fresh(name)
        self.output = open(self.folder / f"{name}.log", "w+")  # noqa: SIM115, closed in stop()
        self.child = subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **(env or {})},
        )
        # A check that fails before its `with` leaves none behind.
        atexit.register(self.stop)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def log(self):
        return Path(self.output.name).read_text(errors="replace")

    def open_files(self):
        """What its file descriptors are, as the system names them."""
        found = []
        for link in Path(f"/proc/{self.child.pid}/fd").iterdir():
            try:
                found.append(str(link.readlink()))
            except OSError:  # closed meanwhile
                pass
        return found

    def signal(self, number):
        self.child.send_signal(number)

    def ended(self, seconds):
        """The exit status, within that time."""
        try:
            return self.child.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s; it said: {self.log[-500:]}") from None

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(12)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.output.close()
        atexit.unregister(self.stop)


class Proxy(Process):
    """The proxy with these flags; web and the API on free ports."""

    def __init__(self, name="proxy", flags=(), dynamic=None, entry_points=("web",), env=None, ports=None):
        folder = fresh(name)
        ports = [*ports, *free_ports(1)] if ports else free_ports(len(entry_points) + 1)
        self.ports = dict(zip(entry_points, ports))
        self.port, self.api = ports[0], ports[-1]
        arguments = [f"--entryPoints.{entry}.address=127.0.0.1:{port}" for entry, port in self.ports.items()]
        arguments += [f"--entryPoints.traefik.address=127.0.0.1:{self.api}", "--api.insecure=true", "--ping=true"]
        self.file = folder / "dynamic.yml"
        if dynamic is not None:
            self.file.write_text(dynamic)
            arguments.append(f"--providers.file.filename={self.file}")
        super().__init__([program(), *arguments, *flags], name, cwd=folder, env=env)
        try:
            eventually(10, lambda: self.child.poll() is not None or listens(self.api) and listens(self.port))
            assert self.child.poll() is None, f"did not start: {self.log[-1500:]}"
        except BaseException:
            self.stop()
            raise

    def ask(self, path="/", **more):
        return ask("127.0.0.1", self.port, path, **more)

    def get(self, path):
        return ask("127.0.0.1", self.api, path).json

    def get_text(self, path):
        return ask("127.0.0.1", self.api, path).text

    def problems(self):
        return self.get("/api/wharf/problems")

    def routed(self, host, seconds=5):
        """Waits until a request for this host is answered by a server."""
        eventually(seconds, lambda: self.ask(headers={"Host": host}).header("x-replica"))


class Server(Process):
    """A demo server on a free port."""

    def __init__(self, name="app", *options):
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        command = [str(engine.binary()), "demo-server", "--name", name, "--replica", name, "--port", str(self.port), *options]
        super().__init__(command, f"server-{name}")
        try:
            eventually(5, lambda: listens(self.port))
        except BaseException:
            self.stop()
            raise
