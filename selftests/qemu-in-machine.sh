#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: qemu-in-machine.sh 10|11 [TEST]...
#
# Inside the test machine: the tests of selftests/qemu that want it (damage.py
# does not), or those named, with a QEMU of selftests/vm/qemu-root. That root and
# the guest (selftests/qemu/guest/make-guest) have to be in the cache before the
# machine boots. TAP comes out.
set -u
here=$(dirname "$(readlink -f "$0")")
PATH=$PATH:/usr/sbin:/sbin

[ $# -ge 1 ] || { sed -n 3p "$0" >&2; exit 2; }
export MRAM_QEMU=$1
shift
[ $# -gt 0 ] || set -- {reading,save_qmp,save_refuse,save_trouble,restore_qmp}.py
MRAM_TEST_DIR=$(mktemp -d)
mkfs.ext4 -q -F /dev/vda && mount /dev/vda "$MRAM_TEST_DIR" || exit 1
trap 'umount "$MRAM_TEST_DIR"' EXIT
export MRAM_TEST_DIR MRAM_TEST_BLKDEV=/dev/vdb PYTHONDONTWRITEBYTECODE=1
"$here/lib/run-all" "${@/#/$here/qemu/}"
