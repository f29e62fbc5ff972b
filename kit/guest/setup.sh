# SPDX-License-Identifier: GPL-2.0
# Sourced in the guest by the script that kit/vm writes: prepares the machine
# before COMMAND runs and looks for leaks afterwards.
# KIT_P2P, KIT_NIC, KIT_KMEMLEAK and KIT_TTY are set by kit/vm.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8

kit_fail() {
	echo "kit/vm: guest: $*" >&2
	exit 90
}

# Without other programs: starting one takes its time here.
# find_pci NAME VENDOR DEVICE: sets NAME to the address
kit_find_pci() {
	local dev vendor device
	for dev in /sys/bus/pci/devices/*; do
		read -r vendor < "$dev/vendor" && read -r device < "$dev/device" &&
			[ "$vendor $device" = "$2 $3" ] && printf -v "$1" %s "${dev##*/}" && return
	done
	kit_fail "no device $2:$3 on the PCI bus"
}

# bind_pci ADDRESS DRIVER
kit_bind_pci() {
	local dev=/sys/bus/pci/devices/$1
	echo "$2" > "$dev/driver_override" || kit_fail "driver_override: $?"
	echo "$1" > /sys/bus/pci/drivers_probe
	[ -e "/sys/bus/pci/drivers/$2/$1" ] || kit_fail "$1 did not bind to $2"
}

# The ivshmem device is the stand-in for a GPU's memory: BAR2 is plain RAM.
kit_bind_p2p() {
	kit_find_pci KIT_P2P_BDF 0x1af4 0x1110
	export KIT_P2P_BDF
	# Memory decoding must be on for anyone to reach the BAR.
	echo 1 > "/sys/bus/pci/devices/$KIT_P2P_BDF/enable" 2>/dev/null
	kit_bind_pci "$KIT_P2P_BDF" vfio-pci
}

kit_bind_nic() {
	kit_find_pci KIT_NIC_BDF 0x1234 0x11e8
	export KIT_NIC_BDF
	kit_bind_pci "$KIT_NIC_BDF" netdevsim
}

# kmemleak ignores objects younger than five seconds, and the first scan after
# a burst of work can see pointers that only live in registers: scan twice.
kit_kmemleak() {
	local f=/sys/kernel/debug/kmemleak
	[ -w "$f" ] || { echo "kit/vm: guest: this kernel has no kmemleak" >&2; return 1; }
	sleep 6
	echo scan > "$f"
	sleep 1
	echo scan > "$f"
	if [ -s "$f" ]; then
		cat "$f" > /dev/kmsg
		return 1
	fi
	return 0
}

# A controlling terminal on the console that kit/vm connected to its own.
kit_on_tty() {
	[ -n "$KIT_STTY" ] && stty $KIT_STTY < /dev/hvc0
	setsid -c "$@" <> /dev/hvc0 >&0 2>&0
}

[ -n "$KIT_P2P" ] && kit_bind_p2p
[ -n "$KIT_NIC" ] && kit_bind_nic
true
