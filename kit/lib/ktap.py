# SPDX-License-Identifier: GPL-2.0
"""Reads the (K)TAP of KUnit, kselftest_harness, ksft.py and shell tests.

Only leaves count: the line of a suite stands for its tests, so it adds nothing,
unless it fails although none of them did.  What a plan promised and did not
come counts as failed.
"""
import re

RESULT = re.compile(r"^(\s*)(ok|not ok)\b(?:\s+(\d+))?\s*(?:-\s*)?([^#]*?)\s*(?:#\s*(.*))?$")
PLAN = re.compile(r"^(\s*)1\.\.(\d+)\s*(?:#\s*SKIP\s*(.*))?$", re.IGNORECASE)
# Kernel messages and KUnit's debugfs may put a time in front.
STAMP = re.compile(r"^\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? ")


class Parser:
    """Feed lines; results collects (name, 'ok' | 'fail' | 'skip', reason)."""

    def __init__(self):
        self.results = []
        self.levels = []        # [indent, planned or None, seen, failures below]
        self.skip_all = None

    def _level(self, indent):
        """The block at this indentation; closes deeper ones."""
        below = None
        while self.levels and self.levels[-1][0] > indent:
            closed = self.levels.pop()
            self._close(closed)
            # Several closed at once: the outer one stands for the inner ones.
            below = closed if below is None else [closed[0], None, closed[2], closed[3] + below[3]]
        if not self.levels or self.levels[-1][0] < indent:
            self.levels.append([indent, None, 0, 0])
        return self.levels[-1], below

    def _close(self, level):
        _, planned, seen, _ = level
        if planned is not None and seen < planned:
            self.results.append((f"{planned - seen} of {planned} planned tests", "fail", "did not report"))
            level[3] += 1

    def feed(self, line):
        line = STAMP.sub("", line.rstrip("\r\n"))
        match = PLAN.match(line)
        if match:
            level, _ = self._level(len(match.group(1)))
            if level[2] and level[1] is None and level[0] == 0:
                level[1] = int(match.group(2))      # a plan at the end
            else:
                level[1], level[2] = int(match.group(2)), 0
            if match.group(2) == "0":
                self.skip_all = (match.group(3) or "no reason given").strip()
            return
        match = RESULT.match(line)
        if not match:
            return
        indent, verdict, number, name, note = match.groups()
        if not number and not name:
            return
        level, below = self._level(len(indent))
        level[2] += 1
        name, note = name or f"test {number}", note or ""
        directive = re.match(r"(SKIP|XFAIL|TODO)\b:?\s*(.*)", note, re.IGNORECASE)
        if verdict == "not ok" and not (directive and directive.group(1).upper() in ("XFAIL", "TODO", "SKIP")):
            level[3] += 1
            if below is None or not below[3]:
                self.results.append((name, "fail", note))
        elif below is not None and below[2]:
            level[3] += below[3]
            if below[3]:                # a suite that says ok over a failed test
                self.results.append((name, "fail", "reports ok, but a test below it failed"))
        elif directive:
            reason = directive.group(2) or "no reason given"
            self.results.append((name, "skip", reason if directive.group(1).upper() == "SKIP" else
                                 f"{directive.group(1).upper()} {reason}"))
        else:
            self.results.append((name, "ok", ""))

    def finish(self, status):
        """End of the program, with its exit status; returns the results."""
        while self.levels:
            self._close(self.levels.pop())
        failed = any(kind == "fail" for _, kind, _ in self.results)
        if not self.results and (status == 4 or (status == 0 and self.skip_all)):
            self.results.append(("all", "skip", self.skip_all or "no reason given"))
        elif status not in (0, 4) and not failed:
            why = {124: "timed out", 137: "killed", -1: "the guest ended in the middle of it"}.get(status, f"exit status {status}")
            if status != 1 or not self.results:
                self.results.append(("exit status", "fail", why))
            else:
                self.results.append(("exit status", "fail", "1, though no test failed"))
        elif status in (0, 4) and not self.results:
            self.results.append(("exit status", "ok" if status == 0 else "skip", "no TAP"))
        return self.results
