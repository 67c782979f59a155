# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Packages of any Debian suite without touching the host's apt: a private apt
# state in the cache, with the host's own mirror, keyring, proxy and
# credentials, and the suite put in place of the host's. Sourced after lib.sh.
#
#	apt_open SUITE[,SUITE]...   use these suites from now on
#	apt_closure PACKAGE         PACKAGE and the kernel packages it needs
#	apt_version PACKAGE         the version that would be fetched
#	apt_fetch DIR PACKAGE...    download the .deb files into DIR

APT_DIR=

# The host's Debian archives as "URI SUITE SOURCES-FILE" lines. apt itself
# reads both source formats. Archives it has lists of say where they come
# from; on a host without lists the shape of the suite's name has to do.
# shellcheck disable=SC2016 # $(...) is apt's own syntax here
apt_host_archives()
{
	local known='^(bookworm|trixie|forky|duke|sid|stable|oldstable|testing|unstable)(-updates|-security|-backports)?$'
	local all

	all=$(apt-get indextargets --format \
		'$(REPO_URI) $(RELEASE) $(COMPONENT) $(SOURCESENTRY) $(ORIGIN)' \
		'Created-By: Packages' 2>/dev/null |
		awk '$3 == "main" && $5 == "Debian" { print $1, $2, $4 }')
	[ -n "$all" ] || all=$(apt-get indextargets --no-release-info --format \
		'$(REPO_URI) $(RELEASE) $(COMPONENT) $(SOURCESENTRY)' \
		'Created-By: Packages' 2>/dev/null |
		awk -v known="$known" \
			'$3 == "main" && $2 ~ known { print $1, $2, $4 }')
	printf '%s\n' "$all" | sort -u
}

# The keyring the host names for its archive; empty where it trusts the
# keyrings in trusted.gpg.d.
apt_host_keyring()
{
	local file=${1%:*}

	sed -nE -e 's/^Signed-By:[[:space:]]*(\/[^[:space:]]+).*/\1/Ip' \
		-e 's/^deb .*signed-by=(\/[^] ]+).*/\1/p' "$file" 2>/dev/null |
		head -n 1
}

# One line of sources.list for a suite. Security suites live on an archive of
# their own; a host without one gets it by name from beside its main archive.
apt_source_line()
{
	local suite=$1 archives line uri entry keyring

	archives=$(apt_host_archives)
	case $suite in
	*-security)
		line=$(awk '$2 ~ /-security$/' <<<"$archives" | head -n 1)
		;;
	*)
		line=$(awk '$2 != "" && $2 !~ /-(security|backports)$/' \
			<<<"$archives" | head -n 1)
		;;
	esac
	if [ -z "$line" ]; then
		line=$(awk '$1 ~ /\/debian\/?$/' <<<"$archives" | head -n 1)
		line=$(sed -E 's,/debian/? ,/debian-security/ ,' <<<"$line")
	fi
	read -r uri _ entry <<<"$line"
	[ -n "${uri:-}" ] ||
		die "apt knows no Debian archive here to take $suite from"
	keyring=$(apt_host_keyring "$entry")
	printf 'deb [arch=amd64%s] %s %s main\n' \
		"${keyring:+ signed-by=$keyring}" "$uri" "$suite"
}

# The host's own hooks (Post-Invoke and the like) must not run for us, and no
# option unsets a list: so its configuration is copied, transport settings only.
apt_write_config()
{
	apt-config dump |
		grep -E '^Acquire::' |
		grep -vE '^Acquire::(IndexTargets|Languages)'
	cat <<-END
		Acquire::Languages "none";
		Acquire::Retries "3";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Sandbox::User "root";
		APT::Get::List-Cleanup "true";
		Dir::State "$APT_DIR/state";
		Dir::State::status "$APT_DIR/status";
		Dir::Cache "$APT_DIR/cache";
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "/dev/null";
		Dir::Etc::sourcelist "$APT_DIR/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::Log "$APT_DIR/log";
	END
}

apt_open()
{
	local suite

	need apt-get apt-config apt-cache dpkg-deb
	APT_DIR=$VM_CACHE/apt/$1
	mkdir -p "$APT_DIR"/state/lists/partial "$APT_DIR"/cache/archives/partial \
		"$APT_DIR"/log
	: >>"$APT_DIR/status"
	for suite in ${1//,/ }; do
		apt_source_line "$suite"
	done >"$APT_DIR/sources.new"
	apt_write_config >"$APT_DIR/apt.conf"
	export APT_CONFIG=$APT_DIR/apt.conf

	if ! cmp -s "$APT_DIR/sources.new" "$APT_DIR/sources.list" ||
	   [ -z "$(find "$APT_DIR/updated" -mmin -360 2>/dev/null)" ]; then
		mv "$APT_DIR/sources.new" "$APT_DIR/sources.list"
		rm -f "$APT_DIR/updated"
		say "reading the package lists of $1"
		apt-get -qq -o APT::Update::Error-Mode=any update >&2 ||
			die "cannot read the package lists of $1"
		touch "$APT_DIR/updated"
	fi
	rm -f "$APT_DIR/sources.new"
}

# First alternatives only: Debian names the signed image before the unsigned.
apt_kernel_depends()
{
	apt-cache show --no-all-versions "$1" |
		sed -nE 's/^(Pre-)?Depends: //p' |
		tr ',' '\n' |
		sed -E 's/^ *([^ |(]+).*/\1/' |
		grep -E '^linux-(image|binary|modules|headers|kbuild)-' || true
}

apt_closure()
{
	local todo=("$@") seen=" " package dep

	while [ ${#todo[@]} -gt 0 ]; do
		package=${todo[0]}
		todo=("${todo[@]:1}")
		case $seen in
		*" $package "*) continue ;;
		esac
		seen+="$package "
		apt_version "$package" >/dev/null || return 1
		echo "$package"
		for dep in $(apt_kernel_depends "$package"); do
			todo+=("$dep")
		done
	done
}

apt_version()
{
	local version

	version=$(apt-cache policy "$1" | sed -n 's/^ *Candidate: //p')
	case $version in
	''|'(none)')
		say "no package $1 in ${APT_DIR##*/}"
		return 1
		;;
	esac
	echo "$version"
}

apt_fetch()
{
	local dir=$1

	shift
	mkdir -p "$dir"
	(cd "$dir" && apt-get -qq download "$@" >&2) ||
		die "cannot download $*"
}
