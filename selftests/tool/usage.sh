#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that every wrong command line is refused with status 2 and one line
# that says what is wrong and where help is, before any file is touched, and
# that help and version come out.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

memory "$T/mem" 1024 usage
image=$T/image

# refused PATTERN ARGUMENT...
refused()
{
	local pattern=$1

	shift
	run "$@"
	failed_with 2 "$pattern.*; try 'mapped-ram.*--help'$" && [ ! -e "$image" ]
	result $? "refused: ${ran//$T\//}"
}

refused 'command is missing'
refused "unknown command 'sav'" sav
refused "unknown option '--foo'" --foo

for command in save restore info verify extract diff; do
	refused "image is missing" $command
	refused "image is missing" $command ''
	refused "unknown option '--foo'" $command --foo "$image"
	refused "unknown option '-x'" $command -x "$image"
	refused "unknown option '-x'" $command -xy "$image"
	refused "'--help' takes no value" $command --help=much "$image"
	run $command --help
	went_well && grep -q "^usage: mapped-ram $command" "$T/out"
	result $? "mapped-ram $command --help"
	cp "$T/out" "$T/long"
	run $command -h
	went_well && cmp -s "$T/out" "$T/long"
	result $? "mapped-ram $command -h is the same"
done

refused "no --target is given" bench
refused "no --target is given" bench --target ''
refused "unknown option '--foo'" bench --foo --target "$image"
refused "unexpected argument 'more'" bench --target "$image" more
refused "'--target' needs a value" bench --target
refused "'--keep' takes no value" bench --keep=1 --target "$image"
refused "unknown engine 'steam'" bench --engine steam --target "$image"
for value in 0 1 4096 1048577 -1M x '' 65T; do
	refused '--size wants' bench --size "$value" --target "$image"
done
for value in 0 -1 x 1001 ''; do
	refused '--rounds wants' bench --rounds "$value" --target "$image"
done
for value in -1 x 1K '' auto2 Auto 4294967295 4294967296; do
	refused '--bridge wants' bench --bridge "$value" --target "$image"
done
refused '--window wants' bench --window 0 --target "$image"
refused '--max-extent wants' bench --max-extent 1 --target "$image"
run bench --help
went_well && grep -q "^usage: mapped-ram bench" "$T/out"
result $? "mapped-ram bench --help"

for command in info verify; do
	refused "unexpected argument 'more'" $command "$image" more
	refused "'--json' takes no value" $command --json=yes "$image"
done

for command in extract diff; do
	refused "is missing" $command a
	refused "is missing" $command a ''
done
refused "the file is missing" extract a b
refused "unexpected argument 'd'" extract a b c d
refused "unexpected argument 'c'" diff a b c
refused "'--json' takes no value" diff --json=yes a b
for value in -1 +1 1x x '' 0x10 5E 99999999999999999999 17179869184G; do
	for command in info verify restore extract; do
		refused '--offset wants a number of bytes' $command \
			--offset "$value" "$image" b c
	done
	refused '--offset1 wants a number of bytes' diff --offset1 "$value" a b
	refused '--offset2 wants a number of bytes' diff --offset2 "$value" a b
done

for command in save restore; do
	refused "no --region" $command "$image"
	refused "unexpected argument 'more'" $command --region "a=$T/mem" "$image" more
	refused "'--region' needs a value" $command --region
	refused "wants NAME=PATH, not 'a'" $command --region a "$image"
	refused "wants NAME=PATH, not 'a='" $command --region a= "$image"
	refused "wants NAME=PATH, not '=/x'" $command --region =/x "$image"
	refused "region 'a' is named twice" $command --region "a=$T/mem" \
		--region "a=$T/other" "$image"
	refused 'longer than 255 bytes' $command \
		--region "$(printf '%0256d' 0)=$T/mem" "$image"
	refused "unknown engine 'steam'" $command --engine steam \
		--region "a=$T/mem" "$image"
	for value in 0 -1 +1 1x x '' 0x10 4294967296 99999999999999999999; do
		refused '--window wants' $command --window "$value" \
			--region "a=$T/mem" "$image"
	done
	for value in 0 -4096 4095 4097 1 4G 5T K 4KiB 4KB '' 17179869184G \
		18446744073709551616; do
		refused '--max-extent wants' $command --max-extent "$value" \
			--region "a=$T/mem" "$image"
	done
done

for value in -1 x 1K '' auto2 Auto 4294967295 4294967296; do
	refused '--bridge wants' save --bridge "$value" --region "a=$T/mem" "$image"
done
refused '--machine wants' save --machine '' --region "a=$T/mem" "$image"
refused '--machine wants' save --machine "$(printf '%0256d' 0)" \
	--region "a=$T/mem" "$image"
refused "'--force' takes no value" save --force=1 --region "a=$T/mem" "$image"
refused "is a --region and a --skip" restore --region "a=$T/mem" --skip a "$image"
refused "no --region is given, and no --qmp or --lazy" restore "$image"
refused "'--qmp' needs a value" restore --qmp
refused "no --region, no --skip" restore --qmp "$T/qmp" --skip a "$image"
refused "no --region, no --skip" restore --qmp "$T/qmp" --region "a=$T/mem" "$image"
refused "wants --qmp" restore --stop --region "a=$T/mem" "$image"
refused "wants --qmp or --lazy" restore --json --region "a=$T/mem" "$image"
refused "wants --qmp" restore --stop --lazy "$T/socket" "$image"
refused "exclude each other" restore --qmp "$T/qmp" --lazy "$T/socket" "$image"
refused "'--lazy' needs a value" restore --lazy
refused "no --region, no --skip" restore --lazy "$T/socket" --skip a "$image"
refused "no --engine and no --window" restore --lazy "$T/socket" --engine uring "$image"
refused "no --engine and no --window" restore --lazy "$T/socket" --window 4 "$image"
for option in --record=x --working-set=x --fault-around=64K; do
	refused "want --lazy" restore "$option" --region "a=$T/mem" "$image"
	refused "want --lazy" restore "$option" --qmp "$T/qmp" "$image"
done
for value in 0 2 4095 4097 -1 x '' 65M 5T; do
	refused "--fault-around wants 1" restore --lazy "$T/socket" \
		--fault-around "$value" "$image"
done
refused "'--stop' takes no value" restore --stop=1 --qmp "$T/qmp" "$image"
refused "unknown option '--force'" restore --force --region "a=$T/mem" "$image"

run --version
went_well && grep -qE '^mapped-ram [0-9]+\.[0-9]+\.[0-9]+$' "$T/out"
result $? "mapped-ram --version"
run --help
went_well && [ "$(grep -cE '^  (save|restore|info|verify|extract|diff|bench) ' "$T/out")" -eq 7 ]
result $? "mapped-ram --help names all commands"

if [ -w /dev/full ]; then
	ran="mapped-ram --help >/dev/full" status=0
	: >"$T/out"
	"$TOOL" --help >/dev/full 2>"$T/err" || status=$?
	failed_with 1 'cannot write the output'
	result $? "output that cannot be written is a failure"
fi

# Control characters in a name must not reach the terminal.
refused "unknown command 'a\\?\\[31mb'" "$(printf 'a\033[31mb')"

tap_end
