#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that the man pages are clean and say what the programs do: every
# option and every JSON key stands in mapped-ram(1), the prototypes in
# libmappedram(3) are those of the header, none is missing, and its example is
# a program that compiles.
. "$(dirname "$(readlink -f "$0")")/tap.sh"

project=$(readlink -f "$HERE/../..")
man=$project/Documentation/man
tool_page=$man/mapped-ram.1
lib_page=$man/libmappedram.3

for page in "$tool_page" "$lib_page"; do
	if ! command -v groff >/dev/null; then
		skip "${page##*/} is clean" "no groff"
		continue
	fi
	ran="groff ${page##*/}" status=0
	groff -mdoc -ww -Tutf8 "$page" >"$T/out" 2>"$T/err" || status=$?
	went_well && [ -s "$T/out" ]
	result $? "${page##*/} is clean"
done

for command in '' save restore info verify extract diff bench; do
	# shellcheck disable=SC2086 # no argument if there is no command
	run $command --help
	missing=
	mapfile -t options < <(grep -oE -e '--[a-z-]+' "$T/out" | sort -u)
	for option in "${options[@]}"; do
		grep -qE -e "Fl ([a-z-]+ , )*$option|Fl -?${option#-}|, ${option#-}" \
			"$tool_page" || missing+=" $option"
	done
	[ -z "$missing" ]
	result $? "the options of mapped-ram $command stand in the man page$missing"
done

memory "$S/mem" 1024 man
run save --region "ram=$S/mem" "$T/image"
run verify --json "$T/image"
went_well
result $? "JSON to compare with"
cp "$T/out" "$T/json"
fill "$S/mem" 5 1 other
run save --region "ram=$S/mem" "$T/image2"
run diff --json "$T/image" "$T/image2"
[ "$status" -eq 1 ] && grep -q '"first": 5' "$T/out"
result $? "more of it"
cat "$T/out" >>"$T/json"
run bench --json --target "$T/scratch" --size 1M --rounds 1 --engine pwrite
[ "$status" -eq 0 ] && grep -q '"cpu_nsec"' "$T/out"
result $? "what bench prints"
cat "$T/out" >>"$T/json"
missing=
for key in $(grep -oE '"[a-z_0-9]+":' "$T/json" | tr -d '":' | sort -u) \
	instance version data_offset; do
	grep -qE "^\.(It )?Li ([a-z_0-9]+ , )?$key( |\$)" "$tool_page" ||
		missing+=" $key"
done
[ -z "$missing" ]
result $? "the keys of the JSON stand in the man page$missing"

if ! command -v "${CC:-cc}" >/dev/null; then
	skip "libmappedram(3) and the header" "no compiler"
	tap_end
fi

compile()
{
	ran="${CC:-cc} $1" status=0
	"${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror -fsyntax-only \
		-I"$project/include" "$1" >"$T/out" 2>"$T/err" || status=$?
	went_well
}

# .Ft "type" and .Fn name "argument" ... become prototypes once more.
{
	echo '#include <mappedram.h>'
	sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/{
		s/^\.Ft "\{0,1\}\([^"]*\)"\{0,1\}$/\1/p
		/^\.Fn /{
			s/^\.Fn \([a-z_]*\) /\1(/
			s/" "/, /g
			s/"//g
			s/$/);/p
		}
	}' "$lib_page"
} >"$T/prototypes.c"
compile "$T/prototypes.c"
result $? "the prototypes of libmappedram(3) are those of the header"
grep -oE '\bmram_[a-z_]+\(' "$project/include/mappedram.h" | sort -u >"$T/want"
grep -oE '\bmram_[a-z_]+\(' "$T/prototypes.c" | sort -u >"$T/have"
grep -xvFf "$T/have" "$T/want" >"$T/out"
[ -s "$T/want" ] && [ ! -s "$T/out" ]
result $? "no call is missing in libmappedram(3)"

sed -n '/^\.Bd -literal$/,/^\.Ed$/p' "$lib_page" |
	sed '1d; $d; s/\\e/\\/g' >"$T/example.c"
[ -s "$T/example.c" ] && compile "$T/example.c"
result $? "the example of libmappedram(3) compiles"

tap_end
