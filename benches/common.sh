# What the scripts beside this one share: they source it from the root of the repository. Two free ports, AGQ's and
# Redis's; a wait for a server; the median of what comes in, a figure a line.
base=$((20000 + RANDOM % 20000))
ports=("$base" "$((base + 1))")

await() { # await PORT: until the server answers
    for _ in $(seq 200); do
        [ "$(redis-cli -p "$1" ping 2>/dev/null)" = PONG ] && return
        sleep 0.05
    done
    echo "the server on port $1 does not answer: see $work" >&2
    exit 1
}

median() { sort -g | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
