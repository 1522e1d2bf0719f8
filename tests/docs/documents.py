"""The documents: links lead somewhere, commands exist, and what they list is what there is."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness.checks import Checks, equal
from harness.engine import ROOT

checks = Checks("docs")


def documents():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split()]


@checks("every link to a file or heading leads somewhere")
def _(_none):
    dead = []
    for document in documents():
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, heading = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            if not target.exists():
                dead.append(f"{document.relative_to(ROOT)}: {link}")
            elif heading and heading not in headings(target):
                dead.append(f"{document.relative_to(ROOT)}: {link}: no such heading")
    assert not dead, "; ".join(dead)


def headings(document):
    """Anchors as they are made of headings."""
    found = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@checks("every file of the repository that is named in backticks exists")
def _(_none):
    gone = []
    for document in documents():
        for name in re.findall(r"`((?:src|tests|examples|docs|templates|static|\.ci)/[\w./-]+)`", document.read_text()):
            if not (ROOT / name).exists() and not name.startswith("tests/out"):
                gone.append(f"{document.relative_to(ROOT)}: {name}")
    assert not gone, "; ".join(gone)


@checks("the README shows the two commands and every example")
def _(_none):
    readme = (ROOT / "README.md").read_text()
    for command in ("cargo run --release -- demo", "tests/run"):
        assert command in readme, command
    for example in (ROOT / "examples").iterdir():
        assert f"examples/{example.name}" in readme, example.name


@checks("the changelog has this version")
def _(_none):
    version = re.search(r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(), version


@checks("scripts run on their own and say how they are used")
def _(_none):
    for script in ("tests/run", ".ci/run", "examples/musicshare/scale", "examples/musicshare/load"):
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} has no run bit"
        done = subprocess.run(["bash", "-n", ROOT / script], capture_output=True, text=True)
        equal(done.returncode, 0, done.stderr)
    done = subprocess.run(["bash", "examples/musicshare/load"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "usage" in done.stderr


@checks("no document speaks of a place on somebody's machine")
def _(_none):
    bad = [str(d.relative_to(ROOT)) for d in documents() if re.search(r"/(?:home|root|work|Users)/\w", d.read_text())]
    equal(bad, [])


@checks("what is made from the tables of options is up to date")
def _(_none):
    command = ["cargo", "test", "--locked", "-q", "--test", "documents"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    stale = re.search(r"stale: .*", done.stdout + done.stderr)
    equal(done.returncode, 0, stale[0] if stale else done.stderr[-700:])


@checks("the code's own documentation has no broken link")
def _(_none):
    done = subprocess.run(
        ["cargo", "doc", "--locked", "--no-deps", "--document-private-items", "-q"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "RUSTDOCFLAGS": "-D warnings -A rustdoc::private_intra_doc_links"},
    )
    equal(done.returncode, 0, done.stderr[-700:])


if __name__ == "__main__":
    sys.exit(checks.run(nullcontext()))
