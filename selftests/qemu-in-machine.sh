#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: qemu-in-machine.sh 10|11 [TEST]...
#
# Inside the test machine: the tests with a QEMU of selftests/vm/qemu-root, all
# of selftests/qemu or those named. That root and the guest
# (selftests/qemu/guest/make-guest) have to be in the cache before the machine
# boots. TAP comes out.
set -u
here=$(dirname "$(readlink -f "$0")")
PATH=$PATH:/usr/sbin:/sbin

[ $# -ge 1 ] || { sed -n 3p "$0" >&2; exit 2; }
export MRAM_QEMU=$1
shift
if [ $# -eq 0 ]; then
	# Modules are not executable.
	for test in "$here"/qemu/*.py; do
		[ ! -x "$test" ] || set -- "$@" "${test##*/}"
	done
fi
MRAM_TEST_DIR=$(mktemp -d)
mkfs.ext4 -q -F /dev/vda && mount /dev/vda "$MRAM_TEST_DIR" || exit 1
trap 'umount "$MRAM_TEST_DIR"' EXIT
export MRAM_TEST_DIR MRAM_TEST_BLKDEV=/dev/vdb PYTHONDONTWRITEBYTECODE=1
"$here/lib/run-all" "${@/#/$here/qemu/}"
