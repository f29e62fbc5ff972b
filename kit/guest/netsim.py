#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: netsim.py [up [--queues=N] [--mtu=BYTES] | down | stats]

Two linked netdevsim interfaces, each in a network namespace of its own:

  namespace rx: interface rx0, 192.0.2.1, 2001:db8::1, header split on
  namespace tx: interface tx0, 192.0.2.2, 2001:db8::2

`up` makes them (again, if they are there), `down` removes them, `stats` prints the
statistics of rx0.  Programs are run there with `ip netns exec rx PROGRAM`.  Header
split is set by netlink, since the ethtool of not every system can do that.
"""
import array
import ctypes
import fcntl
import getopt
import glob
import os
import socket
import struct
import subprocess
import sys
import time

BUS = "/sys/bus/netdevsim"
ENDS = {"rx": (7001, "rx0", "192.0.2.1", "2001:db8::1"),
        "tx": (7002, "tx0", "192.0.2.2", "2001:db8::2")}
CLONE_NEWNET = 0x40000000

# <linux/ethtool.h>, <linux/sockios.h>
SIOCETHTOOL = 0x8946
ETHTOOL_GSTRINGS, ETHTOOL_GSTATS, ETHTOOL_GSSET_INFO = 0x1b, 0x1d, 0x37
ETH_SS_STATS = 1
# <linux/netlink.h>, <linux/genetlink.h>, <linux/ethtool_netlink.h>
NETLINK_GENERIC, NLMSG_ERROR, NLM_F_REQUEST, NLM_F_ACK, NLA_F_NESTED = 16, 2, 1, 4, 1 << 15
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 16, 3, 1, 2
ETHTOOL_MSG_RINGS_SET, ETHTOOL_A_HEADER_DEV_NAME = 16, 2
ETHTOOL_A_RINGS_HEADER, ETHTOOL_A_RINGS_TCP_DATA_SPLIT, ETHTOOL_A_RINGS_HDS_THRESH = 1, 11, 17
ETHTOOL_TCP_DATA_SPLIT_ENABLED = 2


class NetsimError(Exception):
    """What went wrong, in one line."""


class Inside:
    """with Inside("rx"): sockets that are made here belong to that namespace."""

    def __init__(self, name):
        self.name = name

    @staticmethod
    def _enter(fd):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    def __enter__(self):
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        self._enter(fd)
        os.close(fd)

    def __exit__(self, *_):
        self._enter(self.home)
        os.close(self.home)


def run(*command):
    """Run a program; its complaint becomes ours."""
    proc = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if proc.returncode:
        raise NetsimError(f"{' '.join(command)}: {proc.stdout.strip() or proc.returncode}")
    return proc.stdout


def write(path, text):
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        raise NetsimError(f"{path}: '{text}': {error.strerror}") from error


def attribute(kind, payload):
    data = struct.pack("=HH", 4 + len(payload), kind) + payload
    return data + b"\0" * (-len(data) % 4)


def generic(sock, family, command, version, payload):
    """One generic netlink request; returns the payload of the answer, if any."""
    body = struct.pack("=BBH", command, version, 0) + payload
    sock.send(struct.pack("=IHHII", 16 + len(body), family, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + body)
    answer = b""
    while True:
        data = sock.recv(65536)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == NLMSG_ERROR:
                error = struct.unpack_from("=i", data, 16)[0]
                if error:
                    raise OSError(-error, os.strerror(-error))
                return answer
            answer = data[20:length]
            data = data[(length + 3) & ~3:]


def header_split(interface):
    """ethtool -G INTERFACE tcp-data-split on hds-thresh 0"""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as sock:
        answer = generic(sock, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1,
                         attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0"))
        family = None
        while answer and family is None:
            length, kind = struct.unpack_from("=HH", answer)
            if kind == CTRL_ATTR_FAMILY_ID:
                family = struct.unpack_from("=H", answer, 4)[0]
            answer = answer[(length + 3) & ~3:]
        header = attribute(ETHTOOL_A_HEADER_DEV_NAME, interface.encode() + b"\0")
        try:
            generic(sock, family, ETHTOOL_MSG_RINGS_SET, 1,
                    attribute(ETHTOOL_A_RINGS_HEADER | NLA_F_NESTED, header) +
                    attribute(ETHTOOL_A_RINGS_TCP_DATA_SPLIT,
                              struct.pack("=B", ETHTOOL_TCP_DATA_SPLIT_ENABLED)) +
                    attribute(ETHTOOL_A_RINGS_HDS_THRESH, struct.pack("=I", 0)))
        except OSError as error:
            raise NetsimError(f"header split on {interface}: {error.strerror}") from error


def stats(namespace="rx"):
    """ethtool -S, as a dictionary."""
    interface = ENDS[namespace][1]

    def ioctl(data):
        request = struct.pack("16sP", interface.encode(), data.buffer_info()[0])
        fcntl.ioctl(sock, SIOCETHTOOL, request.ljust(40, b"\0"))
        return data.tobytes()

    with Inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        reply = ioctl(array.array("B", struct.pack("=IIQI", ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_STATS, 0)))
        count = struct.unpack_from("=I", reply, 16)[0]
        names = ioctl(array.array("B", struct.pack("=III", ETHTOOL_GSTRINGS, ETH_SS_STATS, count) +
                                  bytes(32 * count)))
        values = ioctl(array.array("B", struct.pack("=II", ETHTOOL_GSTATS, count) + bytes(8 * count)))
    return {names[12 + 32 * i:44 + 32 * i].split(b"\0")[0].decode():
            struct.unpack_from("=Q", values, 8 + 8 * i)[0] for i in range(count)}


def down():
    """Remove what up() made; nothing happens if it is not there."""
    for name, (number, *_) in ENDS.items():
        if os.path.exists(f"{BUS}/devices/netdevsim{number}"):
            write(f"{BUS}/del_device", str(number))
        if os.path.exists(f"/run/netns/{name}"):
            run("ip", "netns", "del", name)


def steer(first_queue, ports):
    """The flow to each of these ports arrives on a queue of its own, all else on the others."""
    ethtool = ("ip", "netns", "exec", "rx", "ethtool")
    interface = ENDS["rx"][1]
    run(*ethtool, "-X", interface, "equal", str(first_queue))
    for queue, port in enumerate(ports, first_queue):
        run(*ethtool, "-N", interface, "flow-type", "tcp4", "dst-port", str(port), "action", str(queue))


def move(number, namespace, interface):
    """Put a new netdevsim where it belongs.  udev may be renaming it meanwhile."""
    for attempt in range(50):
        found = glob.glob(f"{BUS}/devices/netdevsim{number}/net/*")
        try:
            if len(found) != 1:
                raise NetsimError(f"netdevsim{number} has {len(found)} interfaces")
            run("ip", "link", "set", os.path.basename(found[0]), "netns", namespace, "name", interface)
            return
        except NetsimError:
            if attempt == 49:
                raise
            time.sleep(0.1)


def up(queues=1, mtu=9000):
    """Make both namespaces and interfaces, and link them."""
    if not os.path.exists(f"{BUS}/new_device"):
        raise NetsimError("this kernel has no netdevsim")
    down()
    fds, link = [], []
    for name, (number, interface, ipv4, ipv6) in ENDS.items():
        run("ip", "netns", "add", name)
        write(f"{BUS}/new_device", f"{number} 1 {queues}")
        move(number, name, interface)
        inside = ("ip", "-n", name)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "link", "set", interface, "mtu", str(mtu))
        run(*inside, "addr", "add", f"{ipv4}/24", "dev", interface)
        run(*inside, "addr", "add", f"{ipv6}/64", "dev", interface, "nodad")
        fds.append(os.open(f"/run/netns/{name}", os.O_RDONLY))
        with Inside(name):
            link.append(f"{fds[-1]}:{socket.if_nametoindex(interface)}")
    write(f"{BUS}/link_device", " ".join(link))
    for name, (_, interface, *_) in ENDS.items():
        run("ip", "-n", name, "link", "set", interface, "up")
    for fd in fds:
        os.close(fd)
    with Inside("rx"):
        header_split(ENDS["rx"][1])


def main(argv):
    opts, rest = getopt.gnu_getopt(argv[1:], "h", ["help", "queues=", "mtu="])
    opts = dict(opts)
    if "--help" in opts or "-h" in opts or rest not in (["up"], ["down"], ["stats"]):
        print(__doc__.strip(), file=sys.stdout if "--help" in opts else sys.stderr)
        return 0 if "--help" in opts else 2
    if rest == ["up"]:
        up(int(opts.get("--queues", 1)), int(opts.get("--mtu", 9000)))
    elif rest == ["down"]:
        down()
    else:
        for name, value in stats().items():
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (NetsimError, OSError, ValueError, getopt.GetoptError) as err:
        sys.exit(f"netsim: {err}")
