#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: import.py VERSION [DIRECTORY] | git fast-import

Turns a kernel source tree, a tar stream on stdin or DIRECTORY, into one commit
on refs/heads/base for git fast-import.  Nothing of the commit depends on the
machine: the same tree gives the same commit id everywhere.  Files that a
.gitignore of the tree would hide are kept; Debian's addition to the top
.gitignore, which hides the whole tree, is left out.  Progress goes to file
descriptor 3 if that is open, else to stderr.
"""
import os
import sys
import tarfile
import time

DATE = "1767225600 +0000"       # any fixed date does
WHO = "Linux kernel <linux@invalid>"


def from_tar(stream):
    """Yield (path, mode, data); the first path component is dropped."""
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            path = entry.name.removeprefix("./").partition("/")[2]
            if entry.issym():
                yield path, "120000", entry.linkname.encode()
            elif entry.isreg():
                mode = "100755" if entry.mode & 0o100 else "100644"
                yield path, mode, tar.extractfile(entry).read()
            elif not entry.isdir() and not entry.name.startswith("pax_global_header"):
                sys.exit(f"import: {entry.name}: unexpected kind of file")


def from_directory(top):
    """The same for a directory; build results must not be in it."""
    for where, dirs, files in os.walk(top):
        dirs[:] = sorted(d for d in dirs if d != ".git")
        links = [d for d in dirs if os.path.islink(os.path.join(where, d))]
        for name in sorted(files + links):
            full = os.path.join(where, name)
            path = os.path.relpath(full, top)
            if os.path.islink(full):
                yield path, "120000", os.fsencode(os.readlink(full))
            else:
                with open(full, "rb") as file:
                    mode = "100755" if os.stat(full).st_mode & 0o100 else "100644"
                    yield path, mode, file.read()


def without_packaging(gitignore):
    """The top .gitignore as kernel.org has it."""
    return gitignore.partition(b"\n#\n# Debian packaging:")[0].rstrip(b"\n") + b"\n"


def quote(path):
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def version_of(makefile):
    """'7.3.4' or '7.3.0-rc7' out of the top Makefile."""
    found = {}
    for line in makefile.decode().splitlines()[:8]:
        key, _, value = line.partition("=")
        found[key.strip()] = value.strip()
    return "{VERSION}.{PATCHLEVEL}.{SUBLEVEL}{EXTRAVERSION}".format(**found)


def main(argv):
    if len(argv) not in (2, 3) or argv[1].startswith("-"):
        print(__doc__.strip())
        return 2
    version, out = argv[1], sys.stdout.buffer
    source = from_directory(argv[2]) if len(argv) == 3 else from_tar(sys.stdin.buffer)
    message = f"Linux {version}\n".encode()
    out.write(f"feature done\ncommit refs/heads/base\ncommitter {WHO} {DATE}\n"
              f"data {len(message)}\n".encode() + message)
    count, shown, seen = 0, time.monotonic(), None
    try:
        progress = os.fdopen(3, "w")
    except OSError:
        progress = sys.stderr
    for path, mode, data in source:
        if path == ".gitignore":
            data = without_packaging(data)
        out.write(f"M {mode} inline {quote(path)}\ndata {len(data)}\n".encode())
        out.write(data)
        out.write(b"\n")
        count += 1
        if path == "Makefile":
            seen = version_of(data)
            if seen != version:
                sys.exit(f"import: this is Linux {seen}, not {version}")
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"  {count} files", file=progress, flush=True)
    if seen is None:
        sys.exit("import: no Makefile at the top: not a kernel source tree")
    out.write(b"done\n")
    out.flush()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (OSError, tarfile.TarError, EOFError) as err:
        sys.exit(f"import: {err}")
