"""Checks: functions with a sentence as their name, run in order, one line printed for each."""

import os
import signal
import sys
import time
import traceback


class Skip(Exception):
    """Raised by a check that cannot run here; a failure when CI=true."""


class Checks:
    """The checks of one file. Use as a decorator: @checks("the sentence")."""

    def __init__(self, group):
        self.group = group
        self.all = []

    def __call__(self, sentence):
        def add(function):
            self.all.append((sentence, function))
            return function

        return add

    def run(self, fixture, wanted=None):
        """Runs the checks with what `fixture` (a context manager) gives; returns the exit status."""
        # TERM unwinds like Ctrl-C, so that fixtures clean up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        wanted = wanted if wanted is not None else sys.argv[1:]
        bad = 0
        try:
            with fixture as given:
                for sentence, function in self.all:
                    if wanted and not any(word in sentence for word in wanted):
                        continue
                    bad += not self.one(sentence, function, given)
        except Skip as reason:
            bad += not self.line("skip", "everything", str(reason))
        except Exception as error:  # the fixture itself
            self.line("FAIL", "set-up", f"{type(error).__name__}: {error}")
            traceback.print_exc()
            bad += 1
        return 1 if bad else 0

    def one(self, sentence, function, given):
        start = time.monotonic()
        try:
            note = function(given)
        except Skip as reason:
            return self.line("skip", sentence, str(reason))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = str(error) or (where.line or "")
            self.line("FAIL", sentence, f"{type(error).__name__}: {text} (line {where.lineno})")
            if os.environ.get("VERBOSE"):
                traceback.print_exc()
            return False
        took = time.monotonic() - start
        return self.line("ok", sentence, note or (f"{took:.1f} s" if took > 1 else ""))

    def line(self, verdict, sentence, note=""):
        if verdict == "skip" and os.environ.get("CI") == "true":
            verdict = "FAIL"
        note = " ".join(str(note).split())
        print(f"{verdict:<4} {self.group}: {sentence}" + (f" [{note}]" if note else ""), flush=True)
        return verdict != "FAIL"


# How much longer than an idle machine a busy one may take.
PATIENCE = 5


def eventually(seconds, what, pause=0.05):
    """Calls `what` until it gives something true; waits by condition, never by a bare sleep.

    The limit is what an idle machine needs; a busy one gets five times as long, since how
    fast things are is the benchmark's question."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = what()
            if value:
                return value
            last = f"last value {value!r}"
        except (AssertionError, OSError, KeyError, ValueError) as error:
            last = f"last error {type(error).__name__}: {error}"
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {last}")
        time.sleep(pause)


def equal(found, wanted, what=""):
    """Fails with both values."""
    assert found == wanted, f"{what}{': ' if what else ''}found {found!r}, wanted {wanted!r}"
