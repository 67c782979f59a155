#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Usage: in-machine.sh OUT
#
# Inside the test machine, with the module loaded: sets up the targets and runs
# mram-bench for every case, kind of memory, target and engine. The results are
# appended to OUT/results.jsonl, one JSON object a line. user/bench/run starts
# this and says what the variables mean.
set -eu
. "$(dirname "$(readlink -f "$0")")/targets.sh"

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

# with_perf NAME COMMAND...: sampled by a timer, which under icount is every so
# many instructions. Samples come late out of parts with interrupts off: they
# are then found where these are switched on again.
with_perf()
{
	local name=$1 pipes status=0

	shift
	pipes=$(mktemp -d)
	mkfifo "$pipes/control" "$pipes/ack"
	# Room for all samples of a job: perf is not to write them meanwhile.
	perf record -q -a -m 32M -e cpu-clock -c "${PERF_PERIOD:-10000}" -D -1 \
		--control "fifo:$pipes/control,$pipes/ack" -o "$pipes/data" -- \
		"$@" --rounds "${PERF_ROUNDS:-5}" \
		--perf "$pipes/control,$pipes/ack" \
		>"$pipes/result" 2>"$pipes/errors" || status=$?
	if [ $status -eq 0 ]; then
		perf report -i "$pipes/data" --stdio -F overhead,dso,symbol \
			-t '|' 2>/dev/null |
			awk -F '|' -v insn="$(jq .insn_per_page <<<"$(tail -n 1 \
				"$out/results.jsonl")")" '
			BEGIN { print "insn/page  share  where" }
			/^ *[0-9]/ {
				share = $1 + 0
				gsub(/ +/, " ")
				printf "%9.1f %5.1f%%  %s\n",
					insn * share / 100, share, $2 $3
			}' >"$out/perf-$name.txt"
	else
		cat "$pipes/errors" >&2
	fi
	rm -rf "$pipes"
	return $status
}

# one CASE[+bridge][+fresh] MEMORY TARGET ENGINE
one()
{
	local case=$1 memory=$2 target=$3 engine=$4 size=$SIZE bridge=0
	local more=()

	target_open "$target" || return 1
	case $case+ in *+bridge+*) bridge=$BRIDGE ;; esac
	case $case+ in *+fresh+*) more+=(--fresh) ;; esac
	case $case in
	untouched*)
		size=${UNTOUCHED_SIZE:-16384}
		# Registering touches everything: there is nothing to compare.
		[ "$engine" != uring ] || engine=uring-plain
		;;
	esac
	[ ! -b "$TARGET" ] || case $case+ in *+fresh+*) return 0 ;; esac
	set -- "$bench" --case "${case%%+*}" --memory "$memory" \
		--target "$TARGET" --target-name "$target" --engine "$engine" \
		--size "$size" --window "$WINDOW" --max-extent "$MAX_EXTENT" \
		--bridge "$bridge" --touched "$TOUCHED" "${more[@]}"
	"$@" --rounds "$ROUNDS" >>"$out/results.jsonl" || return 1
	[ -z "$PERF" ] || with_perf "$case-$memory-$target-$engine" "$@"
}

trap targets_close EXIT
reserve_huge_pages
if [ -n "$PERF" ]; then
	echo 1000000 >/proc/sys/kernel/perf_event_max_sample_rate
	echo 0 >/proc/sys/kernel/perf_cpu_time_max_percent
fi
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
