#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that a job that ends early leaves nothing half done: a signal in the
# middle, a disk that is full, a limit on file sizes, memory that goes away.
# An image that was made is gone, one that was there is empty, and so no loader
# takes it for a snapshot; the next save needs no --force.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

# So much memory and so small I/Os that a pass takes long enough to end it.
slow=(--window 1 --max-extent 4K)
big=$S/big
seq -f 'page after page %.0f' 1 99999999 | head -c 96M >"$big"
memory "$S/mem" 1024 trouble

# start NAME ARGUMENT...: in the background, as from a shell with job control,
# where a background job does not ignore SIGINT. Waits until the pass runs.
start()
{
	local file=$1 tries=0

	shift
	ran="mapped-ram $*" status=0
	: >"$T/out"
	env --default-signal=INT,TERM,HUP "$TOOL" "$@" >"$T/out" 2>"$T/err" \
		</dev/null &
	pid=$!
	while kill -0 $pid 2>/dev/null && [ $tries -lt 1000 ]; do
		[ "$(stat -c %b "$file" 2>/dev/null || echo 0)" -lt 2000 ] ||
			[ "$(head -c 4 "$file" | tr -d '\0')" = QEVM ] ||
			return 0
		tries=$((tries + 1))
		sleep 0.01
	done
}

# bash's own line about the death of a job is not the tool's
finish()
{
	wait $pid 2>/dev/null || status=$?
}

# Job control: a job that has come to its end meanwhile is none to complain of.
stop_and_go()
{
	local _

	for _ in 1 2 3; do
		kill -s STOP $pid 2>/dev/null
		sleep 0.1
		kill -s CONT $pid 2>/dev/null
		sleep 0.1
	done
}

for engine in $(engines); do
	for signal in INT TERM HUP; do
		rm -f "$T/image"
		start "$T/image" save --engine "$engine" "${slow[@]}" \
			--region "ram=$big" "$T/image"
		kill -s $signal $pid
		finish
		failed_with $((128 + $(kill -l $signal))) 'interrupted; .* holds no image' &&
			[ ! -e "$T/image" ]
		result $? "SIG$signal: the new image is gone: $engine"
	done

	run save --engine "$engine" --region "ram=$S/mem" "$T/old"
	start "$T/old" save --engine "$engine" "${slow[@]}" \
		--region "ram=$big" "$T/old"
	kill -s INT $pid
	finish
	failed_with 130 'interrupted; .* holds no image' && [ ! -s "$T/old" ] &&
		[ -e "$T/old" ]
	result $? "SIGINT: an image that was there is empty: $engine"
	works "and can be saved to without --force: $engine" \
		save --engine "$engine" --region "ram=$S/mem" "$T/old"

	# Nobody may shorten it any more.
	start "$T/old" save --engine "$engine" "${slow[@]}" \
		--region "ram=$big" "$T/old"
	if chattr +a "$T/old" 2>/dev/null; then
		kill -s INT $pid
		finish
		chattr -a "$T/old"
		failed_with 130 'holds no image; it cannot be emptied: ' &&
			[ -s "$T/old" ]
		result $? "SIGINT: an image that cannot be emptied: $engine"
	else
		kill -s INT $pid
		finish
		skip "an image that cannot be emptied" "no chattr +a here"
	fi

	start "$T/image" save --engine "$engine" "${slow[@]}" \
		--region "ram=$big" "$T/image"
	kill -s STOP $pid
	sleep 0.2
	kill -s CONT $pid
	sleep 0.2
	kill -s KILL $pid
	finish
	[ "$status" -eq 137 ] && [ "$(head -c 4096 "$T/image" |
		tr -d '\0' | wc -c)" -eq 0 ]
	result $? "SIGKILL: the image has no magic: $engine"
	fails 1 'not committed|commit' "and info says so: $engine" info "$T/image"
	works "and it can be saved to without --force: $engine" \
		save --engine "$engine" --region "ram=$S/mem" "$T/image"
	rm -f "$T/image"

	# A stopped and continued job goes on. It has to come to its end here, so
	# it is not made quite as slow.
	start "$T/image" save --engine "$engine" --window 1 --max-extent 16K \
		--region "ram=$big" "$T/image"
	stop_and_go
	finish
	went_well && grep -q ' 24576 pages written, 0 zero' "$T/out"
	result $? "SIGSTOP and SIGCONT change nothing: $engine"

	start "$S/r" restore --engine "$engine" --window 1 --max-extent 16K \
		--region "ram=$S/r" "$T/image"
	stop_and_go
	finish
	went_well && grep -q ' 24576 pages read, 0 zero' "$T/out" &&
		cmp "$big" "$S/r" >>"$T/out"
	result $? "SIGSTOP and SIGCONT change nothing in a restore: $engine"
	rm -f "$S/r"

	# Restore: what it made is gone.
	start "$S/r" restore --engine "$engine" "${slow[@]}" \
		--region "ram=$S/r" "$T/image"
	kill -s INT $pid
	finish
	failed_with 130 'interrupted' && [ ! -e "$S/r" ]
	result $? "SIGINT in a restore: the new file is gone: $engine"
	truncate -s 96M "$S/r"
	start "$S/r" restore --engine "$engine" "${slow[@]}" \
		--region "ram=$S/r" "$T/image"
	kill -s INT $pid
	finish
	failed_with 130 'interrupted' && [ "$(stat -c %s "$S/r")" -eq 100663296 ]
	result $? "SIGINT in a restore: a file that was there stays: $engine"
	rm -f "$S/r"

	# A limit that a file grows over, and one that is met at once
	for limit in 2048 0; do
		rm -f "$T/image"
		ran="ulimit -f $limit; save" status=0
		(
			ulimit -f $limit
			"$TOOL" save --engine "$engine" --region "ram=$S/mem" \
				"$T/image" 2>&1 >/dev/null
		) </dev/null | cat >"$T/err"
		status=${PIPESTATUS[0]}
		: >"$T/out"
		failed_with 1 'RLIMIT_FSIZE allows' && [ ! -e "$T/image" ]
		result $? "RLIMIT_FSIZE of $limit KiB: $engine"
	done
