"""The processes that follow a proxy when it is told to upgrade itself."""

import os
import re
import signal
from pathlib import Path

from .checks import eventually


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Successors:
    """A proxy that logs at INFO, and those who followed it: `pids`, the oldest first."""

    def __init__(self, proxy):
        self.proxy, self.pid, self.pids = proxy, proxy.child.pid, []

    def next(self):
        """The process that the log says accepts, once there is a new one."""
        def found():
            pids = [int(pid) for pid in re.findall(r"process (\d+) accepts", self.proxy.log)]
            return [pid for pid in pids if pid not in self.pids]

        (pid,) = eventually(20, found)
        self.pids.append(pid)
        return pid

    def upgrade(self):
        os.kill(self.pids[-1] if self.pids else self.pid, signal.SIGUSR2)
        return self.next()

    def stop(self):
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
        for pid in self.pids:
            eventually(20, lambda pid=pid: not alive(pid))
        self.proxy.stop()
