# SPDX-License-Identifier: GPL-2.0
"""The format of series/: reading, composing and exporting patches.

A file series/NNNN-subject.patch is what `git format-patch` writes, without
diffstat, series number and the diffs of new files.  A new file lives whole at
its in-tree path in the repository; the patch that adds it names it in a line
`New: path` below `---`.  compose() puts both together to a complete mail;
export() takes the commits of a git tree apart again.
"""
import hashlib
import os
import re
import subprocess

ZERO = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\n"
# Top-level names of the repository that are not the kernel's.
OURS = {"kit", "series", "build", ".ci", ".git", "Makefile", "README.md", "COPYING", ".gitignore"}
FORMAT_PATCH = [
    "-c", "core.quotePath=true", "-c", "diff.suppressBlankEmpty=false",
    "-c", "diff.indentHeuristic=true", "-c", "diff.interHunkContext=0", "-c", "format.notes=false",
    "-c", "i18n.logOutputEncoding=UTF-8",
    "format-patch", "-1", "--stdout", "--zero-commit", "--no-signature", "--abbrev=12", "--no-renames",
    "--stat", "--no-attach", "--no-thread", "--no-numbered", "--subject-prefix=PATCH", "--no-base",
    "--no-signoff", "--no-to", "--no-cc", "--no-add-header", "--no-from", "--no-notes", "--no-color", "--no-ext-diff", "--no-textconv",
    "--diff-algorithm=histogram", "-O/dev/null", "--unified=3", "--src-prefix=a/", "--dst-prefix=b/",
    "--encode-email-headers", "--no-cover-letter", "--no-relative", "--ignore-submodules=none",
]


class SeriesError(Exception):
    """Something about the series that the user must repair."""


def git(tree, *args, check=True, data=None, env=None):
    """Run git without anybody's configuration; returns its output as text."""
    full = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1",
                LC_ALL="C", **(env or {}))
    run = subprocess.run(["git", "-C", tree, *args], input=data, env=full, text=True,
                         encoding="utf-8", errors="surrogateescape", check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         **({} if data is not None else {"stdin": subprocess.DEVNULL}))
    if run.returncode and check:
        last = (run.stderr.strip() or run.stdout.strip() or "failed").splitlines()[-1]
        raise SeriesError(f"git {next(a for a in args if a.isalpha() or '-' in a[1:])}: {last}")
    return run.stdout if check else run


