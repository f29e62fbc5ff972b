# SPDX-License-Identifier: GPL-2.0
# Packages out of Debian releases that the machine itself may not use, through
# an apt configuration of our own: nothing is installed, and neither the
# machine's package lists nor its sources change.

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# The Debian mirror that apt already uses, or the user's choice.
debian_mirror() {
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "$DEBIAN_MIRROR"
		return
	fi
	apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
		grep -E '/debian/?$' | sort | uniq -c | sort -rn |
		awk 'NR == 1 { sub("/$", "", $2); print $2 }'
}

# apt_setup: write the private configuration, export APT_CONFIG.
apt_setup() {
	local dir=$CACHE/apt mirror suite
	need apt-get apt-config
	mirror=$(debian_mirror)
	[ -n "$mirror" ] ||
		die "apt knows no Debian mirror; set DEBIAN_MIRROR=<URL of one>, or LINUX=<tree>"
	[ -r $KEYRING ] ||
		die "$KEYRING is missing (package debian-archive-keyring)"
	mkdir -p "$dir"/{lists/partial,archives/partial,empty} || die "cannot create $dir"
	for suite in "$@"; do
		echo "deb [signed-by=$KEYRING] $mirror $suite main"
	done > "$dir/sources.list"
	{
		# Proxies and the like stay as the machine has them.
		apt-config dump Acquire
		cat <<-CONFIG
		Dir::Etc::SourceList "$dir/sources.list";
		Dir::Etc::SourceParts "$dir/empty";
		Dir::Etc::Parts "$dir/empty";
		Dir::Etc::Main "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "$dir/empty";
		Dir::State::Lists "$dir/lists";
		Dir::Cache "$dir";
		Dir::Cache::archives "$dir/archives";
		APT::Sandbox::User "";
		Acquire::Languages "none";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
		Acquire::Retries "2";
		Acquire::http::Timeout "30";
		Acquire::https::Timeout "30";
		CONFIG
	} > "$dir/apt.conf"
	export APT_CONFIG=$dir/apt.conf
}

# deb_split FILE: sets PACKAGE and VERSION from name_version_arch.deb
deb_split() {
	PACKAGE=${1%%_*}
	VERSION=${1#*_}
	VERSION=${VERSION%_*}
}

# fetch_system_deb FILE: the package of this system's own release in FILE's place.
fetch_system_deb() {
	local tmp=$CACHE/tmp/deb.$$ why
	deb_split "$1"
	say "no Debian mirror is known (DEBIAN_MIRROR): taking this system's $PACKAGE, not the pinned $VERSION"
	rm -rf "$tmp" && mkdir -p "$tmp" "$CACHE/deb" || die "cannot write to $CACHE"
	why=$(cd "$tmp" && apt-get -q -q -o APT::Sandbox::User= download "$PACKAGE" 2>&1) ||
		die "downloading $PACKAGE failed: $(grep -m 1 -E '^[EW]: ' <<< "$why" || echo "$why")"
	mv "$tmp/${PACKAGE}"_*.deb "$CACHE/deb/$1" || die "cannot write to $CACHE/deb"
	rm -rf "$tmp"
}

# fetch_deb FILE SUITE SHA256: leaves the verified file in $CACHE/deb.
fetch_deb() {
	local file=$1 suite=$2 sum=$3 tmp=$CACHE/tmp/deb.$$ got have why
	if [ -f "$CACHE/deb/$file" ]; then
		got=$(sha256sum < "$CACHE/deb/$file") && [ "${got%% *}" = "$sum" ] && return
		say "the cached $file is damaged; fetching it again"
		rm -f "$CACHE/deb/$file"
	fi
	deb_split "$file"
	apt_setup "$suite"
	rm -rf "$tmp" && mkdir -p "$tmp" "$CACHE/deb" || die "cannot write to $CACHE"
	say "fetching $PACKAGE $VERSION (Debian $suite)"
	why=$(apt-get -q -q -o APT::Update::Error-Mode=any update 2>&1) ||
		die "cannot read the package lists of Debian $suite: $(grep -m 1 -E '^[EW]: ' <<< "$why" || echo "$why")"
	have=$(apt-cache madison "$PACKAGE" | awk -F'|' '{ gsub(" ", "", $2); print $2 }' | sort -u | paste -sd' ')
	case " $have " in
	*" $VERSION "*) ;;
	*) die "Debian $suite has no $PACKAGE $VERSION any more (it has: ${have:-none});" \
		"use LINUX=<tree> or another DEBIAN_MIRROR" ;;
	esac
	why=$(cd "$tmp" && apt-get -q -q download "$PACKAGE=$VERSION" 2>&1) ||
		die "downloading $PACKAGE $VERSION failed: $(grep -m 1 -E '^[EW]: ' <<< "$why" || echo "$why")"
	set -- "$tmp"/*.deb
	[ -f "$1" ] || die "apt-get download left no file for $PACKAGE"
	got=$(sha256sum < "$1") || die "cannot read $1"
	[ "${got%% *}" = "$sum" ] ||
		die "wrong checksum of $file: ${got%% *}, expected $sum"
	mv "$1" "$CACHE/deb/$file" || die "cannot write to $CACHE/deb"
	rm -rf "$tmp"
}
