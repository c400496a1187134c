#!/usr/bin/env bash
# What keeping data costs those who write: 64 clients that SET one key at a time, then 64 that submit one job at a time, to
# a plain server and to servers that have an archive, that write one backup after the other at the default rate, that have
# a bound on the store's size (so that room is looked at), and that are asked with an access key of narrow scopes
# instead of the session key. Prints the median rate of each, and the median, the lowest and the highest of its ratios to
# the plain server in the same round.
#
#   cargo build --release && benches/keeping.sh [--rounds N] [--seconds S] [--fill KEYS] [--dir DIR]
#
# Needs redis-cli, to see when a server answers. Each server has a store of its own with so many keys of 1,000 bytes and
# is idle while the others are measured; the order turns from round to round.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 seconds=5 fill=200000 dir=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2 ;;
        --seconds) seconds=$2 ;;
        --fill) fill=$2 ;;
        --dir) dir=$2 ;;
        *) echo "unknown option $1: see the head of $0" >&2; exit 2 ;;
    esac
    shift 2
done
work=$(cd "${dir:-.}" && mktemp -d "$PWD/keeping-XXXXXX")
. benches/common.sh
variants=(plain archive backup bounded key)
servers=()
trap 'for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT
session_key=benches-keeping-a-key-that-guards-nothing
export REDISCLI_AUTH=$session_key

agq() { # agq PLACE ARGUMENTS…: a client of that server with the session key
    local place=$1
    shift
    AGQ_SESSION_KEY=$session_key ./target/release/agq "$@" --server "127.0.0.1:$((base + place))"
}

for place in "${!variants[@]}"; do
    variant=${variants[place]}
    flags=(--data-dir "$work/$variant" --bind "127.0.0.1:$((base + place))" --session-key "$session_key" --backup-keep 1)
    case $variant in
        archive) flags+=(--archive-dir "$work/archived") ;;
        bounded) flags+=(--max-file-size 1000GiB) ;;
    esac
    ./target/release/agq serve "${flags[@]}" 2>"$work/$variant.log" &
    servers+=($!)
    await "$((base + place))"
    agq "$place" bench --fill --keyspace "$fill" --size 1000 --requests 1 ping >/dev/null
    if [ "$variant" = key ]; then
        narrow_key=$(agq "$place" key create bench --keys 'bench:*' --submit bench)
    fi
done

field() { grep -o "\"$1\":[0-9.]*" | head -n 1 | cut -d: -f2; }

rate() { # rate PLACE LOAD: requests a second
    local place=$1 key=$session_key load=(set) backups=
    [ "$2" = submit ] && load=(-- JOB.SUBMIT '{"kind":"bench","queue":"bench","payload":"some words"}')
    [ "${variants[place]}" = key ] && key=$narrow_key
    if [ "${variants[place]}" = backup ]; then
        (while agq "$place" backup >/dev/null 2>&1; do :; done) &
        backups=$!
    fi
    AGQ_SESSION_KEY=$key ./target/release/agq bench --json --server "127.0.0.1:$((base + place))" --clients 64 \
        --seconds "$seconds" --keyspace "$fill" "${load[@]}" | field requests_per_second
    if [ -n "$backups" ]; then
        kill "$backups" 2>/dev/null || true
        wait "$backups" 2>/dev/null || true
        agq "$place" backup --cancel >/dev/null 2>&1 || true
    fi
}

printf '| load | server | requests /s | ratio to plain | lowest | highest |\n| --- | --- | ---: | ---: | ---: | ---: |\n'
count=${#variants[@]}
for load in set submit; do
    for variant in "${variants[@]}"; do : >"$work/$variant.rate"; : >"$work/$variant.ratio"; done
    for round in $(seq "$rounds"); do
        for turn in $(seq 0 $((count - 1))); do
            place=$(((turn + round) % count))
            rate "$place" "$load" >>"$work/${variants[place]}.rate"
        done
        for variant in "${variants[@]}"; do
            awk -v a="$(tail -n 1 "$work/$variant.rate")" -v p="$(tail -n 1 "$work/plain.rate")" \
                'BEGIN { print a / p }' >>"$work/$variant.ratio"
        done
    done
    for variant in "${variants[@]}"; do
        printf '| %s | %s | %.0f | %.2f | %.2f | %.2f |\n' "$load" "$variant" "$(median <"$work/$variant.rate")" \
            "$(median <"$work/$variant.ratio")" "$(sort -g "$work/$variant.ratio" | head -n 1)" \
            "$(sort -g "$work/$variant.ratio" | tail -n 1)"
    done
done
