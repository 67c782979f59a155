# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the scripts of the test machine share: messages, the cache, locks.
# Sourced, never run. Every script starts with
#	. "$(dirname "$(readlink -f "$0")")/lib.sh"

VM_DIR=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck disable=SC2034 # used by the scripts that source this
PROJECT_DIR=$(readlink -f "$VM_DIR/../..")
VM_CACHE=${MAPPED_RAM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mapped-ram}
VM_SELF=${0##*/}

# depmod, modprobe and mkfs live there, and not in everybody's PATH.
PATH=$PATH:/usr/sbin:/sbin

# Messages go to stderr: stdout belongs to the path, or the command, asked for.
say()
{
	printf '%s: %s\n' "$VM_SELF" "$*" >&2
}

die()
{
	say "$@"
	exit 1
}

need()
{
	local tool

	for tool in "$@"; do
		command -v "$tool" >/dev/null ||
			die "no $tool here; selftests/vm/install-deps installs what is missing"
	done
}

# Prints the header comment of the calling script: the one place where its
# usage stands.
usage()
{
	sed -n '3,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"
}

# vm_lock NAME: one at a time, until this process is gone. Descriptor 9 is not
# for children that outlive us: start those with 9>&-.
vm_lock()
{
	mkdir -p "$VM_CACHE/lock"
	exec 9>"$VM_CACHE/lock/$1"
	if ! flock -n 9; then
		say "waiting for another $1"
		flock 9
	fi
}

vm_unlock()
{
	exec 9>&-
}

# vm_tmpdir: a directory inside the cache, so that a rename out of it is
# atomic. The caller's trap removes it; what a killed run left is swept here
# once a day old.
vm_tmpdir()
{
	mkdir -p "$VM_CACHE/tmp"
	find "$VM_CACHE/tmp" -mindepth 1 -maxdepth 1 -mtime +0 \
		-exec rm -rf {} + 2>/dev/null || true
	mktemp -d "$VM_CACHE/tmp/$VM_SELF.XXXXXX"
}
