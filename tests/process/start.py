"""Starting: what stops it, and that the message says where, what and how to mend it."""

import re
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal, eventually
from harness.proxy import Process, Proxy, fresh, free_ports, once, program
from contextlib import nullcontext

checks = Checks("start")


def refused(arguments, *patterns, file=None, env=None):
    """The start ends with status 1 and says all of this."""
    folder = fresh("refused")
    if file:
        name, text = file
        (folder / name).write_text(text)
    status, said = once(arguments, env=env, cwd=folder)
    equal(status, 1, said[-400:])
    for pattern in patterns:
        assert re.search(pattern, said, re.I | re.S), f"nothing like {pattern!r} in {said[-600:]!r}"


@checks("an unknown flag is named, with the nearest one")
def _(_none):
    refused(["--entryPoints.web.adress=:0"], r"--entryPoints\.web\.adress", r"\baddress\b")


@checks("an unknown key in a file is named with file and line")
def _(_none):
    text = 'entryPoints:\n  web:\n    address: ":0"\nproviders:\n  docker:\n    exposedByDefualt: false\n'
    refused([], r"traefik\.yml:6", "exposedByDefualt", "exposedByDefault", file=("traefik.yml", text))


@checks("an option of Traefik's that is not built is named as such")
def _(_none):
    refused(["--providers.kubernetesIngress=true"], "kubernetesIngress", r"not (built|support)|yet")


@checks("broken YAML and TOML are refused with file and line")
def _(_none):
    refused([], r"traefik\.yml:2", file=("traefik.yml", "entryPoints:\n  web: [\n"))
    refused([], r"traefik\.toml:2", file=("traefik.toml", "[entryPoints]\nweb = = 1\n"))


@checks("a bad duration, number and boolean are named with their value")
def _(_none):
    refused(["--entryPoints.web.address=:0", "--entryPoints.web.transport.lifeCycle.graceTimeOut=soon"], "graceTimeOut", "soon")
    refused(["--entryPoints.web.address=:0", "--entryPoints.web.http2.maxConcurrentStreams=many"], "maxConcurrentStreams", "many")
    refused(["--entryPoints.web.address=:0", "--api.insecure=perhaps"], "insecure", "perhaps")


@checks("a configuration file that does not exist stops the start")
def _(_none):
    refused(["--configFile=nowhere.yml"], r"nowhere\.yml")


@checks("a busy port is named with its entry point and a mend")
def _(_none):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        refused([f"--entryPoints.web.address=127.0.0.1:{port}"], rf"web.*{port}|{port}.*web", r"in use|already|taken|another")


@checks("an unknown environment variable under a known root stops the start")
def _(_none):
    refused([], "TRAEFIK_ENTRYPOINTS_WEB_ADRESS", "address", env={"TRAEFIK_ENTRYPOINTS_WEB_ADRESS": ":0"})


@checks("a source that is set but not used is a warning by name")
def _(_none):
    port, = free_ports(1)
    folder = fresh("sources")
    (folder / "traefik.yml").write_text(f'entryPoints:\n  web:\n    address: "127.0.0.1:{port}"\n')
    with Process([program(), "--log.level=DEBUG"], "sources", cwd=folder, env={"WHARF_API": "true"}) as proxy:
        eventually(5, lambda: re.search(r"--log\.level", proxy.log))
        eventually(5, lambda: re.search(r"WHARF_API", proxy.log))


@checks("a missing engine is said, and the rest is served")
def _(_none):
    flags = ["--providers.docker.endpoint=unix:///nowhere/docker.sock"]
    with Proxy("no-engine", flags) as proxy:
        equal(proxy.ask("/").status, 404)
        eventually(5, lambda: any("/nowhere/docker.sock" in f"{p['origin']}{p['text']}" and p.get("mend") for p in proxy.problems()))


@checks("version, help and healthcheck answer")
def _(_none):
    status, said = once(["version"])
    assert status == 0 and re.search(r"Version: +\d", said), said
    status, said = once(["--help"])
    assert status == 0 and "--providers.docker.exposedByDefault" in said.replace("exposedbydefault", "exposedByDefault"), said[:300]
    for name in ("healthcheck", "demo"):
        assert name in said, f"--help does not speak of {name}"
    with Proxy("healthy") as proxy:
        flags = [f"--entryPoints.traefik.address=127.0.0.1:{proxy.api}", "--ping=true"]
        status, said = once(["healthcheck", *flags])
        equal(status, 0, said)
    equal(once(["healthcheck", *flags])[0], 1)


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