done

# Two jobs on one image
rm -f "$T/image"
"$TOOL" save --region "ram=$big" "$T/image" >/dev/null
start "$T/image2" save --engine pwrite "${slow[@]}" --region "ram=$big" "$T/image2"
first=$pid
for job in "save --force --region ram=$S/mem" "verify" "restore --region ram=$S/r"; do
	# shellcheck disable=SC2086 # a command and its arguments
	fails 1 'in use' "${job%% *} an image that is being saved" $job "$T/image2"
done
kill -0 $first
result $? "the save was still running"
pid=$first status=0
finish
[ "$status" -eq 0 ] && run verify "$T/image2" && went_well &&
	grep -q ' 24576 pages read' "$T/out"
result $? "and it ends well"
start "$S/r" restore --engine pwrite "${slow[@]}" --region "ram=$S/r" "$T/image2"
first=$pid
fails 1 'in use' "save over an image that is being restored" \
	save --region "ram=$S/mem" "$T/image2"
works "verify an image that is being restored" verify "$T/image2"
pid=$first status=0
finish
[ "$status" -eq 0 ] && cmp "$big" "$S/r" >"$T/out"
result $? "and the restore ends well"
rm -f "$S/r" "$T/image2"

# Closed and broken outputs
cp "$S/mem" "$S/mem2"
ran="save >&- 2>&- <&-" status=0
"$TOOL" save --region "ram=$S/mem2" "$T/image2" >&- 2>&- <&- || status=$?
[ "$status" -eq 0 ] && cmp "$S/mem" "$S/mem2" && run verify "$T/image2" && went_well
result $? "save without stdin, stdout and stderr: nothing ends up in a file"
ran="restore >&- 2>&- <&-" status=0
"$TOOL" restore --region "ram=$S/r" "$T/image2" >&- 2>&- <&- || status=$?
[ "$status" -eq 0 ] && cmp "$S/mem" "$S/r"
result $? "restore without stdin, stdout and stderr: nothing ends up in memory"
rm -f "$S/r" "$T/image2"
ran="save over the size limit 2>&1 | :" status=0
(
	sleep 0.5
	ulimit -f 100
	"$TOOL" save --region "ram=$S/mem" "$T/image2" 2>&1
	echo $? >"$T/status"
) | :
while [ ! -s "$T/status" ]; do
	sleep 0.1
