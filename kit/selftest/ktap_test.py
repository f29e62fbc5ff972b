#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: kit/selftest/ktap_test.py     tests kit/lib/ktap.py; exit 1 on failure"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.dont_write_bytecode = True
import ktap  # noqa: E402

# name, text, exit status, expected (passed, failed, skipped)
CASES = [
    ("harness", "TAP version 13\n1..2\n# Starting 2 tests\n#  RUN  a ...\nok 1 a\nok 2 b\n# PASSED\n", 0, (2, 0, 0)),
    ("harness fails", "TAP version 13\n1..2\nok 1 a\nnot ok 2 b\n", 1, (1, 1, 0)),
    ("skip", "TAP version 13\n1..2\nok 1 a\nok 2 b # SKIP no device\n", 0, (1, 0, 1)),
    ("skip all", "TAP version 13\n1..0 # SKIP no device\n", 4, (0, 0, 1)),
    ("crash", "TAP version 13\n1..3\nok 1 a\n", 139, (1, 1, 0)),
    ("crash after all passed", "1..1\nok 1 a\n", 139, (1, 1, 0)),
    ("timeout", "1..3\nok 1 a\n", 124, (1, 1, 0)),
    ("silent failure", "", 1, (0, 1, 0)),
    ("silent success", "hello\n", 0, (1, 0, 0)),
    ("silent skip", "", 4, (0, 0, 1)),
    ("exit 1 without a failed test", "1..1\nok 1 a\n", 1, (1, 1, 0)),
    ("missing test", "1..3\nok 1 a\nok 2 b\n", 0, (2, 1, 0)),
    ("plan at the end", "ok 1 a\nok 2 b\n1..2\n", 0, (2, 0, 0)),
    ("kunit", "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..2\n    ok 1 a\n    ok 2 b\n"
              "# s: pass:2\nok 1 s\n", 0, (2, 0, 0)),
    ("kunit debugfs", "    KTAP version 1\n    # Subtest: s\n    1..2\n    ok 1 a\n    ok 2 b # SKIP why\nok 1 s\n",
     0, (1, 0, 1)),
    ("kunit fails", "KTAP version 1\n1..1\n    KTAP version 1\n    1..2\n    not ok 1 a\n    ok 2 b\nnot ok 1 s\n",
     0, (1, 1, 0)),
    ("kunit suite fails alone", "KTAP version 1\n1..1\n    1..1\n    ok 1 a\nnot ok 1 s\n", 0, (1, 1, 0)),
    ("kunit parameters", "KTAP version 1\n1..1\n    1..1\n        KTAP version 1\n        # Subtest: p\n"
                         "        1..2\n        ok 1 x\n        ok 2 y\n    ok 1 p\nok 1 s\n", 0, (2, 0, 0)),
    ("kunit parameter fails", "1..1\n    1..1\n        1..2\n        ok 1 x\n        not ok 2 y\n"
                              "    not ok 1 p\nnot ok 1 s\n", 0, (1, 1, 0)),
    ("kunit hides a failure", "1..1\n    1..1\n    not ok 1 a\nok 1 s\n", 0, (0, 2, 0)),
    ("kunit test missing", "1..1\n    1..2\n    ok 1 a\nok 1 s\n", 0, (1, 2, 0)),
    ("comments and noise", "1..1\n# ok 2 no result\nokay\nnot okay\nok 1 a\n", 0, (1, 0, 0)),
    ("xfail", "1..1\nnot ok 1 a # XFAIL known\n", 0, (0, 0, 1)),
    ("time stamps", "[    1.000000] 1..1\n[    1.000001] ok 1 a\n", 0, (1, 0, 0)),
    ("no number", "ok - a\nnot ok - b\n", 1, (1, 1, 0)),
]


def main():
    wrong = 0
    for name, text, status, expected in CASES:
        parser = ktap.Parser()
        for line in text.splitlines():
            parser.feed(line)
        kinds = [kind for _, kind, _ in parser.finish(status)]
        got = tuple(kinds.count(kind) for kind in ("ok", "fail", "skip"))
        if got != expected:
            wrong += 1
            print(f"ktap: {name}: {got}, expected {expected}")
    print(f"ktap: {len(CASES)} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
