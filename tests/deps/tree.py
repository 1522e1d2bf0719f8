"""The dependencies: permissive licences, nothing twice that must be one, nothing unwanted."""

import re
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal
from harness.engine import ROOT

checks = Checks("deps")

# One of each, or types of one do not fit the other.
ONCE = {"rustls", "rcgen", "hyper", "http", "http-body", "tokio", "bytes", "h2"}


def resolved():
    """Packages that are really built for Linux, development ones left out."""
    command = ["cargo", "tree", "--locked", "-e", "normal,build", "--prefix", "none", "-f", "{p}|{l}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = set()
    for line in said.splitlines():
        package, licence = line.removesuffix(" (*)").split("|")
        name, version, *_ = package.split(" ")
        found.add((name, version, licence))
    return found


def rules():
    return tomllib.loads((ROOT / "deny.toml").read_text())


@checks("every licence is a permissive one")
def _(packages):
    allowed = set(rules()["licenses"]["allow"])
    bad = []
    for name, version, licence in packages:
        # `A OR B` needs one of them, `A AND B` all; old manifests write `A/B` for OR.
        either = re.split(r"\s+OR\s+|/", licence.replace("(", "").replace(")", ""))
        if not any(all(part in allowed for part in re.split(r"\s+AND\s+", one.strip())) for one in either):
            bad.append(f"{name} {version}: {licence}")
    assert not bad, "; ".join(bad)
    return f"{len(packages)} packages"


@checks("nothing twice that must be one")
def _(packages):
    versions = {}
    for name, version, _licence in packages:
        versions.setdefault(name, set()).add(version)
    twice = {name: found for name, found in versions.items() if name in ONCE and len(found) > 1}
    equal(twice, {})


@checks("none of the banned crates")
def _(packages):
    banned = {row["name"] for row in rules()["bans"]["deny"]}
    equal({name for name, _version, _licence in packages} & banned, set())


@checks("everything comes from crates.io")
def _(_packages):
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    sources = {p.get("source") for p in lock["package"] if p["name"] != "wharf"}
    equal(sources, {"registry+https://github.com/rust-lang/crates.io-index"})


@checks("each dependency in Cargo.toml is used")
def _(_packages):
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    text = "\n".join(f.read_text() for f in [*(ROOT / "src").rglob("*.rs"), *(ROOT / "tests").rglob("*.rs")])
    unused = []
    for name in {**manifest["dependencies"], **manifest["dev-dependencies"]}:
        module = name.replace("-", "_")
        module = {"md_5": "md5"}.get(module, module)
        if not re.search(rf"\b{module}(::|!|\b)", text):
            unused.append(name)
    equal(unused, [])


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext(resolved())))
