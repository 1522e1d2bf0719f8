"""Every label of the first two tiers at least once in one Compose project: no problem is told."""

import json
import re
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine, proxy
from harness.checks import Checks, equal, eventually

checks = Checks("all labels")

# Not built yet, and refused by their names; whatever else is refused fails.
REFUSED = {}
# Taken, with a warning that they are deprecated or do nothing.
DEPRECATED = {
    "http.routers.<router>.rulesyntax",
    "http.middlewares.<middleware>.stripprefix.forceslash",
    "http.middlewares.<middleware>.headers.sslredirect",
    "http.middlewares.<middleware>.headers.ssltemporaryredirect",
    "http.middlewares.<middleware>.headers.sslhost",
    "http.middlewares.<middleware>.headers.sslforcehost",
    "http.middlewares.<middleware>.headers.featurepolicy",
    "http.middlewares.<middleware>.ipwhitelist.",
    "http.middlewares.<middleware>.contenttype",
    "http.middlewares.<middleware>.contenttype.autodetect",
}
# Keys that exclude each other: those of the same number share a middleware or service.
APART = {
    "compress.includedcontenttypes": 2,
    "ratelimit.sourcecriterion.requestheadername": 2,
    "ratelimit.sourcecriterion.requesthost": 3,
    "inflightreq.sourcecriterion.requestheadername": 2,
    "inflightreq.sourcecriterion.requesthost": 3,
}
# What a middleware of its own needs beside such a key.
NEEDED = {"ratelimit": {"average": "100"}, "inflightreq": {"amount": "100"}}
HASH = "$2y$04$4ov7O2YkRBJvDFrwLMvXUu3Fr5LhZDTbRHOlj5wJZlQxFjTPYZ2wW"
VALUES = {
    "addprefix.prefix": "/v1",
    "basicauth.users": f"ada:{HASH}",
    "basicauth.usersfile": "{folder}/users",
    "digestauth.users": "ada:traefik:8ab6bd1ea2b4a4e6e9aa2bb8b0ba0e5d",
    "digestauth.realm": "traefik",
    "digestauth.usersfile": "{folder}/digests",
    "buffering.retryexpression": "IsNetworkError() && Attempts() < 2",
    "chain.middlewares": "addprefix,replacepath",
    "circuitbreaker.expression": "NetworkErrorRatio() > 0.5",
    "circuitbreaker.responsecode": "503",
    "compress.encodings": "gzip,br",
    "compress.defaultencoding": "gzip",
    "compress.excludedcontenttypes": "text/event-stream",
    "compress.includedcontenttypes": "text/html,application/json",
    "errors.status": "404,500-599",
    "errors.service": "app",
    "errors.query": "/{status}.html",
    "errors.statusrewrites.<name>": "404",
    "forwardauth.address": "http://127.0.0.1:8080/auth",
    "forwardauth.authresponseheadersregex": "^X-Auth-",
    "forwardauth.authsigninurl": "https://sign-in.test/",
    "forwardauth.tls.ca": "{folder}/ca.pem",
    "forwardauth.tls.cert": "{folder}/ca.pem",
    "forwardauth.tls.key": "{folder}/ca.key",
    "grpcweb.alloworigins": "*",
    "headers.accesscontrolalloworiginlistregex": "^https://.*[.]test$",
    "ipallowlist.rejectstatuscode": "404",
    "ratelimit.redis.endpoints": "redis:6379",
    "ratelimit.redis.tls.ca": "{folder}/ca.pem",
    "ratelimit.redis.tls.cert": "{folder}/ca.pem",
    "ratelimit.redis.tls.key": "{folder}/ca.key",
    "redirectregex.regex": "^http://old[.]test/(.*)",
    "redirectregex.replacement": "https://new.test/${1}",
    "redirectscheme.port": "443",
    "redirectscheme.scheme": "https",
    "replacepath.path": "/x",
    "replacepathregex.regex": "^/a/(.*)",
    "replacepathregex.replacement": "/b/$1",
    "retry.status": "503",
    "retry.attempts": "2",
    "stripprefix.prefixes": "/alpha,/beta",
    "stripprefixregex.regex": "/v[0-9]+",
    "http.routers.<router>.rule": "Host(`all.test`)",
    "http.routers.<router>.entrypoints": "web,websecure",
    "http.routers.<router>.middlewares": "addprefix,headers",
    "http.routers.<router>.service": "app",
    "http.routers.<router>.tls.options": "strict@file",
    "http.routers.<router>.tls.certresolver": "le",
    "http.routers.<router>.tls.domains[n].main": "all.test",
    "http.routers.<router>.tls.domains[n].sans": "www.all.test,other.all.test",
    "http.routers.<router>.rulesyntax": "v3",
    "http.services.<service>.loadbalancer.server.port": "8080",
    "http.services.<service>.loadbalancer.server.scheme": "http",
    "http.services.<service>.loadbalancer.server.url": "http://127.0.0.1:8080/base",
    "http.services.<service>.loadbalancer.sticky.cookie.domain": "all.test",
    "http.services.<service>.loadbalancer.healthcheck.path": "/health",
    "http.services.<service>.loadbalancer.healthcheck.status": "200",
    "http.services.<service>.loadbalancer.healthcheck.port": "8080",
    "http.services.<service>.loadbalancer.healthcheck.hostname": "health.test",
    "http.services.<service>.loadbalancer.healthcheck.method": "GET",
    "http.services.<service>.loadbalancer.healthcheck.timeout": "3s",
    "http.services.<service>.loadbalancer.serverstransport": "slow@file",
    "http.services.<service>.middlewares": "headers",
    "docker.network": "{network}",
}
DYNAMIC = """
tls: {options: {strict: {minVersion: VersionTLS12}}}
http: {serversTransports: {slow: {forwardingTimeouts: {dialTimeout: 3s}}}}
"""
MIDDLEWARE = "http.middlewares.<middleware>."
SERVICE = "http.services.<service>."


