"""The Docker engine: its API over the socket, images around one binary, compose projects."""

import atexit
import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import urllib.parse
from pathlib import Path

from .checks import Skip

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("WHARF_TEST_OUT", ROOT / "tests" / "out"))
# Every name of this run begins with it, so that nothing of anybody else's is touched.
RUN = os.environ.get("WHARF_TEST_RUN", f"wharftest{os.getpid()}")
SOCKET = "/var/run/docker.sock"


def binary():
    """The static binary under test, made by tests/run."""
    path = Path(os.environ.get("WHARF_BIN", ""))
    if not path.is_file():
        raise Skip("WHARF_BIN names no file; run this through tests/run")
    return path


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("engine", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(method, path, body=None, query=None, ok=(200, 201, 204, 304)):
    """One call of the engine's API; JSON in and out."""
    if query:
        path += "?" + urllib.parse.urlencode(query)
    connection = UnixConnection(SOCKET)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        data = response.read()
        if response.status not in ok:
            raise AssertionError(f"engine: {method} {path}: {response.status} {data[:300]!r}")
        return json.loads(data) if data.strip() else None
    finally:
        connection.close()


def need():
    """Skips (fails with CI=true) where no engine answers."""
    try:
        call("GET", "/version")
    except OSError as error:
        raise Skip(f"no Docker engine at {SOCKET}: {error}") from error


def inspect(container):
    return call("GET", f"/containers/{container}/json")


def address(container, network=None):
    networks = inspect(container)["NetworkSettings"]["Networks"]
    if network:
        return networks[network]["IPAddress"]
    return next(net["IPAddress"] for net in networks.values() if net["IPAddress"])


def containers(labels):
    filters = json.dumps({"label": labels})
    return call("GET", "/containers/json", query={"all": "1", "filters": filters})


def image(extra=()):
    """The image of this run: scratch and the binary, built from the Dockerfile's last stage."""
    tag = f"{RUN}-image"
    if call("GET", f"/images/{tag}/json", ok=(200, 404)).get("Id"):
        return tag
    context = OUT / RUN / "image"
    context.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "Dockerfile").read_text()
    stage = text[text.rindex("FROM scratch") :].replace("--from=build ", "")
    shutil.copy(binary(), context / "wharf")
    for path in extra:
        shutil.copy(path, context / Path(path).name)
        stage = stage.replace("ENTRYPOINT", f"COPY {Path(path).name} /\nENTRYPOINT")
    (context / "Dockerfile").write_text(stage)
    run(["docker", "build", "-q", "-t", tag, str(context)], env={"DOCKER_BUILDKIT": "0"})
    return tag


def run(command, env=None, cwd=None, check=True):
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=300
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout[-500:]}{done.stderr[-1500:]}")
    return done.stdout


def compose_command():
    """docker-compose or docker compose, whichever is here."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    raise Skip("neither docker-compose nor docker compose is installed")


def start(name, network, command, labels=None, extra=None):
    """A container of this run's image; returns its id."""
    body = {
        "Image": image(),
        "Cmd": command,
        "Labels": {**(labels or {}), "wharf-test.run": RUN},
        "HostConfig": {"NetworkMode": network},
        **(extra or {}),
    }
    made = call("POST", "/containers/create", body, query={"name": f"{RUN}-{name}"})["Id"]
    call("POST", f"/containers/{made}/start")
    return made


def remove(container):
    call("DELETE", f"/containers/{container}", query={"force": "1", "v": "1"}, ok=(200, 204, 404, 409))


class Network:
    """A bridge network of this run."""

    def __init__(self, name):
        self.name = f"{RUN}-{name}"

    def __enter__(self):
        body = {"Name": self.name, "Labels": {"wharf-test.run": RUN}}
        self.id = call("POST", "/networks/create", body)["Id"]
        return self

    def __exit__(self, *_):
        call("DELETE", f"/networks/{self.id}", ok=(200, 204, 404, 403))


def sweep():
    """Removes everything of this run, by id; also called by tests/run at its end."""
    try:
        left = containers([f"wharf-test.run={RUN}"])
        for project in {c["Labels"].get("com.docker.compose.project") for c in containers([])}:
            if project and project.startswith(RUN):
                left += containers([f"com.docker.compose.project={project}"])
        for container in left:
            remove(container["Id"])
        for network in call("GET", "/networks"):
            if network["Name"].startswith(RUN):
                call("DELETE", f"/networks/{network['Id']}", ok=(200, 204, 403, 404))
    except OSError:
        pass


atexit.register(sweep)


class Project:
    """A copy of one of the examples, with names of this run."""

    def __init__(self, example, name=None, edit=()):
        self.example, self.edit = example, edit
        self.name = f"{RUN}{name or example}"
        self.folder = OUT / RUN / self.name
        self.network = f"{self.name}_net"

    def __enter__(self):
        need()
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(ROOT / "examples" / self.example, self.folder)
        for file in self.folder.rglob("*.yml"):
            text = file.read_text().replace("backend_net", self.network)
            for old, new in self.edit:
                text = text.replace(old, new)
            file.write_text(text)
        # Free host ports: the tests ask containers at their own addresses.
        self.env = {"WEB_PORT": "0", "WEBSECURE_PORT": "0", "DASHBOARD_PORT": "0"}
        traefik = os.environ.get("WHARF_TEST_TRAEFIK")
        self.env["WHARF_IMAGE"] = image([traefik] if traefik else [])
        if traefik:
            # To see that the tests are right about Traefik.
            override = {"services": {"wharf": {"entrypoint": ["/" + Path(traefik).name]}}}
            (self.folder / "override.yml").write_text(json.dumps(override))
        try:
            self.compose("up", "-d", "--no-build")
            self.proxy = self.replicas("wharf")[0]
            self.host = address(self.proxy)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.compose("down", "-v", "-t", "2", "--remove-orphans", check=False)

    def compose(self, *arguments, check=True):
        files = ["-f", "compose.yml"]
        if (self.folder / "override.yml").exists():
            files += ["-f", "override.yml"]
        command = [*compose_command(), "-p", self.name, *files, *arguments]
        return run(command, env=self.env, cwd=self.folder, check=check)

    def scale(self, service, count):
        self.compose("up", "-d", "--no-build", "--no-deps", "--scale", f"{service}={count}", service)

    def replicas(self, service):
        """Ids of the running containers of a service."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        return [c["Id"] for c in containers(labels) if c["State"] == "running"]

    def logs(self):
        return run(["docker", "logs", self.proxy])


class Events:
    """Start events as the engine sends them: id -> time in seconds."""

    def __init__(self):
        self.started = {}

    def __enter__(self):
        self.connection = UnixConnection(SOCKET, timeout=None)
        filters = json.dumps({"type": ["container"], "event": ["start"]})
        self.connection.request("GET", "/events?" + urllib.parse.urlencode({"filters": filters}))
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        return self

    def read(self):
        try:
            # The head comes with the first event on some engines, so it is read here.
            for line in self.connection.getresponse():
                event = json.loads(line)
                self.started[event["Actor"]["ID"]] = event["timeNano"] / 1e9
        except (OSError, ValueError, AttributeError):
            pass

    def __exit__(self, *_):
        if self.connection.sock:
            try:
                self.connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


