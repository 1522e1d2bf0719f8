"""The same probes against Wharf as against Traefik, whose answers are in recorded/.

A file of scenarios/ is one set-up (`STAGE`): static options, containers with labels, dynamic
files, and the probes by scenario. `tests/parity/record` plays it to the real Traefik and writes
recorded/FILE.json; here it is played to Wharf and compared, value by value. What may differ is
in differences.json, by name and with the reason; an entry there that nothing needs is a failure.

    tests/run parity                       everything
    tests/run parity compress "redirect"   scenarios with such a word in `file: scenario`
    WHARF_TEST_TRAEFIK=... tests/run parity   Traefik against its own recording: are the probes steady?
"""

import importlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from harness import engine
from harness.checks import Checks, equal
from side import compare
from side.certificates import make
from side.run import Running

checks = Checks("parity")

# What Wharf is told beyond Traefik's options; the reasons are in differences.json.
FLAGS = [each["flag"] for each in json.loads(compare.ALLOWED.read_text())["flags"]]
FILES = sorted(path.stem for path in (HERE / "scenarios").glob("*.py") if path.stem != "__init__")
LEAST = 400


def stage(file):
    return importlib.import_module(f"scenarios.{file}").STAGE


class Suite:
    """Keeps the stage that is running; the next file's replaces it."""

    def __enter__(self):
        engine.need()
        engine.image()
        self.certificates, self.running, self.allowed = make(), None, compare.Allowed()
        self.played, self.probes, self.broken = set(), 0, {}
        return self

    def __exit__(self, *_):
        if self.running:
            self.running.stop()

    def on(self, file):
        if file in self.broken:
            raise AssertionError(f"did not start: {self.broken[file]}")
        if not self.running or self.running.name != file:
            if self.running:
                self.running.stop()
                self.running = None
            running = Running(file, stage(file), self.certificates, [] if os.environ.get("WHARF_TEST_TRAEFIK") else FLAGS)
            try:
                running.start()
            except BaseException as error:
                self.broken[file] = error
                running.stop()
                raise
            self.running = running
        return self.running

    def play(self, file, scenario):
        recorded = json.loads((HERE / "recorded" / f"{file}.json").read_text()).get(scenario.name)
        assert recorded is not None, "not recorded; see tests/parity/record"
        equal(sorted(recorded), sorted(probe["name"] for probe in scenario.probes), "recorded probes")
        found = json.loads(json.dumps(self.on(file).run(scenario)))
        self.played.add(file)
        self.probes += len(found)
        bad = []
        for name, wanted in recorded.items():
            new = []
            for path, theirs, ours in compare.differences(wanted, found[name]):
                where = f"{file} / {scenario.name} / {name} # {path}"
                if os.environ.get("WHARF_TEST_TRAEFIK") or not self.allowed.allows(where, ours):
                    new.append((path, theirs, ours))
            # Another status explains the rest.
            new = [each for each in new if each[0] == "status"] or new
            bad += [f"{name} # {path}: Traefik {json.dumps(theirs)[:300]}, here {json.dumps(ours)[:300]}" for path, theirs, ours in new]
        if bad:
            print("\n".join(f"     | {line}" for line in bad), file=sys.stderr)
        assert not bad, f"{len(bad)} differ: " + " ;; ".join(bad[:3])
        return f"{len(found)} probes"


for _file in FILES:
    for _scenario in stage(_file).scenarios:

        @checks(f"{_file}: {_scenario.name}")
        def _(suite, file=_file, scenario=_scenario):
            return suite.play(file, scenario)


@checks("every allowed difference is needed")
def _(suite):
    if os.environ.get("WHARF_TEST_TRAEFIK"):
        return "not asked of Traefik"
    equal(suite.allowed.unused(suite.played), [])


@checks(f"at least {LEAST} probes were made, each by a name of its own")
def _(suite):
    equal(suite.played, set(FILES), "files")
    assert suite.probes >= LEAST, f"only {suite.probes}"
    return f"{suite.probes} probes"


if __name__ == "__main__":
    sys.exit(checks.run(Suite()))