done
[ "$(cat "$T/status")" -eq 1 ] && [ ! -e "$T/image2" ]
result $? "an error that nobody reads: the new image is gone all the same"

# Ctrl-C as people press it; a suite that runs in the background ignores it
rm -f "$T/image" "$T/typed"
ran="script: save, Ctrl-C"
(
	tries=0
	while [ "$(stat -c %b "$T/image" 2>/dev/null || echo 0)" -lt 2000 ] &&
		[ $tries -lt 1000 ]; do
		tries=$((tries + 1))
		sleep 0.01
	done
	printf '\003'
	sleep 2
) | TERM=xterm script -qec "env --default-signal=INT '$TOOL' save ${slow[*]} --region ram=$big $T/image; echo status \$?" \
	/dev/null >"$T/out" 2>"$T/err"
status=$?
grep -q 'interrupted; .* holds no image' "$T/out" && [ ! -e "$T/image" ]
result $? "Ctrl-C on a terminal"

# Memory that is cut short while it is saved, and before it is read
for engine in $(engines); do
	rm -f "$T/image"
	cp "$big" "$S/cut"
	start "$T/image" save --engine "$engine" "${slow[@]}" \
		--region "ram=$S/cut" "$T/image"
	truncate -s 1M "$S/cut"
	finish
	failed_with 1 "'ram'.*offset [0-9]+|'ram'.*page [0-9]+" && [ ! -e "$T/image" ]
	result $? "memory that is cut short: $engine"
	"$TOOL" save --region "ram=$S/mem" "$T/old" >/dev/null
	cp "$big" "$S/cut"
	start "$T/old" save --engine "$engine" "${slow[@]}" \
		--region "ram=$S/cut" "$T/old"
	truncate -s 1M "$S/cut"
	finish
	failed_with 1 "'ram'.*offset [0-9]+|'ram'.*page [0-9]+" &&
		[ -e "$T/old" ] && [ ! -s "$T/old" ]
	result $? "memory that is cut short, over an image: $engine"
done
rm -f "$S/cut"

# Full disks: small file systems, as root only
full_of_images()
{
	local name=$1 engine

	for engine in $(engines); do
		fails 1 'No space left' "$name is full: $engine" \
			save --engine "$engine" --region "ram=$big" "$T/full/image"
		[ ! -e "$T/full/image" ]
		result $? "$name: nothing is left: $engine"
		works "$name: a small image fits: $engine" save \
			--engine "$engine" --region "ram=$S/mem" "$T/full/image"
		fails 1 'No space left' "$name is full, over an image: $engine" \
			save --engine "$engine" --region "ram=$big" "$T/full/image"
		[ -e "$T/full/image" ] && {
			[ ! -s "$T/full/image" ] ||
				"$TOOL" verify "$T/full/image" >"$T/out" 2>&1
		}
		result $? "$name: the old image is empty, or as it was: $engine"
		works "$name: an image fits again: $engine" save --engine "$engine" \
			--region "ram=$S/mem" "$T/full/image"
		rm -f "$T/full/image"
	done
}

full_of_memory()
{
	local name=$1 engine

	"$TOOL" save --force --region "ram=$big" "$T/image" >/dev/null
	for engine in $(engines); do
		fails 1 "'ram'" "$name is full, restoring: $engine" restore \
			--engine "$engine" --region "ram=$T/full/mem" "$T/image"
		[ ! -e "$T/full/mem" ]
		result $? "$name: nothing is left of the restore: $engine"
	done
}

mkdir "$T/full"
tap_cleanup+=("unmount $T/full")
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=32M none "$T/full"; then
	# Older kernels have no direct I/O there; ext4 will do for those.
	! can_direct "$T/full" || full_of_images tmpfs
	full_of_memory tmpfs
	unmount "$T/full"
else
	skip "a full tmpfs" "mounting needs root"
fi
disk=${MRAM_TEST_BLKDEV:-$T/disk}
[ -b "$disk" ] || truncate -s 48M "$disk"
if [ "$(id -u)" -eq 0 ] && mkfs.ext4 -q -F "$disk" 48M &&
	mount -o "rw$([ -b "$disk" ] || echo ,loop)" "$disk" "$T/full"; then
	full_of_images ext4
	full_of_memory ext4
	unmount "$T/full"
else
	skip "a full ext4" "a loop device needs root and the driver"
fi

tap_end
