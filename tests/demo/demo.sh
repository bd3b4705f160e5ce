#!/usr/bin/env bash
# A real file through a real cluster of one controller and one broker, and back: every record is
# compared, and the order within each key. Called by `./run demo [FILE]`; everything lies in a
# temporary folder, which is removed. Exits with 0 only if all of it came back.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export LC_ALL=C

FLIGHTS=tests/demo/data/flights.csv
BIN=${DMQ_BUILD:-build}/bin
PUBLISHES=1000
LOAD=1000000

case $# in
0) file=$FLIGHTS topic=flights field=10 key="carrier" ;;
1) file=$1 topic=demo field=1 key="what stands before the first comma" ;;
*) echo "usage: ./run demo [FILE]" >&2; exit 2 ;;
esac
[ -f "$file" ] && [ -r "$file" ] || { echo "demo: cannot read $file" >&2; exit 1; }

folder=$(mktemp -d /var/tmp/dmq-demo.XXXXXX)
supervisor=
clean_up() {
    [ -z "$supervisor" ] || { kill "$supervisor" && wait "$supervisor"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() { printf '  %-11s %s\n' "$1" "$2"; }

fail() {
    say FAILED "$1"
    sed 's/^/    /' "$folder/log" | tail -n 20
    exit 1
}

# number NAME < JSON: a number of what a command printed.
number() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }

# 1234567 as 1,234,567.
grouped() { printf '%.0f' "$1" | sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta'; }

per_second() { grouped "$(awk -v n="$1" -v s="$2" 'BEGIN { print n / (s > 0 ? s : 0.000001) }')"; }
us_as_ms() { awk -v us="$1" 'BEGIN { printf "%.2f ms", us / 1000 }'; }
now_ms() { local t=$EPOCHREALTIME; echo $((${t/[.,]/} / 1000)); }

start_cluster() {
    local began
    began=$(now_ms)
    mkfifo "$folder/ready"
    "$BIN/dmq" dev --data "$folder/data" --port 0 >"$folder/ready" 2>"$folder/log" &
    supervisor=$!
    read -r _ DMQ_URL <"$folder/ready" || fail "the cluster did not start"
    export DMQ_URL
    say cluster "one controller, one broker at $DMQ_URL, ready in $(($(now_ms) - began)) ms"
    say data "$folder/data"
}

produce() {
    "$BIN/dmq" topic create "$topic" --partitions 3 --quiet 2>>"$folder/log" ||
        fail "the topic was not created"
    say topic "$topic: 3 partitions, fsynced before a record is acknowledged (acks=all)"
    local result records seconds
    result=$("$BIN/dmq" produce "$topic" --key-field $field --acks all --json "$file" \
        2>>"$folder/log") || fail "not every record was acknowledged"
    records=$(number records <<<"$result")
    seconds=$(number seconds <<<"$result")
    say produced "$(grouped "$records") records of $(basename "$file") in $seconds s:\
 $(per_second "$records" "$seconds") a second, keyed by $key"
}

consume() {
    local began records ms
    began=$(now_ms)
    "$BIN/dmq" consume "$topic" --exit-at-end >"$folder/back" 2>>"$folder/log" ||
        fail "the records could not be read"
    ms=$(($(now_ms) - began))
    records=$(wc -l <"$folder/back")
    say consumed "$(grouped "$records") records in $ms ms, from connecting to the last one"
}

# Sorted by key and stable, both hold the records of each key in order.
by_key() { sort --stable --field-separator=, --key=$field,$field "$1"; }

compare() {
    sed '$a\' "$file" >"$folder/sent" # a last newline, where there is none
    cmp -s <(sort "$folder/sent") <(sort "$folder/back") || fail "records are not what was sent"
    say compared "record by record: what came back is what was sent"
    cmp -s <(by_key "$folder/sent") <(by_key "$folder/back") || fail "the order is another"
    local keys
    keys=$(cut -d, -f$field "$folder/sent" | sort -u | wc -l)
    say order "kept within each of $(grouped "$keys") keys"
}

measure() {
    "$BIN/dmq" topic create load --quiet 2>>"$folder/log" || fail "the topic was not created"
    local single stored read
    single=$("$BIN/dmq" bench produce load --sync --records $PUBLISHES --json 2>>"$folder/log") ||
        fail "a publish was not acknowledged"
    stored=$("$BIN/dmq" bench produce load --records $LOAD --json 2>>"$folder/log") ||
        fail "a record was not acknowledged"
    read=$("$BIN/dmq" bench consume load --json 2>>"$folder/log") || fail "the load was not read"
    [ "$(number records <<<"$read")" = $((PUBLISHES + LOAD)) ] || fail "the load is not all there"
    say latency "one publish, waited for: p50 $(us_as_ms "$(number p50 <<<"$single")"),\
 p99 $(us_as_ms "$(number p99 <<<"$single")") ($(grouped $PUBLISHES) of 100 bytes)"
    say throughput "$(grouped "$(number records_per_s <<<"$stored")") records of 100 bytes a second\
 stored, $(grouped "$(number records_per_s <<<"$read")") read"
}

echo "DMQ: a file through a durable log and back"
start_cluster
produce
consume
compare
measure
say "on disk" "$(du -sh "$folder/data" | cut -f1) in $(find "$folder/data/broker" -name '????????????????????.log' |
    grep -c /) segments of logs; removed now"
kill "$supervisor" && wait "$supervisor" || fail "the cluster did not end cleanly"
supervisor=
echo "OK: nothing was lost, nothing came twice, nothing changed its order within a key"
