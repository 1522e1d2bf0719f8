"""Runs the scenarios of a stage against whatever `harness.proxy.program` is, and keeps the answers."""

import copy
import json
import re
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from harness import engine
from harness.checks import eventually
from harness.proxy import Proxy, free_ports, fresh, program
from harness.web import ask as plain_ask

from . import normal
from .client import Connection, request
from .origin import Origin

ORIGINS = ("a", "b", "c")


class Running:
    """A stage with its containers, its origins and the proxy."""

    def __init__(self, name, stage, certificates, more_flags=()):
        self.name, self.stage, self.certificates = name, stage, certificates
        self.names, self.kept, self.containers = normal.Names(), {}, {}
        self.origins = {each: Origin(each) for each in ORIGINS}
        server = tuple(str(certificates / f"server.{end}") for end in ("crt", "key"))
        self.origins["s"] = Origin("s", server)
        self.origins["m"] = Origin("m", server, str(certificates / "authority.crt"))
        for origin in self.origins.values():
            self.names.server(origin.url, f"<{origin.name}>")
            self.kept[f"<{origin.name}-sticky>"] = normal.sticky(origin.url)
        (dead,) = free_ports(1)
        self.names.server(f"http://127.0.0.1:{dead}", "<dead>")
        self.places = {f"<{each.name}>": each.url for each in self.origins.values()}
        self.places |= {f"<{each.name}:addr>": each.address for each in self.origins.values()}
        self.places |= {"<dead>": f"http://127.0.0.1:{dead}", "<certificates>": str(certificates)}
        self.names.add(str(certificates), "<certificates>")
        self.names.add(socket.gethostname(), "<hostname>")
        self.folder = fresh(f"parity-{name}")
        self.names.add(str(self.folder), "<folder>")
        self.more_flags = list(more_flags)

    # --- start and stop -----------------------------------------------------------------

    def start(self):
        wanted = {**self.stage.containers}
        if self.stage.app["labels"]:
            wanted["app"] = self.stage.app
        with ThreadPoolExecutor(4) as pool:
            for name, container in zip(wanted, pool.map(lambda item: self.container(*item), wanted.items())):
                self.containers[name] = container
        for name, container in self.containers.items():
            self.learn(name, container)
        flags = [self.fill(flag) for flag in self.stage.flags] + self.more_flags
        if wanted:
            constraint = f"Label(`wharf-test.stage`, `{engine.RUN}-{self.name}`)"
            flags += ["--providers.docker=true", f"--providers.docker.constraints={constraint}"]
            flags += ["--providers.providersThrottleDuration=100ms"]
        if self.stage.files:
            self.file = self.folder / "dynamic"
            self.file.mkdir()
            for turn, text in enumerate(self.stage.files):
                (self.file / f"{turn:02}.yml").write_text(self.fill(text))
            flags.append(f"--providers.file.directory={self.file}")
        self.proxy = Proxy(f"parity-{self.name}-proxy", flags, entry_points=self.stage.entry_points, env=self.stage.environment)
        for entry, port in {**self.proxy.ports, "traefik": self.proxy.api}.items():
            self.names.add(str(port), f"<{entry}>")
            self.places[f"<{entry}>"] = str(port)
        providers = ["docker"] * bool(wanted) + ["file"] * bool(self.stage.files)
        eventually(4, lambda: self.is_loaded(providers))
        return self

    def is_loaded(self, providers):
        """Every provider has given its first table: each has a router or middleware at least."""
        raw = self.proxy.get("/api/rawdata")
        known = {name.split("@")[1] for kind in ("routers", "middlewares", "services") for name in raw.get(kind, {})}
        return known >= set(providers)

    def container(self, name, wanted):
        name_of_compose = {"com.docker.compose.project": "parity", "com.docker.compose.service": name}
        labels = {key: self.fill(value) for key, value in wanted["labels"].items()}
        if not wanted.get("bare"):
            labels = {**name_of_compose, **labels}
        extra = {"ExposedPorts": {"8080/tcp": {}}, **copy.deepcopy(wanted.get("extra", {}))}
        labels["wharf-test.stage"] = f"{engine.RUN}-{self.name}"
        made = engine.start(f"{self.name}-{name}", wanted.get("network", "bridge"), wanted["command"], labels, extra)
        if wanted.get("then"):
            engine.call("POST", f"/containers/{made}/{wanted['then']}", query={"t": "0"} if wanted["then"] == "stop" else None)
        return made

    def learn(self, name, container):
        facts = engine.inspect(container)
        self.names.add(container, f"<id {name}>")
        self.names.add(container[:12], f"<id {name}>")
        self.names.add(f"{engine.RUN}-{self.name}-{name}", f"<container {name}>")
        for network in facts["NetworkSettings"]["Networks"].values():
            if address := network["IPAddress"]:
                self.names.add(address, f"<{name}>")
                self.places[f"<{name}>"] = address
                for port in {part.split("/")[0] for part in facts["Config"].get("ExposedPorts") or {}}:
                    self.names.server(f"http://{address}:{port}", f"<{name}>:{port}")

    def stop(self):
        if hasattr(self, "proxy"):
            self.proxy.stop()
        for origin in self.origins.values():
            origin.close()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(engine.remove, self.containers.values()))

    def fill(self, text):
        for place, value in {**self.places, **self.kept}.items():
            text = text.replace(place, value)
        return text

    # --- probes -------------------------------------------------------------------------

    def run(self, scenario):
        """The answers by the probes' names."""
        found = {}
        for probe in scenario.probes:
            try:
                found[probe["name"]] = getattr(self, "probe_" + probe["kind"])(probe)
            except (OSError, AssertionError, ValueError, KeyError, subprocess.SubprocessError) as error:
                found[probe["name"]] = {"broken": f"{type(error).__name__}: {error}"[:300]}
        return found

    def ready(self, probe):
        replies = probe.get("replies", {})
        for origin in self.origins.values():
            origin.ready(replies.get(origin.name, ()))

    def seen(self, probe):
        """What the origins got, in the order of their names; waits for as many as the probe expects."""
        if count := probe.get("upstream"):
            # Copies come after the answer.
            eventually(5, lambda: sum(len(each.seen) for each in self.origins.values()) >= count)
        return [each for name in sorted(self.origins) for each in self.origins[name].seen]

    def connect(self, probe):
        tls = probe.get("tls")
        if tls is not None:
            tls = {"name": probe["host"].split(":")[0] or None, **tls}
            if tls.get("certificate"):
                tls["certificate"] = [str(self.certificates / f"{tls['certificate']}.{end}") for end in ("crt", "key")]
        port = self.proxy.ports.get(probe.get("entry")) or (self.proxy.api if probe.get("entry") == "traefik" else self.proxy.port)
        return Connection(port, tls, probe.get("source"), preface=probe.get("preface", b""))

    def once(self, probe):
        """One request on a connection of its own, its answer as it came."""
        try:
            return self.exchange(probe)
        except ssl.SSLError as error:
            return {"closed": error.reason}

    def exchange(self, probe):
        host = self.fill(probe["host"])
        headers = [("Host", host)] if host and host != "-" else []
        headers += [(name, self.fill(value)) for name, value in probe["headers"]]
        with self.connect(probe) as connection:
            connection.send(request(probe["method"], self.fill(probe["target"]), headers, probe.get("body", b""), probe.get("version", "HTTP/1.1")))
            found = connection.answer(probe["method"])
            if probe.get("closed"):
                found["closed"] = connection.is_closed()
            return found

    def probe_ask(self, probe):
        if until := probe.get("until"):
            eventually(probe.get("limit", 10), lambda: self.holds(probe, until))
            if probe.get("upstream") is None:
                probe = {**probe, "replies": {}}
        self.ready(probe)
        found = self.once(probe)
        asked = {"host": self.fill(probe["host"]), "tls": probe.get("tls") is not None, "headers": probe["headers"]}
        return self.shown(found, asked, probe)

    def holds(self, probe, until):
        self.ready(probe)
        found = self.once(probe)
        status, pattern = (until, "") if isinstance(until, int) else until
        return found.get("status") == status and re.search(pattern, found["body"].decode("utf-8", "replace"))

    def shown(self, found, asked, probe):
        for word, (header, pattern) in (probe.get("keep") or {}).items():
            values = [value for name, value in found["headers"] if name == header]
            match = next(filter(None, (re.search(pattern, value) for value in values)), None)
            self.kept[f"<{word}>"] = match[1] if match else "<none kept>"
        if probe.get("zipped"):
            found = normal.unzipped(found)
        body, named = found.get("body", b""), dict(found.get("headers", ()))
        seen = self.seen(probe)
        if named.get("content-type") == "application/json" and body:
            try:
                echoed = normal.echoed(body)
            except ValueError:
                echoed = None
            if echoed:
                seen, found["body"] = [echoed, *seen], b"<the request>"
                found["headers"] = [(name, "<right>" if name == "content-length" and value == str(len(body)) else value) for name, value in found["headers"]]
        shown = normal.usual(normal.answer(found, self.names))
        if probe.get("lists"):
            normal.lists(shown)
        if probe.get("certified"):
            normal.certified(seen, self.certificates)
        if seen:
            shown["upstream"] = [normal.upstream(each, asked, self.names) for each in seen]
        for key in probe.get("without", ()):
            shown.get("headers", {}).pop(key, None)
            shown.pop(key, None)
        return shown

    def probe_raw(self, probe):
        self.ready(probe)
        with self.connect({"host": "", **probe}) as connection:
            connection.send(self.fill(probe["data"].decode("latin-1")).encode("latin-1"))
            found = connection.answer(probe.get("method", "GET"))
            if probe.get("closed"):
                found["closed"] = connection.is_closed()
            if probe.get("then"):
                connection.send(probe["then"])
                found["headers"].append(("x-after", connection.exactly(len(probe["then"])).decode()))
        return self.shown(found, {"host": probe.get("host", ""), "tls": probe.get("tls") is not None, "headers": probe.get("headers", [])}, probe)

    def probe_spread(self, probe):
        """Which servers answered, by the header that each sets."""
        self.ready(probe)
        counts = {}
        for turn in range(probe["count"]):
            source = probe.get("source")
            one = {**probe, "source": source and source.replace("#", str(turn + 1))}
            found = self.once(one)
            named = dict(found.get("headers", ()))
            if probe["shows"] == "statuses":
                named = {}
            who = named.get("x-origin") or named.get("x-replica") or str(found.get("status", "closed"))
            counts.setdefault(who, []).append(turn)
        if probe["shows"] == "turns":
            return {"turns": {who: turns for who, turns in sorted(counts.items())}}
        if probe["shows"] == "used":
            return {"used": sorted(counts)}
        if probe["shows"] == "statuses":
            return {"statuses": sorted(counts)}
        if probe["shows"] == "number":
            return {"used": len(counts)}
        return {"counts": {who: len(turns) for who, turns in sorted(counts.items())}}

    def probe_api(self, probe):
        wanted = probe.get("until")
        if wanted:
            eventually(probe.get("limit", 10), lambda: re.search(wanted, plain_ask("127.0.0.1", self.proxy.api, probe["path"]).text))
        found = plain_ask("127.0.0.1", probe.get("port") or self.proxy.api, self.fill(probe["path"]), method=probe.get("method", "GET"), headers=probe.get("headers"))
        shown = {"status": found.status}
        for name in ("content-type", "x-next-page", "location", "allow"):
            if found.header(name) is not None:
                shown[name] = self.names(found.header(name))
        try:
            body = normal.tree(json.loads(found.body), self.names)
        except ValueError:
            body = normal.content(found.body, self.names)
        if isinstance(body, list) and probe["only"]:
            body = [each for each in body if probe["only"].search(each.get("name", ""))]
        elif isinstance(body, dict) and probe["only"]:
            body = {key: inner for key, inner in body.items() if probe["only"].search(key)}
        if probe["pick"] and isinstance(body, list):
            body = [{key: each.get(key) for key in probe["pick"]} for each in body]
        elif probe["pick"] and isinstance(body, dict):
            body = {key: body.get(key) for key in probe["pick"]}
        for key in probe.get("sort", ()):
            normal.sort(body, key.split("."))
        shown["body"] = body
        return shown

    def probe_metrics(self, probe):
        """Series as {name{labels}: value}; histograms by their count alone.

        Requests are counted when they have ended, which a client may see a moment before: looks
        until nothing has changed for half a second."""
        found, last, same = {}, None, 0
        while same < 5:
            text = [line for line in plain_ask("127.0.0.1", self.proxy.api, "/metrics").text.splitlines() if line.startswith("traefik_")]
            counts = [line for line in text if "_total" in line or "_count" in line]
            same = same + 1 if counts == last else 0
            last = counts
            time.sleep(0.1)
        for line in plain_ask("127.0.0.1", self.proxy.api, "/metrics").text.splitlines():
            if not line.startswith("#") and probe["pattern"].search(line):
                series, _, value = line.rpartition(" ")
                name, brace, labels = series.partition("{")
                labels = ",".join(sorted(re.findall(r'\w+="(?:[^"\\]|\\.)*"', labels)))
                labels = re.sub(r'tls_cipher="[A-Z0-9_]+"', 'tls_cipher="<cipher>"', labels)
                found[self.names(name + brace + labels + "}" * bool(brace))] = value if not re.search(r"(_sum|_bucket|_seconds|_success|_after)$", name) or 'le="+Inf"' in labels else "<value>"
        return dict(sorted(found.items()))

    def probe_curl(self, probe):
        self.ready(probe)
        arguments = [self.fill(each) for each in probe["arguments"]]
        if not any(each.startswith("http") for each in arguments):
            arguments.append(f"http://127.0.0.1:{self.proxy.port}/")
        done = subprocess.run(["curl", "-sk", "-i", "-A", "parity", "--max-time", "20", *arguments], capture_output=True, timeout=30)
        if done.returncode:
            return {"curl": done.returncode}
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        version, status, *_ = line.split(" ")
        headers = [(name.lower(), value.strip()) for name, _, value in (each.partition(":") for each in lines)]
        found = {"status": int(status), "headers": headers, "body": body, "version": version}
        return self.shown(found, {"host": probe.get("host", ""), "tls": probe.get("tls", False) or None is not None, "headers": []}, probe)

    def probe_call(self, probe):
        self.ready(probe)
        return normal.tree(probe["function"](self), self.names)


def under_test():
    """What is running, for messages."""
    return program()
