#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# io_uring zcrx on netdevsim: two namespaces, one netdevsim in each, linked. A
# file goes from one to the other over TCP, into memory of the user or into
# dma-bufs, while things happen to the packets, the queue, the link and the
# program. See zcrx_netmem.c for how the data is checked.
#
#   zcrx_netmem.sh [TEST...]		all tests, or only the named functions
#
# Environment:
#   SIZE_MB		size of the file that is sent (default 8)
#   LIMIT		seconds for one transfer (default 120)
#   SHORT		if set, the four kinds of area share the ways in which
#			packets can come instead of trying all of them
#   NSIM_DMA_DEV	PCI function for the receiver to use as DMA device, it
#			must be bound to netdevsim (default: none)

DIR=$(dirname "$(readlink -f "$0")")
source "$DIR/../../../net/lib.sh"
source "$DIR/../../../kselftest/ktap_helpers.sh"

ZCRX=$DIR/zcrx_netmem
ETHTOOL=$DIR/nsim_ethtool
SYS=/sys/bus/netdevsim
PORT=9999
RX4=192.0.2.1 TX4=192.0.2.2
RX6=2001:db8::1 TX6=2001:db8::2
LIMIT=${LIMIT:-120}	# seconds, for one transfer on a slow machine
RX_ID= TX_ID= RX_IF= TX_IF=
RX_PID= TX_PID=
WORK=$(mktemp -d)
FILE=$WORK/file

rx() { ip netns exec "$NS_RX" "$@"; }
tx() { ip netns exec "$NS_TX" "$@"; }
counter() { rx "$ETHTOOL" "$RX_IF" stat "$1"; }
debugfs() { echo "/sys/kernel/debug/netdevsim/netdevsim$RX_ID/ports/0/$1"; }

# In the namespace from the start, where udev does not rename it meanwhile
nsim_add()
{
	local ns=$1 id

	shift
	for ((id = 1000 + RANDOM % 1000; ; id++)); do
		[ -e "$SYS/devices/netdevsim$id" ] || break
	done
	ip netns exec "$ns" sh -c "echo $id 1 $* > $SYS/new_device" || return 1
	echo "$id"
}

nsim_del()
{
	[ -n "$1" ] && echo "$1" > $SYS/del_device
}

# A netdevsim of its own for each test, nothing is left from the one before.
setup()
{
	local queues=${1:-1} fd_rx fd_tx

	setup_ns NS_RX NS_TX || return 1
	RX_ID=$(nsim_add "$NS_RX" "$queues" ${NSIM_DMA_DEV:-}) || return 1
	TX_ID=$(nsim_add "$NS_TX" "$queues") || return 1
	RX_IF=$(rx ls "$SYS/devices/netdevsim$RX_ID/net")
	TX_IF=$(tx ls "$SYS/devices/netdevsim$TX_ID/net")
	exec {fd_rx}<"/run/netns/$NS_RX" {fd_tx}<"/run/netns/$NS_TX"
	echo "$fd_rx:$(rx cat "/sys/class/net/$RX_IF/ifindex")" \
	     "$fd_tx:$(tx cat "/sys/class/net/$TX_IF/ifindex")" > $SYS/link_device ||
		return 1
	exec {fd_rx}<&- {fd_tx}<&-

	rx ip addr add $RX4/24 dev "$RX_IF"
	tx ip addr add $TX4/24 dev "$TX_IF"
	rx ip addr add $RX6/64 dev "$RX_IF" nodad
	tx ip addr add $TX6/64 dev "$TX_IF" nodad
	rx ip link set "$RX_IF" up && tx ip link set "$TX_IF" up || return 1
	rx "$ETHTOOL" "$RX_IF" hds on
}

teardown()
{
	local pid

	for pid in $RX_PID $TX_PID; do
		kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	RX_PID= TX_PID=
	nsim_del "$RX_ID"
	nsim_del "$TX_ID"
	RX_ID= TX_ID=
	cleanup_ns "$NS_RX" "$NS_TX"
}

set_mtu()
{
	rx ip link set "$RX_IF" mtu "$1" && tx ip link set "$TX_IF" mtu "$1"
}

start_rx()
{
	ip netns exec "$NS_RX" "$ZCRX" rx "$RX_IF" $PORT "$FILE" "$@" > "$WORK/rx" 2>&1 &
	RX_PID=$!
	# The program listens when the queue is set up
	for ((i = 0; i < 300; i++)); do
		rx ss -Hltn "sport = :$PORT" | grep -q . && return 0
		kill -0 $RX_PID 2>/dev/null || break
		sleep 0.1
	done
	kill -9 $RX_PID 2>/dev/null
	wait $RX_PID 2>/dev/null
	echo "# receiver: exit status $?: $(cat "$WORK/rx")"
	RX_PID=
	return 1
}

