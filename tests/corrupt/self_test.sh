#!/bin/sh
# SPDX-License-Identifier: MIT
# self_test.sh PROGRAM HEADERS MUTATIONS: each check that stands between a damaged word and harm is left out in turn;
# PROGRAM, which is built with HEADERS (changed by without.sed), must report it within so many mutations.
set -u
program=$1 headers=$2 mutations=$3
names=$(grep -ho 'WITHOUT("[^"]*")' -r "$headers" | sed 's/WITHOUT("\(.*\)")/\1/' | sort -u)
rules=$(grep -c '^s/' "$(dirname "$0")/without.sed")
[ "$(echo "$names" | wc -l)" -eq "$rules" ] || { echo "a rule of without.sed finds no check to leave out" >&2; exit 1; }
echo "$names" | while read -r name; do
    found=$(SHMQ_WITHOUT="$name" "$program" "$mutations" 1 2>&1) && {
        echo "without $name nothing was reported" >&2
        exit 1
    }
    echo "without $name: found by $(echo "$found" | grep -oE 'quiet 1 .*' | tail -1)"
done