def rows(path):
    return [line.split("\t") for line in (engine.ROOT / path).read_text().splitlines()[1:]]


def asked():
    """Keys of the first two tiers with their types, without root."""
    reference = rows("tests/reference/labels.tsv")
    return {row[1].removeprefix("traefik."): row[2] for row in reference if row[0] in "12"}


def refused():
    """Those that the tables of the crate say are not built."""
    kinds = {kind.lower() for kind in re.findall(r'^    \w+ = "(\w+)", ', (engine.ROOT / "src/middleware/mod.rs").read_text(), re.M)}
    later = {row[1].lower() for row in rows("src/labels/known.tsv") if row[0] != "built"}
    for state, path, *_ in rows("src/middleware/known.tsv"):
        if state != "built" or path.lower().split(".")[0] not in kinds:
            later.add(MIDDLEWARE + path.lower())
    return later & set(asked())


def is_in(key, keys):
    return any(key == known or known.endswith(".") and key.startswith(known) for known in keys)


def value(key, kind):
    short = key.removeprefix(MIDDLEWARE)
    if short in VALUES:
        return VALUES[short]
    last = key.rsplit(".", 1)[-1]
    if last in ("sourcerange", "excludedips"):
        return "10.0.0.0/8,10.1.1.1"
    if last == "ipv6subnet":
        return "64"
    if kind.startswith("enum("):
        return kind[5:-1].split(",")[0]
    return {"bool": "true", "struct": "true", "int": "7", "float": "0.5", "duration": "7s", "list": "X-Alpha,X-Beta"}.get(kind, "text")


def labels(keys):
    """Labels of one container that use all keys; each middleware has a router of its own."""
    made = {"enable": "true", "docker.network": VALUES["docker.network"]}
    used = set()

    def put(key, written, text):
        made[written] = text
        used.add(key)

    for key, kind in keys.items():
        text = value(key, kind)
        if key.startswith(MIDDLEWARE):
            path = key.removeprefix(MIDDLEWARE)
            first = path.split(".")[0]
            name = f"{first}{APART[path]}" if path in APART else first
            put(key, f"http.middlewares.{name}.{path}".replace("<name>", "500" if "statusrewrites" in path else "X-Name"), text)
            if name != first:
                for extra, needed in NEEDED.get(first, {}).items():
                    made[f"http.middlewares.{name}.{first}.{extra}"] = needed
            made[f"http.routers.{name}.rule"] = f"Host(`{name}.test`)"
            made[f"http.routers.{name}.middlewares"] = name
            made[f"http.routers.{name}.service"] = "app"
        elif key.startswith("http.routers.") or key.startswith(SERVICE):
            put(key, key.replace("<router>", "all").replace("<service>", "app").replace("[n]", "[0]").replace("<name>", "X-Name"), text)
        else:
            put(key, key, text)
    return made, used


