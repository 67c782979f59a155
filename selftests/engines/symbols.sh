#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Proves that the shared library exports what its header declares and nothing
# else. SHARED and HEADER say which.
set -eu

echo "TAP version 13"
echo "1..1"
if diff <(nm -D --defined-only "$SHARED" |
		sed -n 's/.* T \([^@]*\).*/\1/p' | sort) \
	<(grep -v '^ \*' "$HEADER" | grep -o '\bmram_[a-z_]*(' |
		tr -d '(' | sort -u) | sed 's/^/# /' | grep .; then
	echo "not ok 1 exports are the header's"
	exit 1
fi
echo "ok 1 exports are the header's"
