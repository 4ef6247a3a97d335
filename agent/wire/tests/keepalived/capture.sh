#!/bin/bash
# Prints the frames that keepalived sends with CONF, one line of hex for each kind: see README.md.
# usage: capture.sh CONF      (as root; needs keepalived, tcpdump, iproute2; touches only its own namespaces)
set -eu
conf=$(realpath "$1")
work=$(mktemp -d)
a=vk-wire-a-$$ b=vk-wire-b-$$
capture= sender=

cleanup() {
    [ -z "$sender" ] || kill "$sender" 2>/dev/null || true
    [ -z "$capture" ] || kill "$capture" 2>/dev/null || true
    wait
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
    rm -r "$work"
}
trap cleanup EXIT

# await FILE PATTERN COUNT: until PATTERN is in COUNT lines of FILE, 20 s at most
await() {
    for _ in $(seq 200); do
        [ "$(grep -c "$2" "$1" || true)" -lt "$3" ] || return 0
        sleep 0.1
    done
    echo "no '$2' within 20 s" >&2
    cat "$work"/*.log >&2
    exit 1
}

ip netns add "$a"
ip netns add "$b"
ip link add v1 netns "$a" address 02:00:00:00:00:01 type veth peer name v2 netns "$b" address 02:00:00:00:00:02
host=1
for ns in "$a" "$b"; do
    ip netns exec "$ns" sysctl -qw "net.ipv6.conf.v$host.addr_gen_mode=1" "net.ipv6.conf.v$host.accept_dad=0"
    ip -n "$ns" link set lo up
    ip -n "$ns" addr add "10.77.0.$host/24" dev "v$host"
    ip -n "$ns" link set "v$host" up
    ip -n "$ns" addr add "fe80::$host/64" dev "v$host" nodad
    host=2
done

filter='ip proto 112 or ip6 proto 112 or arp or (icmp6 and ip6[40] = 136)'
ip netns exec "$b" tcpdump -l -n -xx -i v2 "$filter" >"$work/frames.log" 2>"$work/tcpdump.log" &
capture=$!
await "$work/tcpdump.log" 'listening on' 1
ip netns exec "$a" keepalived -P -n -l -D -f "$conf" -p "$work/pid" -r "$work/vpid" >"$work/keepalived.log" 2>&1 &
sender=$!
await "$work/keepalived.log" 'Entering MASTER' 1
await "$work/frames.log" 'VRRPv.* prio 100' 2
kill "$sender"
await "$work/frames.log" 'VRRPv.* prio 0' 1
wait "$sender" || true
sender=

# Each packet's hex on one line, then the first of each that differs in more than the IP identification.
awk '/^[0-9]/ { if (hex) print hex; hex = "" } /^\t/ { for (i = 2; i <= NF; i++) hex = hex $i } END { if (hex) print hex }' \
    "$work/frames.log" | awk '{ key = substr($0, 25, 4) == "0800" ? substr($0, 69) : $0 } !seen[key]++'
