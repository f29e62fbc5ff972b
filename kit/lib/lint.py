# SPDX-License-Identifier: GPL-2.0
"""The kernel's own checkers, run on what the series touches.

Each function returns the findings as lines; none means clean.
"""
import fnmatch
import os
import re
import subprocess

import series


def run(command, tree):
    env = dict(os.environ, LC_ALL="C")
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARCH", "CROSS_COMPILE", "KBUILD_OUTPUT"):
        env.pop(name, None)
    return subprocess.run(command, cwd=tree, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)


def read_allowed(path):
    """[(type, file pattern)] of kit/checkpatch.allow."""
    allowed = []
    for number, line in enumerate(series.read(path).splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            words = line.split(None, 2)
            if len(words) != 3:
                raise series.SeriesError(f"{path}:{number}: needs TYPE, FILE-PATTERN and a reason")
            allowed.append((words[0], words[1]))
    return allowed


def checkpatch(tree, mails, allow_file):
    allowed, used, found = read_allowed(allow_file), set(), []
    for mail in mails:
        out = run(["perl", "scripts/checkpatch.pl", "--strict", "--show-types", "--no-summary",
                   "--showfile", "--terse", mail], tree).stdout
        for line in out.splitlines():
            match = re.match(r"(.*?):\d+: (?:ERROR|WARNING|CHECK):(\w+): ", line)
            if not match:
                if line.strip():
                    found.append(f"{os.path.basename(mail)}: {line}")
                continue
            where = "-" if match.group(1).endswith(".patch") else match.group(1)
            rule = next((r for r in allowed if r[0] == match.group(2) and fnmatch.fnmatch(where, r[1])), None)
            if rule:
                used.add(rule)
            else:
                found.append(f"{os.path.basename(mail)}: {line.replace(mail + ':', '')}")
    if mails:
        found += [f"checkpatch.allow: nothing matches '{kind} {pattern}' any more"
                  for kind, pattern in allowed if (kind, pattern) not in used]
    return found


def maintainers(tree, paths):
    """Every new file must be in a section of MAINTAINERS other than THE REST."""
    found = []
    for path in paths:
        out = run(["perl", "scripts/get_maintainer.pl", "--sections", "--no-git", "--no-git-fallback",
                   "-f", path], tree).stdout
        sections = [line for line in out.splitlines() if re.match(r"[A-Z0-9][^:]*$", line)]
        if not [s for s in sections if s.strip() != "THE REST"]:
            found.append(f"{path}: no section of MAINTAINERS covers it")
    return found


def kernel_doc(tree, paths):
    if not paths:
        return []
    out = run(["python3", "tools/docs/kernel-doc", "-none", "-Wall", *paths], tree)
    lines = [line for line in out.stdout.splitlines() if line.strip()]
    if out.returncode and not lines:
        lines = [f"kernel-doc: exit status {out.returncode}"]
    return lines


def added_lines(tree, path):
    """Numbers of the lines that the series put into a file."""
    numbers = set()
    diff = series.git(tree, "diff", "-U0", "--no-renames", "--no-ext-diff", "base", "HEAD", "--", path)
    for match in re.finditer(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", diff, re.MULTILINE):
        start, count = int(match.group(1)), int(match.group(2) or 1)
        numbers.update(range(start, start + count))
    return numbers


def warnings(tree, paths):
    """W=1 and sparse, in a build directory of its own with the debug configuration."""
    objects = os.path.join(tree, ".check")
    config = os.path.join(os.path.dirname(tree), "debug", ".config")
    if not os.path.exists(config):
        raise series.SeriesError("build the debug kernel first (kit/build --debug)")
    os.makedirs(objects, exist_ok=True)
    # KASAN makes functions and frames bigger; it has no influence on what counts here.
    text = re.sub(r"^CONFIG_KASAN=y$", "# CONFIG_KASAN is not set", series.read(config), flags=re.MULTILINE)
    if not os.path.exists(objects + "/.kit-from") or series.read(objects + "/.kit-from") != text:
        series.write(objects + "/.config", text)
    make = ["make", "O=.check", "CC=ccache gcc", "HOSTCC=ccache gcc", "LOCALVERSION=", f"-j{os.cpu_count()}"]
    for target in ("olddefconfig", "prepare"):
        out = run(make + [target], tree)
        if out.returncode:
            raise series.SeriesError(f"make {target} failed: {out.stdout.strip().splitlines()[-1]}")
    series.write(objects + "/.kit-from", text)
    found = []
    for path in paths:
        target = path[:-2] + ".o"
        if os.path.exists(os.path.join(objects, target)):
            os.unlink(os.path.join(objects, target))
        # Run from a clean object: make repeats no warning of an object that is up to date.
        out = run(make + ["W=1", "C=2", target], tree)
        for line in out.stdout.splitlines():
            match = re.match(r"(?:\.\./|\./)?([^\s:]+):(\d+):(?:\d+:)? (?:fatal )?(warning|error):", line)
            if match and (match.group(3) == "error" or
                          int(match.group(2)) in added_lines(tree, match.group(1))):
                found.append(line)
        if out.returncode and not any(path in line for line in found):
            tail = [line for line in out.stdout.splitlines() if "Error" in line or "No rule" in line]
            found.append(f"{path}: {(tail or ['did not build'])[0]}")
    return found
