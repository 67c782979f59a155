#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Usage: in-machine.sh BUILD OUT
#
# Inside the test machine, with the module loaded: sets up the targets and runs
# mram-bench for every case, kind of memory, target and engine. The results are
# appended to OUT/results.jsonl, one JSON object a line. user/bench/run starts
# this and says what the variables mean.
set -eu
here=$(dirname "$(readlink -f "$0")")
. "$here/targets.sh"

bench=$1/user/mram-bench
floor=$1/floor-${MAPPED_RAM_VM:-$(uname -r)}/mram_floor.ko
out=$2
guest_engines=${ENGINES:-module uring}
guest_engines=${guest_engines//module-pin/}
guest_engines=${guest_engines//bio/}
guest_engines=${guest_engines//populate/}
: "${CASES:=all}" "${ENGINES:=module module-pin uring pwrite populate bio}"
: "${SIZE:=256}" "${WINDOW:=32}" "${MAX_EXTENT:=1024}" "${BRIDGE:=16}" "${ROUNDS:=3}"
: "${TOUCHED:=64}" "${UNTOUCHED_SIZE:=16384}" "${PERF:=}"
: "${FLAT_SIZES:=64 256 1024 4096 8192}" "${START_SIZES:=64 4096}"
all="full zero scatter25 scatter25+bridge scatter25+auto random1 random1+bridge"
all="$all hot hot+bridge full+fresh scatter25+fresh untouched window flat"
all="$all threads qemu qemu-save load-full load-full+used"
all="$all load-full+mapped load-sparse load-sparse+used load-scattered"
all="$all load-scattered+used load-qemu"
all="$all lazy lazy-start cache"
PATH=$PATH:/usr/sbin:/sbin

say()
{
	echo "${0##*/}: $*" >&2
}

# want_huge_pages MIB
want_huge_pages()
{
	local file=/proc/sys/vm/nr_hugepages

	[ "$(cat $file)" -ge $(($1 / 2)) ] || echo $(($1 / 2)) >$file
	[ "$(cat $file)" -ge $(($1 / 2)) ] || say "no room for $1 MiB of huge pages"
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

# one TARGET MEMORY ENGINE[,ENGINE]... OPTION...: one run of mram-bench. What
# PERF samples is one engine at a time.
one()
{
	local target=$1 memory=$2 engines=$3 engine

	shift 3
	target_open "$target" || return 1
	case $memory in
	huge*) want_huge_pages "$huge" ;;
	esac
	set -- "$bench" --target "$TARGET" --target-name "$target" \
		--memory "$memory" --max-extent "$MAX_EXTENT" "$@"
	if [ -z "$PERF" ]; then
		"$@" --engine "$engines" --rounds "$ROUNDS" >>"$out/results.jsonl"
		return
	fi
	for engine in ${engines//,/ }; do
		set -- "$@" --engine "$engine"
		"$@" --rounds "$ROUNDS" >>"$out/results.jsonl" || return 1
		with_perf "$name-$memory-$target-$engine" "$@"
	done
}

# Raw bios need a device, and say something only where others do the same I/Os.
bio_fits()
{
	case $1 in block* | slow*) ;; *) return 1 ;; esac
	case $name in
	load-* | zero* | untouched | threads | *+auto*) return 1 ;;
	esac
	[ -c /dev/mram_floor ] || insmod "$floor"
}

# many TARGETS MEMORY ENGINES OPTION...: each of those with each of these
many()
{
	local target memory files=$1 kinds=$2 engines=$3 fit

	shift 3
	for target in $files; do
		fit=$engines
		case " $fit " in
		*" bio "*) bio_fits "$target" || fit=${fit//bio/} ;;
		esac
		# What loading into new memory cannot do without
		case $name in
		load-*+used | load-*+mapped) fit=${fit//populate/} ;;
		load-*) ;;
		*) fit=${fit//populate/} ;;
		esac
		[ -n "${fit// /}" ] || continue
		for memory in $kinds; do
			one "$target" "$memory" "${fit// /,}" "$@" || {
				say "failed: $name $target $memory $fit $*"
				status=1
			}
		done
	done
}