def project(folder, network):
    keys = {key: kind for key, kind in asked().items() if key not in refused()}
    # A server's address stands alone: it takes the place of port and scheme.
    alone = {key: keys.pop(key) for key in list(keys) if key.endswith(".server.url")}
    made, used = labels(keys)
    url, more = labels(alone)
    url = {key.replace(".app.", ".url."): text for key, text in url.items()}
    missing = {key for key in asked() if key not in refused()} - used - more
    assert not missing, missing
    fill = lambda all: {f"traefik.{key}": text.replace("{folder}", str(folder)).replace("{network}", network).replace("$", "$$") for key, text in all.items()}
    server = {"image": engine.image(), "command": ["demo-server", "--name", "app", "--port", "8080"]}
    services = {"app": {**server, "labels": fill(made)}, "url": {**server, "labels": fill(url)}}
    return {"version": "3.8", "services": services, "networks": {"default": {"name": network}}}


@checks("what is not built of the first two tiers is what is known not to be")
def _(_none):
    unexpected = {key for key in refused() if not is_in(key, REFUSED)}
    equal(unexpected, set())


@checks("a project with every label starts and serves without a problem line")
def _(_none):
    engine.need()
    name = f"{engine.RUN}all"
    folder = proxy.fresh("all-labels")
    (folder / "users").write_text(f"bob:{HASH}\n")
    (folder / "digests").write_text("bob:traefik:8ab6bd1ea2b4a4e6e9aa2bb8b0ba0e5d\n")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=all.test", "-days", "2"]
    engine.run([*made, "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.pem")])
    compose = folder / "compose.yml"
    compose.write_text(json.dumps(project(folder, f"{name}_net"), indent=1))
    command = [*engine.compose_command(), "-p", name, "-f", str(compose)]
    flags = ["--providers.docker.exposedByDefault=false", "--log.level=INFO"]
    # There is no CA here: what it is asked, and how it fails, is for the checks of ACME.
    acme = {"tlsChallenge": "true", "email": "a@all.test", "storage": f"{folder}/acme.json", "caServer": "https://127.0.0.1:9/dir"}
    flags += [f"--certificatesResolvers.le.acme.{key}={text}" for key, text in acme.items()]
    flags.append(f"--providers.docker.constraints=Label(`com.docker.compose.project`, `{name}`)")

    def unexpected(problems):
        """Those that are about anything but a deprecated key."""
        odd = []
        for problem in problems:
            key = re.search(r"label traefik\.(\S+)", problem["origin"])
            plain = re.sub(r"^(http\.routers\.)[\w]+", r"\1<router>", key[1].rstrip(":")) if key else ""
            plain = re.sub(r"^(http\.middlewares\.)[\w]+", r"\1<middleware>", plain)
            # Some are told of the whole section, whose place is any of its labels.
            is_expected = is_in(plain, DEPRECATED) or " is deprecated" in problem["text"]
            if problem["severity"] == "error" or not is_expected:
                odd.append(problem)
        return odd

    static = ["--entryPoints.web.address=:80", "--entryPoints.websecure.address=:443", *flags]
    (folder / "dynamic.yml").write_text(DYNAMIC)
    done = proxy.once(["check", "--format=json", *static, f"--providers.file.filename={folder}/dynamic.yml", str(compose)], cwd=folder, env={"COMPOSE_PROJECT_NAME": name}, timeout=120)
    equal(unexpected(json.loads(done[1])["problems"]), [], "wharf check")
    try:
        engine.run([*command, "up", "-d"])
        with proxy.Proxy("all", flags, dynamic=DYNAMIC, entry_points=("web", "websecure")) as site:
            eventually(20, lambda: len(site.get("/api/wharf/engine")) and site.get("/api/http/routers/all@docker"))
            equal(unexpected(site.problems()), [], "problems")
            for part in ("routers", "services", "middlewares"):
                found = site.get(f"/api/http/{part}?per_page=500")
                wrong = [f"{one['name']}: {one['status']} {one.get('error')}" for one in found if one["status"] != "enabled"]
                equal(wrong, [], part)
            wrong = [line for line in site.log.splitlines() if re.search(r"\bERR\b|panicked", line) and "resolver le: " not in line]
            equal(wrong, [], "the log")
    finally:
        engine.run([*command, "down", "-v", "-t", "1"], check=False)


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
