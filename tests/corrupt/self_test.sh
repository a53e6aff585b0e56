#!/bin/sh
# SPDX-License-Identifier: MIT
# self_test.sh BUILD MUTATIONS: each check that stands between a damaged word and harm is left out in turn. The
# programs, built with headers that without.sed has changed, must report it within so many mutations: quiet of each
# check, race of one, for it meets the rest by chance. Where none is left out they report nothing.
set -u
build=$1 mutations=$2
names=$(grep -ho 'WITHOUT("[^"]*")' -r "$build/without" | sed 's/WITHOUT("\(.*\)")/\1/' | sort -u)
rules=$(grep -c '^s/' "$(dirname "$0")/without.sed")
[ "$(echo "$names" | wc -l)" -eq "$rules" ] || { echo "a rule of without.sed finds no check to leave out" >&2; exit 1; }

must_succeed() { # PROGRAM MUTATIONS
    found=$(SHMQ_WITHOUT=none "$build/$1_without" "$2" 1 2>&1) || {
        echo "$found" >&2
        echo "$1: something was reported though no check was left out" >&2
        return 1
    }
    echo "$1: no check left out: $(echo "$found" | head -1)"
}

must_report() { # PROGRAM CHECK
    found=$(SHMQ_WITHOUT="$2" "$build/$1_without" "$mutations" 1 2>&1) && {
        echo "$1: without $2 nothing was reported" >&2
        return 1
    }
    said=$(echo "$found" | grep -oE "ended with status 0x[0-9a-f]+ in $1\>.*, operation .+") || {
        echo "$found" >&2
        echo "$1: without $2 it was not said which operation ended how" >&2
        return 1
    }
    echo "$1: without $2: $said"
}

must_succeed quiet $((mutations / 10)) && must_succeed race $((mutations / 100)) || exit 1
echo "$names" | while read -r name; do
    must_report quiet "$name" || exit 1
done && must_report race "the length of a message"