start_tx()
{
	ip netns exec "$NS_TX" "$ZCRX" tx "${1:-$RX4}" $PORT "$FILE" > "$WORK/tx" 2>&1 &
	TX_PID=$!
}

# Wait for both to finish, and be content only if both are.
finish()
{
	local start=$SECONDS status

	while kill -0 $RX_PID 2>/dev/null; do
		if [ $((SECONDS - start)) -ge "$LIMIT" ]; then
			echo "# no end after $LIMIT seconds"
			rx ss -tin "sport = :$PORT" | sed 's/^/# /'
			return 1
		fi
		sleep 0.1
	done
	wait $RX_PID
	status=$?
	RX_PID=
	[ $status -eq 0 ] || echo "# receiver: exit status $status: $(cat "$WORK/rx")"
	wait $TX_PID || { echo "# sender: $(cat "$WORK/tx")"; status=1; }
	TX_PID=
	return $status
}

transfer()
{
	local addr=$1

	shift
	start_rx "$@" || return 1
	start_tx "$addr"
	finish
}

expect()
{
	local what=$1 op=$2 want=$3 is

	is=$(counter "$what")
	[ "$is" "$op" "$want" ] && return 0
	echo "# $what is $is, expected $op $want"
	return 1
}

# Nobody has a dma-buf any more, or is attached to one, when all that used it has
# gone. Other dma-bufs must not be around.
released()
{
	local info=/sys/kernel/debug/dma_buf/bufinfo i

	[ -r $info ] || return 0
	for ((i = 0; i < 300; i++)); do
		grep -q "^Total 0 objects" $info && return 0
		sleep 0.1
	done
	sed 's/^/# /' $info
	return 1
}

# --- data

# One area, both IP versions, all ways in which packets come. With SHORT, part $1
# of 4 of them.
matrix()
{
	local part=$1 bytes=0 nr=0 size addr mtu mode

	shift
	size=$(stat -c %s "$FILE")
	for mode in tso gso nolro; do for addr in $RX4 $RX6; do for mtu in 1500 9000; do
		[ -z "${SHORT:-}" ] || [ $((nr % 4)) -eq "$part" ] || { nr=$((nr + 1)); continue; }
		nr=$((nr + 1))
		set_mtu $mtu || return 1
		tx "$ETHTOOL" "$TX_IF" tso "$([ $mode = gso ] && echo off || echo on)"
		rx "$ETHTOOL" "$RX_IF" lro "$([ $mode = nolro ] && echo off || echo on)"
		transfer $addr "$@" || { echo "# $addr mtu $mtu $mode"; return 1; }
		# All of the payload came by DMA
		bytes=$((bytes + size))
		expect rx0_dma_bytes -ge $bytes || return 1
	done; done; done
	expect rx0_dma_faults -eq 0
}

umem() { matrix 0 area=umem; }
udmabuf() { matrix 1 area=udmabuf; }
heap() { matrix 2 area=heap; }

hugetlb()
{
	local nr

	nr=$(cat /proc/sys/vm/nr_hugepages)
	echo $((nr + 4)) > /proc/sys/vm/nr_hugepages
	matrix 3 area=hugetlb size=$((4 << 20)) buflen=65536 || return 1
	echo "$nr" > /proc/sys/vm/nr_hugepages
}

# The flow goes where RSS and the rule say, whatever queue the sender chose.
second_queue()
{
	local size

	size=$(stat -c %s "$FILE")
	teardown
	setup 2 || return 1
	rx "$ETHTOOL" "$RX_IF" rss 1 || return 1
	# The kernel copies into the area what comes on another queue
	transfer $RX4 area=umem queue=1 copies="$size" || return 1
	expect rx1_dma_bytes -eq 0 || return 1
	rx "$ETHTOOL" "$RX_IF" flow $PORT:1 || return 1
	transfer $RX4 area=udmabuf queue=1 || return 1
	expect rx0_dma_bytes -eq 0 && expect rx1_dma_bytes -ge "$size"
}

# --- packets get lost

loss()
{
	tx tc qdisc add dev "$TX_IF" root netem loss 1% || return 4
	transfer $RX4 area=udmabuf && transfer $RX6 area=umem
}

