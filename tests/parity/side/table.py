"""How scenarios are written: tables of labels, files and probes. Nothing here runs anything."""

import re

from .origin import Reply

__all__ = ["Reply", "Stage"]


class Stage:
    """One set-up: static options, containers, a dynamic file, and the scenarios that use it."""

    def __init__(self, flags=(), entry_points=("web",), app=None, environment=None, tls=False):
        self.flags, self.entry_points, self.tls = list(flags), entry_points, tls
        # The container whose services all may use; every scenario has one more for its labels.
        self.app = {"command": app or ["demo-server", "--name", "app", "--replica", "app"], "labels": {}}
        self.containers, self.files, self.scenarios = {}, [], []
        self.environment = environment or {}

    def scenario(self, name):
        scenario = Scenario(self, name)
        self.scenarios.append(scenario)
        return scenario

    def labels(self, text):
        """Labels of the container `app`, a line each."""
        self.app["labels"].update(read_labels(text))

    def container(self, name, text, command=None, **more):
        """A container of its own; `more` goes to the engine (health check, network mode, ...)."""
        command = command or ["demo-server", "--name", name, "--replica", name]
        self.containers[name] = {"command": command, "labels": read_labels(text), **more}

    def file(self, text):
        """A piece of dynamic configuration (YAML) for the file provider."""
        self.files.append(text)


def read_labels(text):
    labels = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, _, value = line.partition("=")
        assert key not in labels, f"label {key} twice"
        labels[key] = value
    return labels


class Scenario:
    """Probes that belong together, in order."""

    def __init__(self, stage, name):
        self.stage, self.name, self.probes = stage, name, []

    def labels(self, text):
        """Labels of this scenario's own container: one that can't be read harms no other scenario."""
        name = re.sub(r"\W+", "-", self.name.lower()).strip("-")
        if name not in self.stage.containers:
            self.stage.container(name, "")
        labels = self.stage.containers[name]["labels"]
        for key, value in read_labels(text).items():
            assert key not in labels, f"label {key} twice"
            labels[key] = value

    def file(self, text):
        self.stage.file(text)

    def middleware(self, name, settings, service="app", router=""):
        """A router for `<name>.test` with one middleware of that name; settings a line each."""
        base = f"traefik.http.routers.{name}"
        lines = [f"{base}.rule=Host(`{name}.test`)", f"{base}.service={service}", f"{base}.middlewares={name}"]
        lines += [f"{base}.{line.strip()}" for line in router.splitlines() if line.strip()]
        lines += [f"traefik.http.middlewares.{name}.{line.strip()}" for line in settings.splitlines() if line.strip()]
        self.labels("\n".join(lines))

    def rule(self, name, rule, service="app", more=""):
        """A router with this rule."""
        base = f"traefik.http.routers.{name}"
        lines = [f"{base}.rule={rule}", f"{base}.service={service}"]
        lines += [f"{base}.{line.strip()}" for line in more.splitlines() if line.strip()]
        self.labels("\n".join(lines))

    # --- probes -------------------------------------------------------------------------

    def add(self, kind, name, **probe):
        names = {each["name"] for each in self.probes}
        unique, turn = name, 1
        while unique in names:
            turn += 1
            unique = f"{name} ({turn})"
        self.probes.append({"kind": kind, "name": unique, **probe})

    def ask(self, method, where, *lines, name=None, **probe):
        """One request: `where` is host and target, `lines` are header lines.

        Further: entry, tls, source, body, version, host, replies, until, upstream, keep, closed."""
        host, target = split(where)
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        shown = " ".join([method, where, *(f"[{short(line)}]" for line in lines)])
        shown += "".join(f" {key}={probe[key]}" for key in ("entry", "source", "version") if probe.get(key))
        shown += " over TLS" if probe.get("tls") is not None else ""
        body = probe.pop("body", b"")
        probe["body"] = body.encode() if isinstance(body, str) else body
        self.add("ask", name or shown, method=method, host=host, target=target, headers=headers, **probe)

    def get(self, where, *lines, **probe):
        self.ask("GET", where, *lines, **probe)

    def post(self, where, *lines, **probe):
        self.ask("POST", where, *lines, **probe)

    def raw(self, name, text, **probe):
        """Bytes as they are; one answer is read."""
        self.add("raw", name, data=text.replace("\n", "\r\n").encode("latin-1") if isinstance(text, str) else text, **probe)

    def spread(self, where, count, *lines, shows="counts", **probe):
        """So many requests in turn: how many each server got, or which were `used`, or how many (`number`)."""
        host, target = split(where)
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        name = probe.pop("name", None) or f"{count} x GET {where}" + "".join(f" [{line}]" for line in lines)
        self.add("spread", name, count=count, host=host, target=target, headers=headers, shows=shows, body=b"", method="GET", **probe)

    def api(self, path, *, only=None, pick=None, **probe):
        """One GET of the API: `only` drops list entries whose name does not match, `pick` keeps these keys."""
        self.add("api", probe.pop("name", None) or f"API {path}", path=path, only=only and re.compile(only), pick=pick, **probe)

    def metrics(self, name, pattern, labels=None):
        """The series whose name and labels match, with their values."""
        self.add("metrics", name, pattern=re.compile(pattern), labels=labels)

    def curl(self, name, *arguments, **probe):
        """curl, for HTTP/2: `<web>` and the like stand for ports."""
        self.add("curl", name, arguments=arguments, **probe)

    def call(self, name, function, **probe):
        """What a function (of the running stage) finds, for what needs more than one request."""
        self.add("call", name, function=function, **probe)


def split(where):
    """`host/target`; a target that does not begin with a slash comes after a blank."""
    if " " in where:
        return tuple(where.split(" ", 1))
    host, slash, rest = where.partition("/")
    return host, slash + rest or "/"


def short(line):
    return line if len(line) <= 60 else line[:57] + "..."
