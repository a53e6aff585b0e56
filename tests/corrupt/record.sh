#!/bin/sh
# SPDX-License-Identifier: MIT
# record.sh FILE SEED < OUTPUT: append to FILE a row of what the programs counted. Only called where all of them ended
# well: a crash or a hang ends the run before.
set -eu
file=$1 seed=$2
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain -- include tests/corrupt 2>/dev/null)" ] || commit="$commit+"
awk -F': ' -v date="$(date -u +%Y-%m-%d)" -v commit="$commit" -v seed="$seed" '
    function thousands(number,    text) { # 1234567 is 1,234,567
        for (number = sprintf("%.0f", number); length(number) > 3; number = substr(number, 1, length(number) - 3))
            text = "," substr(number, length(number) - 2) text
        return number text
    }
    sub(/^count /, "") { if (!($1 in sum)) order[++kinds] = $1; sum[$1] += $2 }
    END {
        if (!sum["mutations"]) exit 1
        for (i = 1; i <= kinds; i++)
            if (order[i] !~ /^(mutations|racing|operations)$/) {
                total += sum[order[i]]
                text = text (text ? ", " : "") order[i] " " thousands(sum[order[i]])
            }
        printf "| %s | %s | %s | %s | %s | %s | %s: %s | 0 | 0 |\n", date, commit, seed, thousands(sum["mutations"]),
            thousands(sum["racing"]), thousands(sum["operations"]), thousands(total), text
    }' >> "$file"
tail -1 "$file"
