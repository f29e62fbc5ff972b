# SPDX-License-Identifier: GPL-2.0
# Sourced by the scripts of the kit.  Sets KIT, TOP, BUILD, CACHE and the names
# of base.env.

set -uo pipefail
shopt -s inherit_errexit 2>/dev/null

KIT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
TOP=$(dirname -- "$KIT")
BUILD=${KIT_BUILD:-$TOP/build}
CACHE=${KIT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dmabuf-io}
ME=${0##*/}
. "$KIT/base.env"

die() {
	echo "$ME: $*" >&2
	exit 1
}

say() {
	echo "$ME: $*" >&2
}

need() {
	local tool
	for tool in "$@"; do
		command -v "$tool" > /dev/null ||
			die "$tool is missing; run kit/deps"
	done
}

# usage FILE: the comment block below the SPDX line is the help text.
usage() {
	sed -n '3,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$1"
}

# What git does must not depend on anybody's configuration.
git_plain() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git "$@"
}

# elapsed SECONDS-SINCE-START -> 3:05
elapsed() {
	local s=$((SECONDS - $1))
	printf '%d:%02d' $((s / 60)) $((s % 60))
}

# attached PROGRAM...: who ends us ends it as well, and it can end what it has started.
attached() {
	local child status
	"$@" < /dev/null &
	child=$!
	trap 'kill $child; wait $child; exit 143' TERM HUP
	trap 'kill $child; wait $child; exit 130' INT
	wait $child
	status=$?
	trap - TERM HUP INT
	return $status
}

# lock NAME: hold $CACHE/NAME.lock until this process ends.
lock() {
	mkdir -p "$CACHE" || die "cannot create $CACHE"
	exec {LOCK_FD}> "$CACHE/$1.lock" || die "cannot write to $CACHE"
	if ! flock -w 3 "$LOCK_FD"; then
		say "waiting for another run that uses $CACHE"
		flock "$LOCK_FD" || die "cannot lock $CACHE/$1.lock"
	fi
}
