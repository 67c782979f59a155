#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Usage: in-machine.sh OUT
#
# Inside the test machine, with the module loaded: sets up the targets and runs
# mram-bench for every case, kind of memory, target and engine. The results are
# appended to OUT/results.jsonl, one JSON object a line. user/bench/run starts
# this and says what the variables mean.
#
# Targets:
#   block   a null_blk device: it takes every write and keeps nothing
#   xfs     a file on XFS whose data lie on such a device (as XFS's realtime
#           device), its metadata on a RAM disk
#   slow    a null_blk device that takes 10 us for each I/O
set -eu

out=$1
bench=$out/../user/mram-bench
: "${CASES:=full}" "${MEMORY:=thp}" "${TARGETS:=xfs}"
: "${ENGINES:=module module-pin uring pwrite}" "${SIZE:=256}" "${WINDOW:=32}"
: "${MAX_EXTENT:=1024}" "${BRIDGE:=16}" "${ROUNDS:=3}" "${PERF:=}"
: "${TOUCHED:=64}"
PATH=$PATH:/usr/sbin:/sbin

say()
{
	echo "${0##*/}: $*" >&2
}

# A device of 20 GiB, as sparse as it is quick
null_device()
{
	local dir=/sys/kernel/config/nullb/$1 mode=$2 nsec=$3

	mkdir "$dir"
	echo 20480 >"$dir/size"
	echo 2 >"$dir/queue_mode"
	echo "$mode" >"$dir/irqmode"
	echo "$nsec" >"$dir/completion_nsec"
	echo 1024 >"$dir/hw_queue_depth"
	echo 1 >"$dir/power"
	if [ -e "$dir/index" ]; then
		device=/dev/nullb$(cat "$dir/index")
	fi
	[ -b "$device" ] || device=/dev/$1
}

set_up_targets()
{
	modprobe null_blk nr_devices=0
	mountpoint -q /sys/kernel/config ||
		mount -t configfs none /sys/kernel/config
	null_device bench-block 0 0
	block=$device
	null_device bench-slow 2 10000
	slow=$device
	null_device bench-xfs 0 0
	modprobe brd rd_nr=1 rd_size=524288
	modprobe xfs
	mkfs.xfs -q -f -d rtinherit=1 -m reflink=0,rmapbt=0 \
		-r rtdev="$device" /dev/ram0
	dir=$(mktemp -d)
	mount -t xfs -o rtdev="$device" /dev/ram0 "$dir"
	trap 'umount "$dir"' EXIT
}

target_path()
{
	case $1 in
	block) echo "$block" ;;
	slow) echo "$slow" ;;
	xfs) echo "$dir/image" ;;
	*) say "no target $1"; return 1 ;;
	esac
}

reserve_huge_pages()
{
	local mib=0

	case " $MEMORY " in
	*" hugetlb "* | *" hugetlbfs "*) mib=$((SIZE > 1024 ? TOUCHED : SIZE)) ;;
	esac
	case " $CASES " in
	*" untouched"*) mib=$((mib < TOUCHED ? TOUCHED : mib)) ;;
	esac
	echo $((mib / 2)) >/proc/sys/vm/nr_hugepages
	[ "$(cat /proc/sys/vm/nr_hugepages)" -ge $((mib / 2)) ] ||
		say "no room for $mib MiB of huge pages"
}

# Sampled by a timer: under icount every so many instructions.
with_perf()
{
	local name=$1 pipes status=0

	shift
	pipes=$(mktemp -d)
	mkfifo "$pipes/control" "$pipes/ack"
	echo 0 >/proc/sys/kernel/perf_cpu_time_max_percent
	echo 1000000 >/proc/sys/kernel/perf_event_max_sample_rate
	perf record -q -a -g -e cpu-clock -c "${PERF_PERIOD:-10000}" -D -1 \
		--control "fifo:$pipes/control,$pipes/ack" \
		-o "$pipes/data" -- \
		"$@" --rounds "${PERF_ROUNDS:-20}" \
		--perf "$pipes/control,$pipes/ack" \
		>"$pipes/result" 2>"$pipes/errors" || status=$?
	if [ $status -eq 0 ]; then
		{
			cat "$pipes/result"
			perf report -i "$pipes/data" --stdio --no-children \
				-g none --sort dso,symbol --percent-limit 0.2
			echo "# With what they call:"
			perf report -i "$pipes/data" --stdio --children \
				-g none --sort symbol --percent-limit 1
		} 2>/dev/null | grep -v '^$' >"$out/perf-$name.txt"
	else
		cat "$pipes/errors" >&2
	fi
	rm -rf "$pipes"
	return $status
}

# one CASE[+bridge][+fresh] MEMORY TARGET ENGINE
one()
{
	local case=$1 memory=$2 target=$3 engine=$4 size=$SIZE bridge=0 path
	local more=()

	path=$(target_path "$target") || return 1
	case $case+ in *+bridge+*) bridge=$BRIDGE ;; esac
	case $case+ in *+fresh+*) more+=(--fresh) ;; esac
	case $case in
	untouched*)
		size=${UNTOUCHED_SIZE:-16384}
		# Registering touches everything: there is nothing to compare.
		[ "$engine" != uring ] || engine=uring-plain
		;;
	esac
	[ "$target" != block ] || case $case+ in *+fresh+*) return 0 ;; esac
	set -- "$bench" --case "${case%%+*}" --memory "$memory" \
		--target "$path" --target-name "$target" --engine "$engine" \
		--size "$size" --window "$WINDOW" --max-extent "$MAX_EXTENT" \
		--bridge "$bridge" --touched "$TOUCHED" "${more[@]}"
	"$@" --rounds "$ROUNDS" >>"$out/results.jsonl" || return 1
	[ -z "$PERF" ] || with_perf "$case-$memory-$target-$engine" "$@"
}

set_up_targets
reserve_huge_pages
status=0
for case in $CASES; do
	for memory in $MEMORY; do
		for target in $TARGETS; do
			for engine in $ENGINES; do
				one "$case" "$memory" "$target" "$engine" || {
					say "failed: $case $memory $target $engine"
					status=1
				}
			done
		done
	done
done
exit $status
