# For the `run` of each language: runs programs and counts those that fail.

# How many programs have failed.
failures=0

# program NAME COMMAND…: runs a program without standard input, and prints one line with its time. What the program itself
# said follows if it failed, and stays in $CLIENTS_DIR either way.
program() {
    local name=$1 from=$SECONDS
    local said="$CLIENTS_DIR/$(printf '%s' "$name" | tr -c 'A-Za-z0-9.' '-').log"
    shift
    if "$@" </dev/null >"$said" 2>&1; then
        printf 'passed  %s: %d s\n' "$name" $((SECONDS - from))
    else
        printf 'FAILED  %s: %d s; it said:\n' "$name" $((SECONDS - from))
        sed 's/^/    /' "$said"
        failures=$((failures + 1))
    fi
}
