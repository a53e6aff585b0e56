#!/bin/sh
# SPDX-License-Identifier: MIT
# record.sh FILE SEED < OUTPUT: append to FILE a row of what the programs counted. Only called where all of them ended
# well: a crash or a hang ends the run before.
set -eu
file=$1 seed=$2
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain -- include tests/corrupt 2>/dev/null)" ] || commit="$commit+"
awk -F': ' -v date="$(date -u +%Y-%m-%d)" -v commit="$commit" -v seed="$seed" '
    sub(/^count /, "") { if (!($1 in sum)) order[++kinds] = $1; sum[$1] += $2 }
    END {
        if (!sum["mutations"]) exit 1
        for (i = 1; i <= kinds; i++)
            if (order[i] !~ /^(mutations|racing|operations)$/) {
                total += sum[order[i]]
                text = text (text ? ", " : "") order[i] " " sum[order[i]]
            }
        printf "| %s | %s | %s | %d | %d | %d | %d: %s | 0 | 0 |\n", date, commit, seed, sum["mutations"], sum["racing"],
            sum["operations"], total, text
    }' >> "$file"
tail -1 "$file"
