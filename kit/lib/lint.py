# SPDX-License-Identifier: GPL-2.0
"""The kernel's own checkers, run on what the series touches.

Each function returns the findings as lines; none means clean.
"""
import concurrent.futures
import fnmatch
import hashlib
import os
import re
import subprocess

import series

CACHE = os.environ.get("KIT_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "dmabuf-io")


def run(command, tree):
    # The system's Python has the modules that kit/deps installs.
    env = dict(os.environ, LC_ALL="C", PATH="/usr/bin:/bin:" + os.environ.get("PATH", ""))
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


FINDING = re.compile(r"(.*?):\d+: (?:ERROR|WARNING|CHECK):(\w+): ")


def checkpatch_output(tree, base, mail):
    """The lines of checkpatch.pl about a mail; from the cache if it was asked before.

    What it looks at is the base's or the mail's own.  The mail is called mail.patch.
    """
    text = re.sub(r"^(Subject: \[PATCH) \d+/\d+\]", r"\1]", series.read(mail), count=1, flags=re.MULTILINE)
    key = hashlib.sha256(f"{base}\n{text}".encode("utf-8", "surrogateescape")).hexdigest()
    kept = os.path.join(CACHE, "checkpatch", key)
    if os.path.exists(kept):
        return series.read(kept).splitlines()
    out = run(["perl", "scripts/checkpatch.pl", "--strict", "--show-types", "--no-summary", "--showfile",
               "--terse", mail], tree).stdout.replace(mail, "mail.patch")
    lines = [line for line in out.splitlines() if line.strip()]
    if all(FINDING.match(line) for line in lines):      # and no trouble with the script itself
        series.write(kept, "".join(line + "\n" for line in lines))
    return lines


def checkpatch(tree, mails, allow_file):
    allowed, used, found = read_allowed(allow_file), set(), []
    base = series.git(tree, "rev-parse", "base").strip()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outputs = list(pool.map(lambda mail: checkpatch_output(tree, base, mail), mails))
    for mail, lines in zip(mails, outputs):
        for line in lines:
            match = FINDING.match(line)
            if not match:
                found.append(f"{os.path.basename(mail)}: {line}")
                continue
            where = "-" if match.group(1) == "mail.patch" else match.group(1)
            rule = next((r for r in allowed if r[0] == match.group(2) and fnmatch.fnmatch(where, r[1])), None)
            if rule:
                used.add(rule)
            else:
                found.append(f"{os.path.basename(mail)}: {line.removeprefix('mail.patch:')}")
    if mails:
        found += [f"checkpatch.allow: nothing matches '{kind} {pattern}' any more"
                  for kind, pattern in allowed if (kind, pattern) not in used]
    return found


def maintainers(tree, paths):
    """Every new file must be in a section of MAINTAINERS other than THE REST."""
    def sections(path):
        out = run(["perl", "scripts/get_maintainer.pl", "--sections", "--no-git", "--no-git-fallback",
                   "-f", path], tree).stdout
        return [line for line in out.splitlines() if re.match(r"[A-Z0-9][^:]*$", line)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        covered = pool.map(sections, paths)
        return [f"{path}: no section of MAINTAINERS covers it" for path, names in zip(paths, covered)
                if not [name for name in names if name.strip() != "THE REST"]]


def kernel_doc(tree, paths):
    if not paths:
        return []
    out = run(["python3", "tools/docs/kernel-doc", "-none", "-Wall", *paths], tree)
    lines = list(dict.fromkeys(line for line in out.stdout.splitlines() if line.strip()))
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


def warnings(tree, config, paths):
    """W=1 and sparse, in a build directory of its own with the given configuration."""
    objects = os.path.join(tree, ".check")
    os.makedirs(objects, exist_ok=True)
    # KASAN makes functions and frames bigger, and has no influence on what counts here.
    text = re.sub(r"^CONFIG_KASAN=y$", "# CONFIG_KASAN is not set", series.read(config), flags=re.MULTILINE)
    make = ["make", "O=.check", "CC=ccache gcc", "HOSTCC=ccache gcc", "LOCALVERSION=", "KBUILD_BUILD_TIMESTAMP=0",
            "KBUILD_BUILD_USER=u", "KBUILD_BUILD_HOST=h", f"-j{os.cpu_count()}"]
    kept = os.path.join(objects, ".kit-from")
    if not os.path.exists(kept) or series.read(kept) != text:
        series.write(os.path.join(objects, ".config"), text)
    for target in ("olddefconfig", "prepare"):
        out = run(make + [target], tree)
        if out.returncode:
            raise series.SeriesError(f"make {target} failed: {out.stdout.strip().splitlines()[-1]}")
    series.write(kept, text)
    targets = [path[:-2] + ".o" for path in paths]
    for target in targets:      # make repeats no warning of an object that is up to date
        if os.path.exists(os.path.join(objects, target)):
            os.unlink(os.path.join(objects, target))
    out = run(make + ["-k", "W=1", "C=2", *targets], tree) if targets else None
    found, lines = [], {}
    for line in out.stdout.splitlines() if out else []:
        match = re.match(r"(?:\.\./|\./)*([^\s:]+):(\d+):(?:\d+:)? (?:fatal )?(warning|error):", line)
        if match:
            path, number, kind = match.groups()
            if path not in lines:
                lines[path] = added_lines(tree, path)
            if kind == "error" or int(number) in lines[path]:
                found.append(line)
    found += [f"{target}: did not build" for target in targets
              if not os.path.exists(os.path.join(objects, target))]
    return list(dict.fromkeys(found))
