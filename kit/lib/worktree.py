# SPDX-License-Identifier: GPL-2.0
"""build/linux: the base kernel with the series applied by `git am`."""
import json
import os
import shutil
import subprocess
import sys

import series

LIB = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(LIB))
BUILD = os.environ.get("KIT_BUILD") or os.path.join(TOP, "build")
# git am needs a committer; a fixed one and the author's date make commit ids
# depend on nothing but the series.
COMMITTER = {"GIT_COMMITTER_NAME": "kit", "GIT_COMMITTER_EMAIL": "kit@invalid"}


def fetch(what):
    """A bare repository from kit/fetch."""
    run = subprocess.run([os.path.join(TOP, "kit", "fetch"), what], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        sys.exit(run.returncode)
    return run.stdout.strip()


def stamp_path(tree):
    return os.path.join(tree, ".git", "kit-series")


def read_stamp(tree):
    """What the tree was made from: {digest, base, head}, or None."""
    try:
        with open(stamp_path(tree), encoding="ascii") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write_stamp(tree, base, digest):
    head = series.git(tree, "rev-parse", "HEAD").strip()
    series.write(stamp_path(tree), json.dumps({"digest": digest, "base": base, "head": head}) + "\n")


def is_ours(tree):
    return os.path.exists(stamp_path(tree))


def compose(directory, patches=None, headers=lambda patch: "", prefix="PATCH"):
    """Write the mails of the series; returns their paths."""
    patches = series.load(TOP) if patches is None else patches
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    paths = []
    for number, patch in enumerate(patches, 1):
        paths.append(os.path.join(directory, patch.name))
        series.write(paths[-1], patch.mail(TOP, number, len(patches), headers(patch), prefix))
    return paths


def apply(repository, directory):
    """Clone a bare base repository and `git am` the series there.

    Only the files that the series touches are checked out, which takes a second
    instead of half a minute.  Returns the clone; its branch is `series`.
    """
    patches = series.load(TOP)
    tree = os.path.join(directory, "tree")
    shutil.rmtree(directory, ignore_errors=True)
    mails = compose(os.path.join(directory, "mails"), patches)
    alternates = os.path.join(repository, "objects", "info", "alternates")
    if os.path.exists(alternates):      # a LINUX= tree: borrow, do not copy
        series.git("/", "clone", "-q", "--shared", "--no-checkout", "-b", "base", repository, tree)
    else:
        series.git("/", "clone", "-q", "--no-checkout", "-b", "base", repository, tree)
    series.git(tree, "remote", "remove", "origin")
    for key, value in (("core.autocrlf", "false"), ("gc.auto", "0"), ("core.untrackedCache", "true"),
                       ("index.version", "4")):
        series.git(tree, "config", key, value)
    touched = sorted({path for patch in patches for path in patch.paths()})
    # .gitattributes decides about the function names in hunk headers.
    series.git(tree, "sparse-checkout", "set", "--no-cone", "--stdin",
               data=".gitattributes\n/Makefile\n" + "".join(f"/{path}\n" for path in touched))
    series.git(tree, "checkout", "-q", "-b", "series")
    for mail, patch in zip(mails, patches):
        run = series.git(tree, "-c", "advice.mergeConflict=false", "am", "-q", "--no-3way",
                         "--committer-date-is-author-date", "--whitespace=nowarn", mail,
                         check=False, env=COMMITTER)
        if run.returncode:
            why = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
            series.git(tree, "am", "--abort", check=False)
            version = series.git(tree, "log", "-1", "--format=%s", "base").strip()
            raise series.SeriesError(f"series/{patch.name} does not apply to {version}: " +
                                     (why or run.stderr.splitlines() or ["?"])[0].removeprefix("error: "))
    return tree


def unexported(tree, base):
    """Why the tree must not be overwritten, or None."""
    stamp = read_stamp(tree)
    if not stamp:
        return "was not made by `make tree`"
    if os.path.isdir(os.path.join(tree, ".git", "rebase-apply")) or \
            os.path.isdir(os.path.join(tree, ".git", "rebase-merge")):
        return "is in the middle of a rebase or am"
    if series.git(tree, "status", "--porcelain", "--no-renames"):
        return "has uncommitted changes"
    if series.git(tree, "rev-parse", "HEAD").strip() == stamp["head"]:
        return None
    try:
        result = series.export(tree, stamp["base"])
    except series.SeriesError as err:
        return f"has commits that cannot be exported ({err})"
    if [patch.text() for patch, _ in result] == [patch.text() for patch in series.load(TOP)] and \
            all(series.read(os.path.join(TOP, path)) == text
                for _, files in result for path, (_, text) in files.items()):
        write_stamp(tree, stamp["base"], series.digest(TOP, stamp["base"]))
        return None
    return "has commits that are not exported"


def update(force=False):
    """Make build/linux what the series says.

    Returns (tree, problem): problem says why an existing tree was left alone.
    Unchanged files keep their times, so that a build only redoes what it must.
    """
    tree, scratch = os.path.join(BUILD, "linux"), os.path.join(BUILD, "tmp", f"am-{os.getpid()}")
    repository = fetch("base")
    base = series.git(repository, "rev-parse", "base").strip()
    wanted = series.digest(TOP, base)
    if os.path.exists(tree):
        problem = None if force else unexported(tree, base)
        if problem:
            return tree, problem
        if not force and read_stamp(tree)["digest"] == wanted:
            return tree, None
    os.makedirs(os.path.dirname(scratch), exist_ok=True)
    for name in os.listdir(os.path.dirname(scratch)):    # of runs that were killed
        pid = name.rpartition("-")[2]
        if not (pid.isdigit() and os.path.exists(f"/proc/{pid}")):
            shutil.rmtree(os.path.join(os.path.dirname(scratch), name), ignore_errors=True)
    try:
        new = apply(repository, scratch)
        if os.path.exists(tree):
            series.git(tree, "fetch", "-q", "--no-tags", "--update-head-ok", new, "+series:kit-new", "+base:base")
            series.git(tree, "checkout", "-q", "--force", "-B", "series", "kit-new")
            series.git(tree, "branch", "-q", "-D", "kit-new")
        else:
            print("tree: checking out build/linux", file=sys.stderr)
            series.git(new, "sparse-checkout", "disable")
            os.rename(new, tree)
        write_stamp(tree, base, wanted)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return tree, None
