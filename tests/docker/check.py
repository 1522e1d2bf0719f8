"""wharf check: Compose projects and a running engine, looked at without starting anything."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import engine
from harness.checks import Checks, equal

checks = Checks("check")


def check(*arguments, folder="app", files=(), env=None):
    """Status, JSON and text of `wharf check` in a folder of this run with these files."""
    place = engine.OUT / engine.RUN / "check" / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, text in dict(files).items():
        (place / name).write_text(text)
    engine.compose_command()
    command = [engine.binary(), "check", *arguments]
    environment = {"PATH": os.environ["PATH"], **(env or {})}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def report(*arguments, **how):
    status, text = check("--format=json", *arguments, **how)
    found = json.loads(text)
    equal(status, 1 if found["errors"] else 0, text)
    return found


@checks("every example is sound with its own static configuration")
def _(_none):
    examples = engine.ROOT / "examples"
    flags = ["--entryPoints.web.address=:80", "--providers.docker.exposedByDefault=false", "--api.insecure=true"]
    for example, static in {
        "smallest": flags,
        "auth": flags,
        "musicshare": [f"--configFile={examples}/musicshare/traefik.yml"],
    }.items():
        status, text = check(*static, str(examples / example / "compose.yml"))
        equal(status, 0, text)
        assert text.startswith("0 errors, 0 warnings in ") and " 0 routers" not in text, text


WRONG = """
services:
  typo:
    labels: ["traefik.http.routers.typo.rul=Host(`a`)"]
    expose: [80]
  behind:
    expose: [80]
    labels:
      traefik.http.routers.behind.rule: Host(`front.test`) && PathPrefix(`/x`)
      traefik.http.routers.behind.priority: 1
  front:
    deploy: {replicas: 2}
    expose: [80]
    labels: {traefik.http.routers.front.rule: "Host(`${NAME:-front}.test`)"}
  ghosts:
    expose: [80]
    labels:
      - traefik.http.routers.ghosts.rule=Host(`ghosts.test`)
      - traefik.http.routers.ghosts.middlewares=nobody
      - traefik.http.routers.ghosts.entrypoints=nowhere,http
  portless:
    labels: ["traefik.http.routers.portless.rule=Host(`portless.test`)"]
  idle:
    profiles: [never]
    labels: ["traefik.http.routers.idle.rul=x"]
"""


@checks("what is wrong in a Compose file is named with its line, once for all replicas")
def _(_none):
    services = WRONG.replace("labels:", "image: wharf-check-none:1\n    labels:")
    found = report("compose.yml", files={"compose.yml": services})
    lines = [f"{p['severity']} {p['code']} {p['origin']}" for p in found["problems"]]
    text = json.dumps(found, indent=1)
    for expected in (
        "error unknown-key compose.yml:5:14: service typo, label traefik.http.routers.typo.rul",
        "error unknown-name compose.yml:23:9: service ghosts, label traefik.http.routers.ghosts.middlewares",
        "warning notice compose.yml:11:7: service behind, label traefik.http.routers.behind.rule",
        "warning port compose.yml:25:3: service portless",
    ):
        equal(lines.count(expected), 1, f"{expected}\n{text}")
    assert "nowhere" in text and "idle" not in text, text
    shadowed = next(p for p in found["problems"] if "behind" in p["origin"])
    assert "router front@docker (Host(`front.test`)) comes before it" in shadowed["text"], shadowed


@checks("variables, several files and a name from .env are Compose's")
def _(_none):
    one = "services: {app: {image: 'wharf-check-none:1', expose: [80], networks: [back], labels: ['traefik.http.routers.app.rule=Host(`${HOST_NAME}`)', 'traefik.docker.network=back']}}\nnetworks: {back: {}}\n"
    two = "services: {app: {labels: ['traefik.http.routers.app.rul=x']}}\n"
    files = {"a.yml": one, "b.yml": two, ".env": "HOST_NAME=a.test\nCOMPOSE_PROJECT_NAME=shop\n"}
    found = report("a.yml", folder="several", files=files)
    equal(found["errors"], 0, found)
    assert any("did you mean `shop_back`?" in p.get("mend", "") for p in found["problems"]), found
    found = report("a.yml", "b.yml", folder="several")
    assert any(p["origin"].startswith("b.yml:1:") for p in found["problems"]), found
    extended = "services: {more: {extends: {file: a.yml, service: app}, labels: ['traefik.http.routers.app.middlewares=auth@file']}}\nnetworks: {back: {}}\n"
    found = report("c.yml", folder="several", files={"c.yml": extended})
    assert any("router app@docker" in p.get("subject", "") and "auth@file" in p["text"] for p in found["problems"]), found
    assert any("a label refers to auth@file" in note["text"] for note in found["notes"]), found
    status, text = check("broken.yml", folder="several", files={"broken.yml": "services: {a: ["})
    equal(status, 1, text)
    assert "error: broken.yml: docker" in text, text


@checks("flags in a proxy's command are asked for when there is no static configuration")
def _(_none):
    services = "services: {proxy: {image: 'wharf-check-none:1', expose: [80], command: ['--entryPoints.web.address=:80', '--api=true']}}\n"
    found = report("compose.yml", folder="flags", files={"compose.yml": services})
    told = [p for p in found["problems"] if "its command holds static configuration" in p["text"]]
    equal([p["origin"] for p in told], ["compose.yml:1:12: service proxy"], found)
    found = report("--entryPoints.web.address=:80", "--providers.docker", "compose.yml", folder="flags")
    assert not any("its command holds" in p["text"] for p in found["problems"]), found


@checks("an image that is here tells its ports and labels")
def _(_none):
    engine.need()
    tag = engine.image()
    services = "services:\n  app:\n    image: %s\n    labels: ['traefik.http.routers.app.rule=Host(`a`)']\n" % tag
    found = report("compose.yml", folder="image", files={"compose.yml": services})
    exposed = engine.call("GET", f"/images/{tag}/json")["Config"].get("ExposedPorts")
    # The image of Wharf exposes ports or none; either way nothing is left to guess about it.
    equal([p["code"] for p in found["problems"]], [] if exposed else ["port"], found)


@checks("without files the labels of the running engine are checked")
def _(_none):
    engine.need()
    with engine.Network("check") as network:
        labels = {"traefik.enable": "true", "traefik.http.routers.x.rul": "Host(`a`)", "traefik.http.services.x.loadbalancer.server.port": "8080"}
        app = engine.start("check-app", network.name, ["demo-server"], labels)
        try:
            flags = ["--providers.docker.exposedByDefault=false"]
            flags.append(f"--providers.docker.constraints=Label(`wharf-test.run`, `{engine.RUN}`)")
            found = report(*flags, folder="engine")
            equal(found["errors"], 1, found)
            assert "label traefik.http.routers.x.rul" in found["problems"][0]["origin"], found
        finally:
            engine.remove(app)


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
