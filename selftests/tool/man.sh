#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Proves that the man pages are clean and say what the programs do: every
# option and every JSON key stands in mapped-ram(1), each way to use a command
# takes the options of its line in the synopsis and of its --help, and no other,
# the prototypes in libmappedram(3) are those of the header, none is missing,
# and its example is a program that compiles.
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

# Of each way to use a command: which options the man page's synopsis has, which
# --help has, which the tool takes.
# in_synopsis COMMAND WAY
in_synopsis()
{
	sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$tool_page" |
		awk -v command="$1" -v way="$2" '
		/^\.Nm/ || /^\.Sh DESCRIPTION/ {
			if (is && (way == "" || options ~ (" " way " ")))
				print options
			is = 0; options = " "
		}
		/^\.Cm/ { is = $2 == command }
		{
			gsub(/\| -/, "Fl -")
			while (match($0, /Fl -[a-z0-9-]+/)) {
				name = "--" substr($0, RSTART + 4, RLENGTH - 4)
				if (options !~ (" " name " "))
					options = options name " "
				$0 = substr($0, RSTART + RLENGTH)
			}
		}'
}

# in_help COMMAND WAY: those that stand by themselves are of all ways
in_help()
{
	run "$1" --help
	awk -v way="$2" '
		/^with --/ {
			here = way != "" && $0 ~ ("^with " way "[:,]")
			other = 1
			if (here && split($0, parts, ", and without ") == 2)
				without = parts[2]
		}
		/^  --/ && (!other || here) { list = list " " $1 }
		/^  --/ { if (!other) first = first " " $1 }
		END {
			n = split(list, names, " ")
			for (i = 1; i <= n; i++)
				if (without !~ (names[i] "([ ,:]|$)"))
					printf " %s", names[i]
			print " " (way == "" ? "" : way)
		}' "$T/out"
}

declare -A value=([--region]="b=$T/none" [--skip]=c [--engine]=pwrite [--window]=1
	[--bridge]=1 [--max-extent]=4K [--machine]=pc [--qmp]=$T/none
	[--downtime]=1 [--max-passes]=1 [--base]=$T/none2 [--offset]=1
	[--offset1]=1 [--offset2]=1 [--lazy]=$T/none [--fault-around]=4K
	[--record]=$T/none [--working-set]=$T/none [--target]=$T/none/none
	[--size]=1M [--rounds]=1)

# taken COMMAND WAY ARGUMENT...: none of them gets far
taken()
{
	local command=$1 way=$2 option all

	shift 2
	run "$command" --help
	mapfile -t all < <(grep -oE -e '^  --[a-z0-9-]+' "$T/out" |
		grep -v -e '--help' | sort -u)
	for option in "${all[@]}" $(in_synopsis "$command" "$way"); do
		option=${option#  }
		run "$command" ${way:+"$way" "${value[$way]/b=/a=}"} \
			"$option" ${value[$option]:+"${value[$option]}"} "$@"
		[ "$status" -eq 2 ] && grep -qE 'try .*--help' "$T/err" ||
			echo "$option"
	done
}

words()
{
	tr -s ' ,' '\n' | grep -v -e '^--help$' -e '^$' | sort -u | paste -sd ' '
}

while read -r command way arguments; do
	[ "$way" != - ] || way=
	case $arguments in
	one) arguments=("$T/none") ;;
	two) arguments=("$T/none" "$T/none") ;;
	three) arguments=("$T/none" b "$T/none") ;;
	none) arguments=() ;;
	esac
	synopsis=$(in_synopsis "$command" "$way" | words)
	help=$(in_help "$command" "$way" | words)
	taken=$(taken "$command" "$way" "${arguments[@]}" | words)
	ran="man: $synopsis, help: $help, taken: $taken" status=
	[ -n "$synopsis" ] && [ "$synopsis" = "$help" ] && [ "$synopsis" = "$taken" ]
	result $? "$command${way:+ $way}: the man page, --help and the tool agree"
done <<-EOF
	save --region one
	save --qmp one
	restore --region one
	restore --qmp one
	restore --lazy one
	info - one
	verify - one
	extract - three
	diff - two
	bench --target none
EOF

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
