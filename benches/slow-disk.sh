#!/usr/bin/env bash
# Runs AGQ and Redis (appendonly yes, appendfsync always) in turns on a disk whose syncs take longer, 200 clients one by
# one, and prints the median rate of each, the median of the round-by-round ratios AGQ / Redis, and how long a GET waits
# beside the writes.
#
#   cargo build --release && benches/slow-disk.sh [--rounds N] [--delay MICROSECONDS] [--seconds S] [--dir DIR]
#
# Needs redis-server, redis-cli and strace, which adds the delay to every fsync and fdatasync of both. strace holds only
# these two calls up: the others do not meet it (--seccomp-bpf).
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 delay=5000 seconds=10 dir=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2 ;;
        --delay) delay=$2 ;;
        --seconds) seconds=$2 ;;
        --dir) dir=$2 ;;
        *) echo "unknown option $1: see the head of $0" >&2; exit 2 ;;
    esac
    shift 2
done
work=$(cd "${dir:-.}" && mktemp -d "$PWD/slow-disk-XXXXXX")
. benches/common.sh
# strace takes no signal while it traces: it ends with its server.
trap 'for port in "${ports[@]}"; do redis-cli -p "$port" shutdown nosave >/dev/null 2>&1 || true; done; wait; rm -rf "$work"' EXIT

slowly() { # slowly COMMAND…: with a delay in every sync
    exec strace --seccomp-bpf -f -qq -o /dev/null -e trace=fsync,fdatasync -e inject=fsync,fdatasync:delay_exit="$delay" "$@"
}

bench() { # bench PORT CLIENTS TEST: rate, median, 99th percentile and longest wait in ms
    ./target/release/agq bench --json --server "127.0.0.1:$1" --clients "$2" --seconds "$seconds" "$3"
}

field() { grep -o "\"$1\":[0-9.]*" | head -n 1 | cut -d: -f2; }

mkdir -p "$work/redis"
slowly ./target/release/agq serve --data-dir "$work/agq" --bind "127.0.0.1:${ports[0]}" --no-auth 2>"$work/agq.log" &
slowly redis-server --port "${ports[1]}" --bind 127.0.0.1 --dir "$work/redis" --save '' --appendonly yes \
    --appendfsync always >"$work/redis.log" &
await "${ports[0]}"
await "${ports[1]}"

for place in agq redis; do : >"$work/$place.rate"; : >"$work/$place.get"; done
: >"$work/ratio"
measure() { # measure NAME PORT: 200 clients that set, and one that gets beside them
    bench "$2" 1 get >"$work/get.json" &
    local reader=$!
    bench "$2" 200 set >"$work/set.json"
    wait "$reader"
    field requests_per_second <"$work/set.json" >>"$work/$1.rate"
    echo "$(field p50_ms <"$work/get.json") $(field p99_ms <"$work/get.json") $(field max_ms <"$work/get.json")" >>"$work/$1.get"
}
for round in $(seq "$rounds"); do
    if ((round % 2)); then measure agq "${ports[0]}"; measure redis "${ports[1]}"
    else measure redis "${ports[1]}"; measure agq "${ports[0]}"; fi
    awk -v a="$(tail -n 1 "$work/agq.rate")" -v r="$(tail -n 1 "$work/redis.rate")" 'BEGIN { print a / r }' >>"$work/ratio"
done

printf '%s µs added to every sync\n\n' "$delay"
printf '| server | SET /s, 200 clients | GET beside them: median ms | 99th percentile | longest |\n| --- | ---: | ---: | ---: | ---: |\n'
for place in agq redis; do
    printf '| %s | %.0f | %.2f | %.2f | %.2f |\n' "$place" "$(median <"$work/$place.rate")" \
        "$(cut -d' ' -f1 "$work/$place.get" | median)" "$(cut -d' ' -f2 "$work/$place.get" | median)" \
        "$(cut -d' ' -f3 "$work/$place.get" | sort -g | tail -n 1)"
done
printf '\nAGQ / Redis: %.2f\n' "$(median <"$work/ratio")"
