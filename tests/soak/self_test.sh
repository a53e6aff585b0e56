#!/bin/sh
# SPDX-License-Identifier: MIT
# self_test.sh BUILD STEP=KIND…: without a step the soak must report something of that kind; with all of them, by the
# same program, nothing. And workers that do not get on must be reported.
set -u
build=$1 soak=$1/soak without=$1/soak_worker_without
shift

# Longer than anybody is frozen, which may be who recovers another.
export SOAK_PATIENCE=5

# How much a run tries depends on what else the machine does: where it finds nothing, a longer one follows.
must_report() { # STEP KIND
    for seconds in 3 10 30; do
        found=$(SHMQ_WITHOUT=$1 "$soak" "$without" 1000000 $seconds 2>&1) && continue
        first=$(echo "$found" | grep -m 1 "^$2: [^0]") || continue
        echo "without the step $1: $first"
        return 0
    done
    echo "without the step $1 it was not said that something is $2; at last:" "$found" >&2
    return 1
}

found=$(SHMQ_WITHOUT=none "$soak" "$without" 1000000 3 2>&1) || { echo "with all steps:" "$found" >&2; exit 1; }
echo "with all steps: $(echo "$found" | grep "^lost: ")"
for missed; do
    must_report "${missed%=*}" "${missed#*=}" || exit 1
done

# One uses a processor, the other sleeps.
must_hang() { # PROGRAM WHAT
    found=$(SOAK_PATIENCE=1 "$soak" "$(command -v "$1")" 100 2 2>&1 >/dev/null) && found=
    found=$(echo "$found" | grep -m 1 "^hung: a worker") || { echo "nothing was said of workers that $2" >&2; exit 1; }
    echo "workers that $2: $found"
}

must_hang yes "only say yes"
never=$build/never
rm -f "$never" && mkfifo "$never"
must_hang grep "only wait for what never comes" <> "$never"
rm -f "$never"