corruption()
{
	local i

	# What netem flips is in the headers, often where TCP does not see it
	tx tc qdisc add dev "$TX_IF" root netem corrupt 4% || return 4
	for i in 1 2 3 4 5; do
		transfer $RX6 area=udmabuf && transfer $RX4 area=umem || return 1
		[ "$(counter rx0_csum_bad)" -gt 0 ] && return 0
	done
	expect rx0_csum_bad -gt 0
}

reordering()
{
	tx tc qdisc add dev "$TX_IF" root netem delay 2ms reorder 50% duplicate 2% ||
		return 4
	transfer $RX4 area=udmabuf && transfer $RX6 area=umem
}

# 16 buffers, less than one packet of the sender's. What waits for a lost packet
# in the socket must not be all of them, so the window is less than that.
exhaustion()
{
	transfer $RX4 area=udmabuf size=65536 rcvbuf=16384 delay=1 || return 1
	expect rx0_alloc_fail -gt 0 || return 1
	transfer $RX6 area=umem size=65536 rcvbuf=16384 delay=1
}

slow_refill()
{
	transfer $RX4 area=udmabuf size=$((1 << 20)) delay=50 || return 1
	expect rx0_alloc_fail -gt 0
}

# --- things happen meanwhile

queue_reset()
{
	local mode ret=0

	start_rx area=udmabuf delay=2 || return 1
	start_tx $RX4
	while kill -0 $RX_PID 2>/dev/null && kill -0 $TX_PID 2>/dev/null; do
		for mode in 0 1 2 3; do
			echo "0 $mode" > "$(debugfs queue_reset)" || ret=1
		done
		sleep 0.5
	done
	finish && return $ret
}

link_flap()
{
	local i

	start_rx area=udmabuf delay=20 || return 1
	start_tx $RX4
	for i in 1 2 3; do
		sleep 0.5
		rx ip link set "$RX_IF" down
		sleep 0.2
		rx ip link set "$RX_IF" up
		# ip link down took this away
		rx ip addr add $RX6/64 dev "$RX_IF" nodad 2>/dev/null
	done
	finish
}

hds_toggle()
{
	local stop=$WORK/toggle

	# What changes is the sender's device, it receives the acks
	: > "$stop"
	(while [ -e "$stop" ]; do
		tx "$ETHTOOL" "$TX_IF" hds on
		tx "$ETHTOOL" "$TX_IF" hds off
	done) &
	transfer $RX4 area=umem
	local ret=$?
	rm "$stop"
	wait $!
	# With a provider it stays on
	start_rx area=umem || return 1
	rx "$ETHTOOL" "$RX_IF" hds off 2>/dev/null && ret=1
	return $ret
}

# A packet socket gets the headers, there is nothing to read behind them.
packet_socket()
{
	local sniff

	ip netns exec "$NS_RX" python3 - "$RX_IF" > "$WORK/sniff" << 'PY' &
import socket, sys, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
s.bind((sys.argv[1], 0))
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 24) # SO_RCVBUFFORCE
print("ready", flush=True)
cut = 0
while True:
    pkt, addr = s.recvfrom(1 << 17)
    if addr[2] == socket.PACKET_OUTGOING or pkt[12:14] != b"\x08\x00" or pkt[23] != 6:
        continue
    want = struct.unpack("!H", pkt[16:18])[0] + 14
    hdr = 14 + (pkt[14] & 15) * 4
    hdr += (pkt[hdr + 12] >> 4) * 4
    if want > hdr and len(pkt) > hdr:
        print("payload", len(pkt), hdr, flush=True)
    if len(pkt) == hdr and want > hdr:
        cut += 1
        if cut == 10:
            print("cut", flush=True)
PY
	sniff=$!
	for ((i = 0; i < 300; i++)); do
		grep -q ready "$WORK/sniff" && break
		sleep 0.1
	done
	transfer $RX4 area=udmabuf
	local ret=$?
	kill $sniff
	wait $sniff 2>/dev/null
	grep -q payload "$WORK/sniff" && { grep -m3 payload "$WORK/sniff" | sed 's/^/# /'; ret=1; }
	grep -q cut "$WORK/sniff" || { echo "# saw no header"; ret=1; }
	return $ret
}

kill_receiver()
{
	local i

	for i in 1 2 3 4 5; do
		start_rx area=udmabuf delay=5 || return 1
		start_tx $RX4
		sleep 0.$((RANDOM % 10))
		kill -9 $RX_PID
		wait $RX_PID 2>/dev/null
		kill $TX_PID 2>/dev/null
		wait $TX_PID 2>/dev/null
	done
	# and the queue is as good as new
	transfer $RX4 area=heap
}