# How often a lock was not free at once, while threads save: a tracepoint of
# the kernel says so, with the stack. Every round counts, the first one too.
count_contention()
{
	local threads=$1 memory=$2 engine=$3 dir status=0 rounds=4

	target_open block || return 1
	dir=$(mktemp -d)
	mkfifo "$dir/control" "$dir/ack"
	mountpoint -q /sys/kernel/tracing ||
		mount -t tracefs none /sys/kernel/tracing
	perf record -q -a -g -e lock:contention_begin -D -1 \
		--control "fifo:$dir/control,$dir/ack" -o "$dir/data" -- \
		"$bench" --target "$TARGET" --target-name block \
		--engine "$engine" --memory "$memory" \
		--size "$((SIZE < 64 ? SIZE : 64))" \
		--window "$WINDOW" --max-extent 64 --threads "$threads" \
		--sweep contention --rounds $rounds \
		--perf "$dir/control,$dir/ack" \
		>"$dir/result" 2>"$dir/errors" || status=1
	if [ $status -eq 0 ]; then
		perf script -i "$dir/data" -F comm,event,sym 2>/dev/null |
			awk -v RS= '/contention_begin/ {
				all++
				if (/ mram_/)
					ours++
			}
			END { print all + 0, ours + 0 }' >"$dir/count"
		read -r all ours <"$dir/count"
		jq -c --arg cpus "$(nproc)" --arg all "$all" --arg ours "$ours" \
			--arg rounds $((rounds + 1)) '. + {
			cpus: ($cpus | tonumber),
			counted_pages: (.pages * ($rounds | tonumber)),
			contended: ($all | tonumber),
			contended_in_module: ($ours | tonumber)
		}' "$dir/result" >>"$out/results.jsonl"
	else
		cat "$dir/errors" >&2
	fi
	rm -rf "$dir"
	return $status
}

# with_qemu TARGET MODE...
with_qemu()
{
	local target=$1

	target_open "$target" || return 1
	shift
	"$here/qemu" "$QEMU_ROOT" "$TARGET" "$target" "$SIZE" "$@" \
		>>"$out/results.jsonl"
}

save_guest()
{
	target_open "$1" || return 1
	# shellcheck disable=SC2086 # one engine a word
	PERF=${PERF:+$out} "$here/qemu-save" "${bench%/*}/mapped-ram" \
		"$QEMU_ROOT" "$QEMU_GUEST" "$TARGET" "$1" "$SIZE" "$ROUNDS" \
		$guest_engines \
		>>"$out/results.jsonl"
}

# other_ways MEMORY: to stream, but for UFFDIO_COPY, as far as this kernel has
# them. UFFDIO_MOVE came with 6.8.
other_ways()
{
	case $1 in
	memfd) printf " minor" ;;
	anon)
		! grep -q ' move_pages_huge_pmd$' /proc/kallsyms ||
			printf " move move-copied"
		;;
	esac
}