def read(path):
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def write(path, text, mode=None):
    """Replace a file in one step, and only if that changes anything."""
    if not os.path.exists(path) or read(path) != text:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        tmp = f"{path}.{os.getpid()}.tmp"
        with open(tmp, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
        os.replace(tmp, path)
    if mode is not None and os.stat(path).st_mode & 0o777 != mode:
        os.chmod(path, mode)


def split_diff(text):
    """'diff --git ...' -> [(path, chunk)], in order."""
    chunks = re.split(r"^(?=diff --git )", text, flags=re.MULTILINE)
    if chunks[0].strip():
        raise SeriesError(f"unexpected text before the diff: {chunks[0].strip().splitlines()[0]!r}")
    result = []
    for chunk in chunks[1:]:
        match = re.match(r"diff --git a/(\S+) b/(\S+)\n", chunk)
        if not match or match.group(1) != match.group(2):
            raise SeriesError(f"cannot handle {chunk.splitlines()[0]!r}: rename or odd name")
        result.append((match.group(1), chunk))
    return result


class Patch:
    """One commit: mail head up to '---', claimed new files, diff chunks."""

    def __init__(self, name, head, news, chunks):
        self.name, self.head, self.news, self.chunks = name, head, news, chunks

    @classmethod
    def parse(cls, name, text):
        head, mark, rest = text.partition("\n---\n")
        if not mark or not text.startswith(ZERO) or "\nSubject: [PATCH] " not in head:
            raise SeriesError(f"series/{name} is not in the format of kit/export")
        news, lines = [], rest.split("\n")
        while lines and lines[0].startswith("New: "):
            news.append(lines.pop(0)[5:])
        if lines and lines[0] == "":
            lines.pop(0)
        try:
            return cls(name, head + mark, news, split_diff("\n".join(lines)))
        except SeriesError as err:
            raise SeriesError(f"series/{name}: {err}") from None

    @property
    def subject(self):
        match = re.search(r"^Subject: \[PATCH\] (.*(?:\n[ \t].*)*)", self.head, re.MULTILINE)
        return re.sub(r"\n[ \t]", " ", match.group(1))

    def text(self):
        """The file in series/."""
        return self.head + "".join(f"New: {path}\n" for path in self.news) + "\n" + \
            "".join(chunk for _, chunk in self.chunks)

    def paths(self):
        return [path for path, _ in self.chunks] + self.news

    def mail(self, top, number, total, headers="", prefix="PATCH"):
        """The complete mail."""
        width = len(str(total))
        head = self.head.replace("Subject: [PATCH] ", f"Subject: [{prefix} {number:0{width}}/{total}] ", 1)
        if headers:
            head = re.sub(r"^(Subject: .*(?:\n[ \t].*)*\n)", lambda m: m.group(1) + headers, head,
                          count=1, flags=re.MULTILINE)
        chunks = self.chunks + [(path, new_file_chunk(top, path)) for path in self.news]
        chunks.sort(key=lambda item: os.fsencode(item[0]))
        diff = "".join(chunk for _, chunk in chunks)
        stat = git("/", "apply", "--stat", "--summary", "--allow-empty", "-", data=diff)
        return f"{head}{stat}\n{diff}"


def new_file_chunk(top, path):
    """The diff that adds a file of the repository."""
    full = os.path.join(top, path)
    if os.path.islink(full) or not os.path.isfile(full):
        raise SeriesError(f"{path} is claimed as new, but is no file in the repository")
    text = read(full)
    if "\0" in text:
        raise SeriesError(f"{path}: binary files are not supported")
    raw = text.encode("utf-8", "surrogateescape")
    blob = hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest()[:12]
    mode = "100755" if os.stat(full).st_mode & 0o100 else "100644"
    chunk = f"diff --git a/{path} b/{path}\nnew file mode {mode}\nindex 000000000000..{blob}\n"
    if not text:
        return chunk
    lines = text.split("\n")
    tail = "" if lines[-1] == "" else "\\ No newline at end of file\n"
    if not tail:
        lines.pop()
    count = f"+1,{len(lines)}" if len(lines) != 1 else "+1"
    return f"{chunk}--- /dev/null\n+++ b/{path}\n@@ -0,0 {count} @@\n" + \
        "".join(f"+{line}\n" for line in lines) + tail


def load(top):
    """All patches of the repository, in order, after checking the claims."""
    directory = os.path.join(top, "series")
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    patches, owner = [], {}
    for name in names:
        if name.endswith(".patch"):
            if not re.match(r"\d{4}-", name):
                raise SeriesError(f"series/{name}: the name does not start with a number")
            patches.append(Patch.parse(name, read(os.path.join(directory, name))))
    for number, patch in enumerate(patches, 1):
        if int(patch.name[:4]) != number:
            raise SeriesError(f"series/{patch.name} should be number {number:04}")
        for path in patch.news:
            if path in owner:
                raise SeriesError(f"{path} is claimed by {owner[path]} and by {patch.name}")
            check_new_path(path)
            owner[path] = patch.name
    for patch in patches:
        for path, _ in patch.chunks:
            if path in owner:
                raise SeriesError(f"series/{patch.name} changes {path}, a new file of the repository")
    return patches


def check_new_path(path):
    parts = path.split("/")
    if parts[0] in OURS or len(parts) < 2 or ".." in parts or "" in parts:
        raise SeriesError(f"{path}: not a place for a new kernel file in the repository")


def digest(top, base):
    """Identifies series, new files and base; kept next to what is made of them."""
    total = hashlib.sha256(base.encode())
    for patch in load(top):
        total.update(patch.name.encode() + b"\0" + patch.mail(top, 1, 1).encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def export(tree, base, head="HEAD"):
    """[(Patch, {path: (mode, text)})] of the commits base..head of a git tree."""
    commits = git(tree, "rev-list", "--reverse", "--topo-order", f"{base}..{head}").split()
    ancestor = git(tree, "merge-base", "--is-ancestor", base, head, check=False)
    if ancestor.returncode:
        raise SeriesError(f"{base} is not an ancestor of {head}")
    result, owner = [], {}
    for number, commit in enumerate(commits, 1):
        if len(git(tree, "rev-list", "--parents", "-1", commit).split()) != 2:
            raise SeriesError(f"{commit[:12]} is a merge; a series is a straight line")
        patch, files = export_one(tree, commit, number)
        for path in patch.paths():
            if path in owner:
                raise SeriesError(f"'{patch.subject}' touches {path}, which '{owner[path]}' adds: a new "
                                  "file enters whole in one commit (git rebase --autosquash)")
        owner.update((path, patch.subject) for path in files)
        result.append((patch, files))
    return result


def export_one(tree, commit, number):
    subject, _, body = git(tree, "log", "-1", "--format=%s%n%b", commit).partition("\n")
    name = git(tree, "log", "-1", "--format=%f", commit).strip()[:52].rstrip("-.")
    if subject.startswith("["):
        raise SeriesError(f"'{subject}': git am would drop the text in brackets")
    if re.search(r"^(---$|diff -|Index: |>?From )", body, re.MULTILINE):
        raise SeriesError(f"'{subject}': a line of the message would end it for git am "
                          "('---', 'diff -', 'Index: ' or 'From ' at its start)")
    text = git(tree, *FORMAT_PATCH, commit)
    if not text:
        raise SeriesError(f"'{subject}' changes nothing")
    head, mark, diff = text.partition("\n---\n")
    if not mark:
        raise SeriesError(f"'{subject}': format-patch wrote no '---'")
    news, chunks, files = [], [], {}
    _, _, diff = diff.partition("\n\n")        # the diffstat is made when composing
    for path, chunk in split_diff(diff):
        meta = chunk.partition("\n@@ ")[0]
        if "\nBinary files " in meta or "\nGIT binary patch" in meta:
            raise SeriesError(f"'{subject}': {path} is binary")
        if "\ndeleted file mode " in meta:
            raise SeriesError(f"'{subject}' deletes or renames {path}: not supported in a series")
        mode = re.search(r"\nnew file mode (\d+)\n", meta)
        if not mode:
            chunks.append((path, chunk))
            continue
        if mode.group(1) not in ("100644", "100755"):
            raise SeriesError(f"'{subject}': {path} is no regular file (mode {mode.group(1)})")
        check_new_path(path)
        news.append(path)
        files[path] = (int(mode.group(1)[3:], 8), git(tree, "cat-file", "blob", f"{commit}:{path}"))
    return Patch(f"{number:04}-{name}.patch", head + mark, news, chunks), files
