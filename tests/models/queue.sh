#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# queue.sh DIRECTORY [all]: search every state of tests/models/queue.pml, then without each of its steps in turn, which
# must be reported, or by none of the searches where a reason says that none can. With `all` the large searches, too,
# but for those reasons. What is built lies in DIRECTORY.
set -euo pipefail
model=$(realpath "$(dirname "$0")/queue.pml")
mkdir -p "$1"
cd "$1"
cp "$model" queue.pml
spin -a queue.pml
cc -O2 -w -DSAFETY -DCOLLAPSE -o queue pan.c

# SENDERS RECEIVERS DELETERS DEATHS EACH HELD
short=("1 1 0 1 2 0" "1 2 0 1 1 0" "1 1 0 2 1 0" "1 1 1 0 1 0" "1 0 1 1 1 0" "0 1 1 0 1 1" "0 1 0 1 1 1"
    "0 0 1 1 1 1" "1 1 0 0 2 2")
searches=("${short[@]}")
export seconds=100 width=20 # of one search: at most, and of its hash table
if [ "${2:-}" = all ]; then
    searches+=("2 1 0 1 1 0" "1 1 1 1 1 0" "0 1 1 1 1 1")
    seconds=3600 width=24
fi

# Which search reports that the step is left out; or, with `=`, why none can.
read -r -d '' steps <<'END' || true
A1           1 1 0 1 2 0
S_LABEL      1 1 0 1 2 0
S_EPOCH      1 1 0 1 2 0
S1           1 1 0 1 2 0
S2           1 1 0 1 2 0
S2_EPOCH     = S3 looks again and takes the block back
S2_BACK      = F2 follows at once here, and nobody takes a block that stands in no slot
S3           1 1 1 0 1 0
S3_BACK      1 1 1 0 1 0
S3_CLEAR     = a stale slot of a queue that takes no more posts: anyone clears it, the next maker rewrites it
S2_TAIL      = a hint: it costs a walk
S2_HELP      = a queue that stays full: progress, which is the directed tests' part
R1           1 1 0 1 2 0
R1_EPOCH     = the epoch is compared after the slot is read, the slot after the block; tickets need it
R2           = who comes to the slot next finds it stale and clears it
R2_HEAD      = a hint: it costs a walk
R3           = who made the slot stale clears it, or the next lap's sender
RQ1          0 1 0 1 1 1
RQ1_EPOCH    0 1 0 1 1 1
RQ2          0 1 1 0 1 1
RQ3          = receivers search once more, and lose nothing
ACK          = F2 follows at once here: there is no cache
F2           1 1 0 1 2 0
QC1          1 1 1 0 1 0
QC2          1 1 1 0 1 0
QC3          = a stale slot of a closing queue harms nobody: the next maker rewrites it
QC4          1 1 1 0 1 0
Q1           = Q2 then finds other flags, and opens nothing: progress
Q1_SLOT      1 1 1 0 1 0
Q2           1 1 1 0 1 0
C3_FLAGS     1 0 1 1 1 0
C3_FREE      1 1 0 1 2 0
C3_BACK      1 1 0 1 2 0
C3_REQUEUE   1 1 0 1 2 0
C3_RECHECK   0 0 1 1 1 1
C3_UNDO      0 0 1 1 1 1
C4_RQ        1 1 0 1 2 0
END

search() {
    export SENDERS=$1 RECEIVERS=$2 DELETERS=$3 DEATHS=$4 EACH=$5 HELD=$6 DROP=$7
    timeout "$seconds" ./queue -m10000 -w"$width" 2>&1
}

# Of what a search says: it came to its end, and nothing is wrong.
holds() {
    grep -q "errors: 0" <<<"$1" && ! grep -q "Search not completed\|max search depth too small" <<<"$1"
}

# Says `met` where it came to the step.
holds_without() {
    local out
    out=$(search "$@") || true
    if grep -q "^a step was left out" <<<"$out"; then echo met; fi
    holds "$out"
}
export -f search holds holds_without

failures=0
for what in "${searches[@]}"; do
    out=$(search $what 0) || true
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' <<<"$out")
    if holds "$out"; then
        echo "senders, receivers, deleters, deaths, messages each, held: $what: $states states, nothing wrong"
    else
        echo "senders, receivers, deleters, deaths, messages each, held: $what: $(head -1 <<<"$out")"
        failures=$((failures + 1))
    fi
done
reported=0
unmissed=0
while read -r step what; do
    number=$(sed -n "s/^#define $step \([0-9]*\)$/\1/p" queue.pml)
    if [[ $what == =* ]]; then
        if ! met=$(printf '%s\n' "${short[@]}" | xargs -P 2 -I{} bash -c "holds_without {} $number"); then
            echo "without $step: REPORTED, OR A SEARCH DID NOT END, although ${what#= }"
            failures=$((failures + 1))
        elif [ -z "$met" ]; then
            echo "without $step: NO SEARCH COMES TO IT"
            failures=$((failures + 1))
        else
            echo "without $step: nothing wrong in any search, $(wc -l <<<"$met") came to it: ${what#= }"
            unmissed=$((unmissed + 1))
        fi
        continue
    fi
    out=$(search $what "$number") || true
    if grep -q "errors: 1" <<<"$out"; then
        echo "without $step: $(sed -n 's/^pan:1: //p' <<<"$out")"
        reported=$((reported + 1))
    else
        echo "without $step: NOTHING IS REPORTED"
        failures=$((failures + 1))
    fi
done <<<"$steps"
while read -r step; do
    grep -q "^$step " <<<"$steps" || { echo "no row for $step"; failures=$((failures + 1)); }
done < <(sed -n 's/^#define \([A-Z0-9_]*\) [0-9]*$/\1/p' queue.pml | sed -n '/^A1$/,$p' | sort -u)
echo "$reported steps missed when left out, $unmissed as they need not be, $failures failures"
[ "$failures" = 0 ]