# The program keeps all it got while the queue goes on without it.
remove_device()
{
	start_rx area=udmabuf stop=1000000 || return 1
	start_tx $RX4
	for ((i = 0; i < 300; i++)); do
		grep -q stopped "$WORK/rx" && break
		sleep 0.1
	done
	grep -q stopped "$WORK/rx" || { echo "# $(cat "$WORK/rx")"; return 1; }
	nsim_del "$RX_ID" || return 1
	RX_ID=
	kill -9 $RX_PID
	wait $RX_PID 2>/dev/null
	RX_PID=
}

remove_device_traffic()
{
	start_rx area=heap delay=5 || return 1
	start_tx $RX4
	sleep 0.5
	nsim_del "$RX_ID" || return 1
	RX_ID=
}

remove_netns()
{
	start_rx area=udmabuf delay=5 || return 1
	start_tx $RX4
	sleep 0.5
	ip netns del "$NS_RX"
	kill -9 $RX_PID
	wait $RX_PID 2>/dev/null
	RX_PID=
}

remove_dma_device()
{
	local driver=/sys/bus/pci/drivers/netdevsim ret=0

	[ -n "${NSIM_DMA_DEV:-}" ] || return 4
	start_rx area=udmabuf delay=5 || return 1
	start_tx $RX4
	sleep 0.5
	echo "$NSIM_DMA_DEV" > $driver/unbind || return 1
	# It takes the NIC along
	rx ip link show dev "$RX_IF" > /dev/null 2>&1 && ret=1
	echo "$NSIM_DMA_DEV" > $driver/bind || return 1
	kill -9 $RX_PID
	wait $RX_PID 2>/dev/null
	RX_PID=
	return $ret
}

# --- what must be refused

refused()
{
	local ret=0 bdf

	for bdf in 0000:00:00.0 ffff:ff:1f.7 0000:00:00.0x junk; do
		echo "3000 1 1 $bdf" > $SYS/new_device 2>/dev/null || continue
		echo "# DMA device $bdf"
		nsim_del 3000
		ret=1
	done
	rx "$ETHTOOL" "$RX_IF" hds off
	rx timeout 5 "$ZCRX" rx "$RX_IF" $PORT "$FILE" 2>&1 | grep -q "Invalid argument" ||
		{ echo "# without tcp-data-split"; ret=1; }
	rx "$ETHTOOL" "$RX_IF" hds on
	rx timeout 5 "$ZCRX" rx "$RX_IF" $PORT "$FILE" queue=1 2>&1 |
		grep -q "out of range" || { echo "# no such queue"; ret=1; }
	rx timeout 5 "$ZCRX" rx "$RX_IF" $PORT "$FILE" buflen=5000 2>&1 |
		grep -q "Invalid argument" || { echo "# length of buffers"; ret=1; }
	start_rx area=umem || return 1
	rx timeout 5 "$ZCRX" rx "$RX_IF" $PORT "$FILE" 2>&1 | grep -q "File exists" ||
		{ echo "# a second provider"; ret=1; }
	return $ret
}

TESTS="umem udmabuf heap hugetlb second_queue loss corruption reordering exhaustion
       slow_refill queue_reset link_flap hds_toggle packet_socket kill_receiver
       remove_device remove_device_traffic remove_netns remove_dma_device refused"

ktap_print_header
for program in ip tc ss python3; do
	command -v $program > /dev/null || ktap_skip_all "$program not found"
done
modprobe -q netdevsim
[ -w $SYS/new_device ] || ktap_skip_all "no netdevsim"
[ -w /sys/kernel/debug ] || mount -t debugfs none /sys/kernel/debug

head -c $((${SIZE_MB:-8} << 20)) /dev/urandom > "$FILE"
truncate -s +12345 "$FILE"
trap 'teardown 2>/dev/null; rm -rf "$WORK"' EXIT

[ $# -gt 0 ] && TESTS=$*
ktap_set_plan "$(echo $TESTS | wc -w)"
for test in $TESTS; do
	if ! setup; then
		ktap_test_fail "$test (setup)"
		teardown
		continue
	fi
	start=$SECONDS
	$test
	status=$?
	teardown
	released || { echo "# not everything was released"; status=1; }
	case $status in
	0) ktap_test_pass "$test" ;;
	4) ktap_test_skip "$test" ;;
	*) ktap_test_fail "$test" ;;
	esac
	echo "# $((SECONDS - start)) s"
done
ktap_finished
