#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Usage: bench-smoke.sh [KERNEL]
#
# Proves that the experiments run and that their figures say what they claim:
# every engine saves or loads what the case says, time counts instructions, the report
# gets made. How fast anything is, is no test's business. The module and
# user/bench are built. TAP comes out.
set -u
here=$(dirname "$(readlink -f "$0")")
project=$(readlink -f "$here/..")
build=$project/build
out=$build/bench-smoke
n=0
failed=0

# check NAME COMMAND...
check()
{
	local name=$1
	shift
	n=$((n + 1))
	if "$@" >"$out/check" 2>&1; then
		echo "ok $n $name"
	else
		echo "not ok $n $name"
		sed 's/^/# /' "$out/check"
		failed=1
	fi
}

# holds FILTER: true for every result, and there are results
# shellcheck disable=SC2317 # called through check
holds()
{
	jq -c ".[] | select(($1) | not)" "$out/results.json"
	jq -e "length > 0 and all(.[]; $1)" "$out/results.json" >/dev/null
}

echo "TAP version 13"
mkdir -p "$out"
# A choice of bridges takes a little more than the 16 MiB of a chunk.
export KERNEL=${1:-6.1} SIZE=32 ROUNDS=1 MEMORY=thp
export CASES="full zero scatter25+bridge scatter25+auto full+fresh load-full"
CASES+=" load-scattered+used lazy"
check "all cases run" "$project/user/bench/run" "$build" "$out"
# Of seven cases, holes are for files only, three engines load and one makes the
# memory for the case that has none, and raw bios are for two cases on the device. lazy is five of its own, of which two engines do
# three, three one and one the last.
check "nothing is left out" jq -e '
	([.[] | "\(.case) \(.bridge) \(.image) \(.target) \(.engine) \(.around)"] |
	 unique | length) == 62 and length == 62' "$out/results.json"
check "time counts instructions" holds '.unit == "instructions"'
check "the pages of the case are dirty" holds '
	.pages == (if .case == "scatter25" or .case == "load-scattered" or
		.case == "lazy-scattered" or .case == "lazy-sparse" then 2048
		else 8192 end)'
check "what is not zero is written or read" holds '
	if .engine == "populate" then .written == .pages and .bytes == 0
	elif .case == "zero" then .written == 0 and .zero == .pages and .bytes == 0
	elif .case == "load-scattered" then
		.written == .pages and .zero == 6144 and .bytes == .written * 4096
	elif .case == "lazy-scattered" and .engine == "lazy" then
		.written == .pages and .ios <= .pages / 64
	else .written == .pages and .zero == 0 and
		.bytes == (.written + .bridged) * 4096 end'
check "bridges join what they can" holds '
	if .bridge == "auto" then .bridge_at_end >= 3 and .ios < .pages / 2
	elif .bridge > 0 then .bridged == (.pages - .ios) * 3
	else .bridged == 0 end'
# A message, a read, and placing the page; before that a wait, which one thread
# is spared when the next fault is there as soon as it has served the last.
check "every touch is a fault, and takes what is around" holds '
	if .case != "lazy-faults" then true
	elif .around > 4096 then .faults < .pages / 8
	else .faults >= .pages and .calls_per_page >=
		(if .engine == "lazy-1" then 3 else 4 end) end'
# Both woken for each fault, they take 1.7 times as much as one.
# shellcheck disable=SC2016 # the variables are jq's
check "a second thread for faults hardly costs" jq -e '
	def cost($e): .[] | select(.case == "lazy-faults" and
				   .around == 4096 and .engine == $e) |
		.insn_per_page;
	cost("lazy") < 1.2 * cost("lazy-1")' "$out/results.json"
check "streaming takes few system calls" holds '
	if .engine == "lazy" and (.case == "lazy-full" or .case == "lazy-sparse")
	then .calls_per_page < 0.1
	elif .engine == "copy" then .calls_per_page >= 2
	else true end'
check "no I/O went through the page cache" holds '.stats_flags == 0'
check "the parts of a job add up" holds '.in_ns + .pass_ns + .out_ns == .job_ns'
check "the report has a plot of each case" test \
	"$(grep -o '<svg' "$out/report.html" 2>/dev/null | wc -l)" -ge 4
echo "1..$n"
exit $failed