# The variables of the caller, or what suits the case
run_case()
{
	local name=$1 options=() files=${TARGETS:-xfs block} size window more
	local memory engine
	local kinds=${MEMORY:-anon thp hugetlb} huge=$SIZE

	case $name+ in *+bridge+*) options+=(--bridge "$BRIDGE") ;; esac
	case $name+ in *+auto+*) options+=(--bridge auto) ;; esac
	case $name+ in *+fresh+*)
		options+=(--fresh)
		files=${files//block/}
		;;
	esac
	case ${name%%+*} in
	full | zero | scatter25 | random1 | hot)
		many "$files" "$kinds" "$ENGINES" --case "${name%%+*}" \
			--size "$SIZE" --window "$WINDOW" "${options[@]}"
		;;
	untouched)
		# Registering memory touches it: there is nothing to compare.
		huge=$TOUCHED
		more="$ENGINES "
		more=${more/uring /uring-plain }
		options=(--case untouched --size "$UNTOUCHED_SIZE"
			--touched "$TOUCHED" --window "$WINDOW")
		many "$files" "${MEMORY:-anon thp memfd hugetlb}" "${more% }" \
			"${options[@]}"
		# Without the module, all of hugetlbfs is read through the file.
		[ -n "${MEMORY:-}" ] || many "$files" hugetlbfs \
			"module module-pin" "${options[@]}"
		;;
	window)
		for window in ${WINDOWS:-1 2 4 8 16 32 64}; do
			more=$ENGINES
			[ "$window" -eq 1 ] || more=${more/pwrite/}
			many "${TARGETS:-slow slow-1ms}" "${MEMORY:-thp}" \
				"${more% }" --sweep window --case scatter25 \
				--size "$((SIZE < 64 ? SIZE : 64))" \
				--window "$window"
		done
		;;
	flat)
		for size in $FLAT_SIZES; do
			many "${TARGETS:-block}" "${MEMORY:-thp}" "$ENGINES" \
				--sweep flat --case full --size "$size" \
				--window "$WINDOW"
		done
		;;
	threads)
		for more in 1 2 4 8; do
			many "${TARGETS:-block}" "${MEMORY:-thp anon}" \
				"module module-pin" --case full --size "$SIZE" \
				--window "$WINDOW" --sweep threads \
				--threads "$more"
			many "${TARGETS:-block}" "${MEMORY:-thp anon}" \
				"module module-pin" --case scatter25 \
				--size "$((SIZE < 64 ? SIZE : 64))" \
				--window "$WINDOW" --sweep threads \
				--threads "$more"
		done
		;;
	contention)
		for more in 1 2 4; do
			for memory in ${MEMORY:-thp anon}; do
				for engine in module module-pin; do
					count_contention "$more" "$memory" \
						"$engine" || status=1
				done
			done
		done
		;;
	lazy-beside)
		for memory in ${MEMORY:-anon}; do
			many "${TARGETS:-xfs}" "$memory" \
				"lazy copy$(other_ways "$memory")" \
				--case lazy-scattered --beside --sweep beside \
				--size "$((SIZE < 64 ? SIZE : 64))"
		done
		;;
	qemu)
		for files in ${TARGETS:-xfs}; do
			# shellcheck disable=SC2086 # one mode a word
			with_qemu "$files" ${QEMU_MODES:-plain multifd direct} || {
				say "failed: qemu $files"
				status=1
			}
		done
		;;
	qemu-save)
		for files in ${TARGETS:-xfs-64k}; do
			save_guest "$files" || {
				say "failed: qemu-save $files"
				status=1
			}
		done
		;;
	load-qemu)
		# QEMU wants to read what it wrote: the others with it.
		options+=(--case load-full --size "$SIZE" --window "$WINDOW")
		more="module uring pread"
		many xfs-ram "${MEMORY:-thp}" "$more populate" "${options[@]}"
		many xfs-ram "${MEMORY:-thp}" "$more" "${options[@]}" --used
		with_qemu xfs-ram load-plain load-multifd || {
			say "failed: load with qemu"
			status=1
		}
		;;
	lazy)
		for more in full sparse scattered; do
			for memory in ${MEMORY:-anon memfd}; do
				many "${TARGETS:-xfs}" "$memory" \
					"lazy copy$(other_ways "$memory")" \
					--case "lazy-$more" --size "$SIZE"
			done
		done
		# One thread touches every page, nothing is streamed.
		many "${TARGETS:-xfs}" "${MEMORY:-anon memfd}" "lazy lazy-1 copy" \
			--case lazy-faults --size "$SIZE" --around 4
		many "${TARGETS:-xfs}" "${MEMORY:-anon memfd}" lazy \
			--case lazy-faults --size "$SIZE" --around 64
		;;
	cache)
		for more in cold warm; do
			many "${TARGETS:-xfs}" "${MEMORY:-anon}" \
				"module uring pread buffered lazy" --sweep cache \
				--case load-full --size "$SIZE" \
				--window "$WINDOW" --cache "$more"
		done
		;;
	lazy-start)
		target_open xfs-ram || status=1
		for more in $START_SIZES; do
			"$here/guest" "${bench%/*}/minivmm" "$TARGET" "$more" \
				>>"$out/results.jsonl" || {
				say "failed: lazy-start of $more MiB"
				status=1
			}
		done
		;;
	load-*)
		more=${ENGINES/module-pin/}
		case $name in
		*+used) options+=(--used) ;;
		*+mapped) options+=(--mapped) ;;
		esac
		many "$files" "${MEMORY:-anon thp memfd}" "${more/pwrite/pread}" \
			--case "${name%%+*}" --size "$SIZE" --window "$WINDOW" \
			"${options[@]}"
		;;
	*)
		say "no case is called $name"
		status=1
		;;
	esac
}

trap targets_close EXIT
if [ -n "$PERF" ]; then
	echo 1000000 >/proc/sys/kernel/perf_event_max_sample_rate
	echo 0 >/proc/sys/kernel/perf_cpu_time_max_percent
fi
status=0
[ "$CASES" != all ] || CASES=$all
for name in $CASES; do
	run_case "$name"
done
exit $status
