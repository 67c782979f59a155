# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Targets of the experiments, made when they are first asked for. Sourced by
# in-machine.sh.
#
#	target_open NAME	sets TARGET to a path to save to
#	targets_close		takes everything down
#
#   block   a null_blk device: it takes every write and keeps nothing
#   xfs     a file on XFS whose data lie on such a device (as XFS's realtime
#           device), its metadata on a RAM disk
#   xfs-64k as xfs, with realtime extents of 64 KiB: finding space is no work
#   xfs-ram a file on XFS on a RAM disk, which keeps what is written: a read
#           copies it
#   slow    a null_blk device that takes 10 us for each I/O
#   slow-1ms  one that takes 1 ms
#
# One request of theirs is 1 MiB at most, as with many an NVMe drive, or
# MAX_SECTORS sectors. block-default and xfs-default keep to null_blk's default,
# which is smaller than what engines ask for: requests are split.

declare -A targets=()
mounts=()

# null_device NAME IRQMODE NSEC MIB MAX_SECTORS: its node into $device
null_device()
{
	local dir=/sys/kernel/config/nullb/$1

	if [ ! -d /sys/module/null_blk ]; then
		modprobe null_blk nr_devices=0
		mountpoint -q /sys/kernel/config ||
			mount -t configfs none /sys/kernel/config
	fi
	mkdir "$dir" && echo "$4" >"$dir/size" && echo 2 >"$dir/queue_mode" &&
		echo "$2" >"$dir/irqmode" && echo "$3" >"$dir/completion_nsec" &&
		echo 1024 >"$dir/hw_queue_depth" &&
		echo "${5:-0}" >"$dir/max_sectors" && echo 1 >"$dir/power" ||
		return 1
	device=/dev/$1
	[ -b "$device" ] || device=/dev/nullb$(cat "$dir/index")
	[ -b "$device" ]
}

# XFS finds a free realtime extent by looking at the bitmap of all: so the
# device is no larger than needed, or that would be what is counted.
#
# make_xfs NAME DISK MAX_SECTORS [EXTENT]: with realtime extents of that size
make_xfs()
{
	local disk=/dev/ram$2 most=$SIZE mib dir

	case " $CASES " in
	*" flat "*)
		for mib in $FLAT_SIZES; do
			[ "$mib" -le "$most" ] || most=$mib
		done
		;;
	esac
	null_device "$1" 0 0 $((most + 128)) "$3" &&
		modprobe brd rd_nr=4 rd_size=524288 && modprobe xfs &&
		mkfs.xfs -q -f -d rtinherit=1 -m reflink=0,rmapbt=0 \
			-r rtdev="$device,extsize=${4:-4k}" "$disk" &&
		dir=$(mktemp -d) &&
		mount -t xfs -o rtdev="$device" "$disk" "$dir" || return 1
	mounts+=("$dir")
	device=$dir/image
}

make_xfs_ram()
{
	local disk=/dev/ram2 dir

	modprobe brd rd_nr=4 rd_size=524288 && modprobe xfs &&
		mkfs.xfs -q -f "$disk" && dir=$(mktemp -d) &&
		mount -t xfs "$disk" "$dir" || return 1
	mounts+=("$dir")
	device=$dir/image
}

target_open()
{
	local max=${MAX_SECTORS:-2048}

	if [ -z "${targets[$1]:-}" ]; then
		case $1 in
		block) null_device "$1" 0 0 20480 "$max" ;;
		block-default) null_device "$1" 0 0 20480 "" ;;
		slow) null_device "$1" 2 10000 20480 "$max" ;;
		slow-1ms) null_device "$1" 2 1000000 20480 "$max" ;;
		xfs-ram) make_xfs_ram ;;
		xfs) make_xfs "$1" 0 "$max" ;;
		xfs-default) make_xfs "$1" 1 "" ;;
		xfs-64k) make_xfs "$1" 3 "$max" 64k ;;
		*) echo "no target is called $1" >&2; return 1 ;;
		esac || return 1
		targets[$1]=$device
	fi
	# shellcheck disable=SC2034 # for who sources this
	TARGET=${targets[$1]}
}

targets_close()
{
	local dir

	for dir in "${mounts[@]}"; do
		umount "$dir" || true
	done
	mounts=()
}
