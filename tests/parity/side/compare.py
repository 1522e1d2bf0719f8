"""Finds where two recordings differ, and which of that is allowed by name."""

import json
import re
from pathlib import Path

ALLOWED = Path(__file__).resolve().parents[1] / "differences.json"


def differences(wanted, found, path=""):
    """Pairs of values that are not the same: (path, wanted, found); None where one has nothing."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted({*wanted, *found}):
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(wanted.get(key), found.get(key), inner)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for turn, (left, right) in enumerate(zip(wanted, found)):
            yield from differences(left, right, f"{path}[{turn}]")
    elif wanted != found or type(wanted) is not type(found):
        yield path, wanted, found


class Allowed:
    """differences.json: each entry has a name, the reason, where it shows, and what Wharf says there."""

    def __init__(self, path=ALLOWED):
        self.entries = json.loads(path.read_text())["differences"]
        self.used = set()
        names = [entry["name"] for entry in self.entries]
        assert len(set(names)) == len(names), "a name twice in differences.json"
        for entry in self.entries:
            assert entry["reason"].strip() and entry["at"], entry

    def allows(self, where, found):
        """Whether this difference is named; `where` is `file / scenario / probe # path`."""
        for entry in self.entries:
            for turn, pattern in enumerate(entry["at"]):
                if matches(pattern, where) and ("wharf" not in entry or entry["wharf"] == found):
                    self.used.add((entry["name"], turn))
                    return True
        return False

    def unused(self, files):
        """Places in entries that allowed nothing, of those about the files that ran."""
        return [
            f"{entry['name']}: {pattern}"
            for entry in self.entries
            for turn, pattern in enumerate(entry["at"])
            if (entry["name"], turn) not in self.used and (pattern.startswith("*") or pattern.split(" / ")[0] in files)
        ]


def matches(pattern, text):
    """`*` stands for anything; everything else for itself."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def write(path, recorded):
    """A recording: a line per probe, sorted by scenario, in the order of the probes."""
    lines = ["{"]
    for turn, (scenario, probes) in enumerate(sorted(recorded.items())):
        lines.append(f" {json.dumps(scenario)}: {{")
        rows = [f"  {json.dumps(name)}: {json.dumps(value, sort_keys=True, ensure_ascii=False)}" for name, value in probes.items()]
        lines.append(",\n".join(rows))
        lines.append(" }" + ("," if turn + 1 < len(recorded) else ""))
    path.write_text("\n".join([*lines, "}"]) + "\n")
