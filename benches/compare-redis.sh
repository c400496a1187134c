#!/usr/bin/env bash
# Runs AGQ and Redis (appendonly yes, appendfsync always) in turns on the same disk, under redis-benchmark, and prints
# the median rate of each and the median of the round-by-round ratios AGQ / Redis.
#
#   cargo build --release && benches/compare-redis.sh [--rounds N] [--tests set,get,…] [--scale PERCENT] [--dir DIR]
#
# Needs redis-server and redis-benchmark on the PATH. Both servers get an empty store for each kind of load and stay
# idle while the other is measured; the order changes from round to round.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 tests=set,hset,lpush,rpush,rpop,zadd,get,mset10,lrange100,zrange100,hgetall100 scale=100 dir=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2 ;;
        --tests) tests=$2 ;;
        --scale) scale=$2 ;;
        --dir) dir=$2 ;;
        *) echo "unknown option $1: see the head of $0" >&2; exit 2 ;;
    esac
    shift 2
done
work=$(cd "${dir:-.}" && mktemp -d "$PWD/compare-XXXXXX")
servers=()
stop_servers() {
    for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${servers[@]}"; do wait "$pid" 2>/dev/null || true; done
    servers=()
}
trap 'stop_servers; rm -rf "$work"' EXIT
. benches/common.sh

start_servers() {
    rm -rf "$work/agq" "$work/redis"
    mkdir -p "$work/redis"
    ./target/release/agq serve --data-dir "$work/agq" --bind "127.0.0.1:${ports[0]}" --no-auth 2>"$work/agq.log" &
    servers+=($!)
    redis-server --port "${ports[1]}" --bind 127.0.0.1 --dir "$work/redis" --save '' --appendonly yes \
        --appendfsync always >"$work/redis.log" &
    servers+=($!)
    await "${ports[0]}"
    await "${ports[1]}"
}

rate() { # rate PORT TEST REQUESTS CLIENTS PIPELINE: requests a second
    local load
    case $2 in
        mset10) load=(-t mset) ;;
        lrange100) load=(lrange list 0 99) ;;
        zrange100) load=(zrange zset 0 99) ;;
        hgetall100) load=(hgetall hash) ;;
        *) load=(-t "$2") ;;
    esac
    redis-benchmark -p "$1" -r 100000 -n "$3" -c "$4" -P "$5" -q "${load[@]}" 2>/dev/null |
        tr '\r' '\n' | awk '/requests per second/ { for (i = 1; i <= NF; i++) if ($i == "requests") print $(i - 1) }' | tail -n 1
}

fill() { # fill PORT: a list, a sorted set and a hash of 100 elements, for those that read them
    for number in $(seq 100); do
        echo "RPUSH list element:$number"
        echo "ZADD zset $number member:$number"
        echo "HSET hash field:$number value:$number"
    done | redis-cli -p "$1" --pipe >/dev/null
}

printf '| test | clients | pipeline | AGQ /s | Redis /s | AGQ / Redis |\n| --- | ---: | ---: | ---: | ---: | ---: |\n'
for shape in '50 1 100000' '50 16 400000' '1 1 15000'; do
    read -r clients pipeline requests <<<"$shape"
    requests=$((requests * scale / 100))
    for test in ${tests//,/ }; do
        start_servers
        for port in "${ports[@]}"; do
            fill "$port"
            # GET finds its keys, RPOP its elements; for the others this warms up.
            case $test in
                get) rate "$port" set $((requests > 200000 ? requests : 200000)) 50 16 >/dev/null ;;
                rpop) rate "$port" lpush $((requests * (rounds + 1))) 50 16 >/dev/null ;;
                *) rate "$port" "$test" $((requests / 5)) "$clients" "$pipeline" >/dev/null ;;
            esac
        done
        : >"$work/a"; : >"$work/r"; : >"$work/q"
        for round in $(seq "$rounds"); do
            if ((round % 2)); then
                a=$(rate "${ports[0]}" "$test" "$requests" "$clients" "$pipeline")
                r=$(rate "${ports[1]}" "$test" "$requests" "$clients" "$pipeline")
            else
                r=$(rate "${ports[1]}" "$test" "$requests" "$clients" "$pipeline")
                a=$(rate "${ports[0]}" "$test" "$requests" "$clients" "$pipeline")
            fi
            echo "$a" >>"$work/a"; echo "$r" >>"$work/r"
            awk -v a="$a" -v r="$r" 'BEGIN { print a / r }' >>"$work/q"
        done
        stop_servers
        printf '| %s | %d | %d | %.0f | %.0f | %.2f |\n' "$test" "$clients" "$pipeline" \
            "$(median <"$work/a")" "$(median <"$work/r")" "$(median <"$work/q")"
    done
done
