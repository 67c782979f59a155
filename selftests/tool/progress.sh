#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that a progress bar is there on a terminal and nowhere else, that it
# fits the terminal, and that nothing of it is left at the end.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

mem=$S/mem
seq -f 'progress %.0f' 1 99999999 | head -c 64M >"$mem"
slow="--window 1 --max-extent 4K --engine pwrite"

# on_terminal TERM COLUMNS COMMAND: what the terminal got is in $T/out
on_terminal()
{
	ran="TERM=$1, $2 columns: $3" status=0
	TERM=$1 script -qec "stty cols $2; $3" /dev/null >"$T/out" \
		2>"$T/err" </dev/null || status=$?
}

# Each drawing of the bar on a line of its own
drawings()
{
	tr '\r' '\n' <"$T/out" | sed 's/\x1b\[K//' | grep -E "^$1 +[0-9]+%"
}

# fits COLUMNS VERB
fits()
{
	local widest

	widest=$(drawings "$2" | awk '{ if (length > n) n = length } END { print n + 0 }')
	[ "$widest" -gt 0 ] && [ "$widest" -lt "$1" ]
}

# After the last drawing the line is erased, and what follows is plain.
erased()
{
	tr -d '\n' <"$T/out" | grep -qE $'\r\x1b\\[K[^\x1b]*'"$1"$'\r*$'
}

summary='1 region saved: .* s'
for columns in 80 132 40 20; do
	rm -f "$T/image"
	on_terminal xterm $columns "$TOOL save $slow --region ram=$mem $T/image"
	[ "$status" -eq 0 ] && fits $columns saving
	result $? "save: a bar that fits $columns columns"
	erased "$summary"
	result $? "save: the bar is gone at the end, $columns columns"
done
on_terminal xterm 100 "$TOOL save $slow --region ram=$mem $T/image"
drawings saving | grep -qE '^saving +[0-9]+% \[#*-*\]  [0-9]+/16384 pages  [0-9.]+ [KMG]iB  [0-9.]+ [KMG]iB/s  0:[0-9][0-9] left$'
result $? "save: pages, size, rate and time left"
drawings saving | sed 's/.* \([0-9]*\)%.*/\1/' | sort -n -c 2>/dev/null
result $? "save: the bar never goes back"
on_terminal xterm 80 "$TOOL verify $T/image"
[ "$status" -eq 0 ] && fits 80 verifying && erased '1 block good: .* s'
result $? "verify: a bar"
on_terminal xterm 80 "$TOOL restore $slow --region ram=$S/r $T/image"
[ "$status" -eq 0 ] && fits 80 restoring && erased '1 block restored: .* s'
result $? "restore: a bar"
on_terminal xterm 80 "$TOOL save $slow --region ram=$mem $T/image >/dev/null"
fits 80 saving
result $? "a bar also when stdout goes elsewhere"

for term in dumb ''; do
	on_terminal "$term" 80 "$TOOL save $slow --region ram=$mem $T/image"
	[ "$status" -eq 0 ] && ! drawings saving >/dev/null &&
		! grep -q $'\x1b' "$T/out" && grep -q "$summary" "$T/out"
	result $? "no bar when TERM is '$term'"
done
on_terminal xterm 80 "$TOOL save $slow --region ram=$mem $T/image 2>$T/piped"
[ ! -s "$T/piped" ] && ! grep -q $'\x1b' "$T/out"
result $? "no bar when stderr is a file"
TERM=xterm run save --engine pwrite --region "ram=$mem" "$T/image"
went_well && ! grep -q $'[\x1b\r]' "$T/out" && [ "$(wc -l <"$T/out")" -eq 1 ]
result $? "no bar without a terminal"

# What is said stands on a line of its own, behind the bar's end.
on_terminal xterm 80 "timeout --foreground -s INT 0.4 $TOOL save $slow --region ram=$mem $T/image2"
tr -d '\n' <"$T/out" | grep -qE $'\r\x1b\\[Kmapped-ram: interrupted[^\x1b]*$'
result $? "an error erases the bar"

tap_end
