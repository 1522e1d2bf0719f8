"""A Docker engine of the tests' own, which may be killed: nobody else has containers there. Only
where WHARF_TEST_OWN_ENGINE=1 says that the machine's own engine may lose its default bridge by it."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import engine
from .checks import Skip, eventually
from .cuttable import Cuttable

# Its networks are reached from this machine and lead nowhere else, so nothing of the machine's
# own packet filter is touched. The addresses are others than those of the machine's own engine.
FLAGS = [
    "--iptables=false", "--ip6tables=false", "--ip-masq=false",
    "--default-address-pool=base=10.201.0.0/16,size=24",
]  # fmt: skip


def own_engine():
    """Enters an engine of the tests' own; where none can run, what stands for one."""
    own = OwnEngine()
    try:
        own.__enter__()
    except Skip as reason:
        own = StandIn(reason)
        own.__enter__()
    return own


class OwnEngine:
    """Runs dockerd in a folder of its own, and has everything in harness.engine talk to it."""

    note = ""

    def __init__(self):
        # The paths of sockets must stay short.
        self.folder = Path(f"/tmp/{engine.RUN}o")
        self.socket = str(self.folder / "d.sock")
        # Without a bridge of its own (`--bridge=none`) it would remove the other engine's.
        self.bridge = f"wh{os.getpid()}"
        self.child = None

    def __enter__(self):
        if os.environ.get("WHARF_TEST_OWN_ENGINE") != "1":
            # One that is started again takes docker0 away from the machine's own engine, even with
            # a bridge of its own.
            raise Skip("WHARF_TEST_OWN_ENGINE=1 allows an engine of the tests' own, at the price of docker0")
        if os.geteuid() != 0 or not shutil.which("dockerd") or not shutil.which("ip"):
            raise Skip("an engine of the tests' own needs root, dockerd and ip")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        # The machine's own settings would clash with the flags.
        (self.folder / "daemon.json").write_text("{}")
        self.before = engine.SOCKET, os.environ.get("DOCKER_HOST")
        engine.SOCKET = self.socket
        os.environ["DOCKER_HOST"] = f"unix://{self.socket}"
        try:
            self.link("add", self.bridge, "type", "bridge")
            self.link("set", self.bridge, "up")
            self.ip("addr", "add", "10.202.0.1/24", "dev", self.bridge)
            self.start()
        except AssertionError as error:
            self.leave()
            raise Skip(f"no engine of the tests' own can run here: {error}") from error
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.child.poll() is not None:
                self.start()
            # Containers that its last run left behind are removed by it, not behind its back.
            engine.sweep()
        finally:
            self.leave()

    def ip(self, *words):
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"

    def link(self, *words):
        self.ip("link", *words)

    # --- its life ---

    def start(self, live_restore=True):
        """Starts it, and returns when it answers."""
        command = ["dockerd", f"--config-file={self.folder}/daemon.json", f"--host=unix://{self.socket}",
                   f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec",
                   f"--pidfile={self.folder}/pid", f"--bridge={self.bridge}", *FLAGS]  # fmt: skip
        if live_restore:
            command.append("--live-restore")
        with open(self.folder / "log", "a") as log:
            # A session of its own: Ctrl-C is for the checks, which then end it in order.
            self.child = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually(6, lambda: self.child.poll() is not None or self.answers())
        assert self.child.poll() is None, f"dockerd ended: {self.log()[-500:]}"

    def answers(self):
        try:
            return bool(engine.call("GET", "/version"))
        except OSError:
            return False

    def kill(self):
        """It dies as by the kernel's hand, and containerd with it; its containers go on."""
        note = self.folder / "exec/containerd/containerd.pid"
        containerd = int(note.read_text())
        self.child.kill()
        self.child.wait()
        eventually(5, lambda: ended(containerd))
        # Where nobody takes note of its end, its process id looks taken to the next engine.
        note.unlink()

    def stop(self):
        """It ends in order; without live-restore it stops its containers first."""
        self.child.terminate()
        self.child.wait(60)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    # --- leaving nothing behind ---

    def leave(self):
        engine.SOCKET, host = self.before
        if host is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = host
        if self.child:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        eventually(5, lambda: not self.left())
        for place in self.mounts():
            subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)

    def left(self):
        """What is left of a killed engine: whoever names its folder, and their children."""
        parents, found = {}, set()
        for place in Path("/proc").iterdir():
            if not place.name.isdigit():
                continue
            try:
                words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # ended meanwhile
                continue
            if not (stat := state(place.name)):
                continue
            parents[int(place.name)] = int(stat[1])
            # An engine's helpers are told its folder as an argument: `-address FOLDER/...`.
            is_ours = "containerd" in words[0] and any(word.startswith(f"{self.folder}/") for word in words)
            if is_ours:
                found.add(int(place.name))
        return found | {pid for pid, parent in parents.items() if parent in found}

    def mounts(self):
        """Where something is mounted in its folder, the innermost first."""
        lines = Path("/proc/self/mounts").read_text().splitlines()
        places = [line.split(" ")[1] for line in lines]
        return sorted((place for place in places if place.startswith(f"{self.folder}/")), reverse=True)


class StandIn:
    """The machine's own engine, which is nobody's to kill: what the proxy sees of it is taken away,
    and its containers are stopped and started as it would do."""

    def __init__(self, reason):
        self.note = f"; stand-in: {reason}"
        # A socket's path must stay short.
        self.socket = f"/tmp/{engine.RUN}o.sock"
        self.cuttable, self.stopped = Cuttable(self.socket), []

    def __enter__(self):
        engine.need()
        self.cuttable.open()
        return self

    def __exit__(self, *_):
        if os.path.exists(self.socket):
            self.cuttable.cut()

    def kill(self):
        self.cuttable.cut()

    def stop(self):
        self.stop_all()
        self.cuttable.cut()

    def stop_all(self):
        for container in engine.containers([f"wharf-test.run={engine.RUN}"]):
            if container["State"] == "running":
                engine.call("POST", f"/containers/{container['Id']}/stop", query={"t": "10"})
                self.stopped.append(container["Id"])

    def start(self, live_restore=True):
        if not live_restore:
            # What it finds of a killed one it stops, too.
            self.stop_all()
        for container in self.stopped:
            engine.call("POST", f"/containers/{container}/start")
        self.stopped = []
        self.cuttable.open()


def state(pid):
    """The state of a process that lives, and its parent; else nothing."""
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if found[0] in "ZX" else found[:2]


def ended(pid):
    return state(pid) is None
