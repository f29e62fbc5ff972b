# SPDX-License-Identifier: GPL-2.0
"""The QEMU devices of kit/vm: disks, peer-to-peer memory, IOMMU.

Topology without a switch: every NVMe controller and the ivshmem device have a
root port of their own.  With --p2p=switch all of them sit behind one PCIe
switch, so that peer-to-peer traffic does not have to reach the host bridge.
"""
import ctypes
import mmap
import os
import re
import time

P2P_SIZE = 256 << 20
SUFFIX = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text):
    """'512M' -> bytes; ValueError on anything that is no size."""
    match = re.fullmatch(r"(\d+)([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if not match or not int(match.group(1)):
        raise ValueError(f"'{text}' is not a size (use 512M, 1G, ...)")
    return int(match.group(1)) * SUFFIX[match.group(2).upper()]


def parse_disks(text):
    """'1G,512M:mdts=5:logical_block_size=4096' -> [(bytes, {property: value})]"""
    disks = []
    for item in text.split(",") if text not in ("", "0", "none") else []:
        size, *props = item.split(":")
        for prop in props:
            if not re.fullmatch(r"[\w.-]+=[\w.-]+", prop):
                raise ValueError(f"'{prop}' is not PROPERTY=VALUE")
        if not re.fullmatch(r"[1-9]?", dict(prop.split("=", 1) for prop in props).get("paths", "")):
            raise ValueError(f"'{item}': paths is a number from 1 to 9")
        size = parse_size(size)
        if size < 1 << 20:
            raise ValueError(f"a disk of '{item}' is too small (1M or more)")
        disks.append((size, dict(prop.split("=", 1) for prop in props)))
    return disks


def iommu_args(mode):
    """QEMU arguments and kernel parameters of an IOMMU mode."""
    if mode == "off":
        return [], ["vfio.enable_unsafe_noiommu_mode=1"]
    kernel = ["intel_iommu=on", "vfio_iommu_type1.allow_unsafe_interrupts=1"]
    kernel += {
        "pt": ["iommu=pt"],
        "lazy": ["iommu=nopt", "iommu.strict=0"],
        "strict": ["iommu=nopt", "iommu.strict=1"],
    }[mode]
    # Four levels of page tables, as servers have
    return ["-device", "intel-iommu,aw-bits=48"], kernel


def tsc_khz():
    """Frequency of the processor's time stamp counter, or None.

    QEMU without KVM hands the host's counter to the guest, which then measures
    it against timers that run late on a busy host: time runs several times too
    fast.  Measured here and passed on, it is right.
    """
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex("0f3148c1e2204809d0c3"))      # rdtsc; rax |= rdx << 32; ret
        rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    except (OSError, ValueError):
        return None

    def sample():
        """(counter, ns) taken close together."""
        best = None
        for _ in range(20):
            before, counter, after = time.monotonic_ns(), rdtsc(), time.monotonic_ns()
            if best is None or after - before < best[0]:
                best = (after - before, counter, (before + after) // 2)
        return best[1:]
    first = sample()
    time.sleep(0.2)
    last = sample()
    return (last[0] - first[0]) * 1000000 // (last[1] - first[1])


class Ports:
    """Hands out one bus per device."""

    def __init__(self, switch):
        self.switch = switch
        self.args = []
        self.count = 0
        if switch:
            self.args += ["-device", "pcie-root-port,id=kit_root,bus=pcie.0,chassis=100,slot=100",
                          "-device", "x3130-upstream,id=kit_up,bus=kit_root"]

    def new(self):
        number = self.count
        self.count += 1
        name = f"kit_port{number}"
        if self.switch:
            port = f"xio3130-downstream,id={name},bus=kit_up"
        else:
            port = f"pcie-root-port,id={name},bus=pcie.0"
        self.args += ["-device", f"{port},chassis={number + 1},slot={number + 1}"]
        return name


def controller_args(number, props, ports):
    """The controller of a disk; with paths=N so many of them that share its namespace."""
    paths = int(props.pop("paths", "1"))
    if paths == 1:
        extra = "".join(f",{key}={value}" for key, value in props.items())
        return ["-device", f"nvme,drive=kit_disk{number},bus={ports.new()}{extra}"]
    block = {key: props.pop(key) for key in ("logical_block_size", "physical_block_size") if key in props}
    serial = props.pop("serial")
    args = ["-device", f"nvme-subsys,id=kit_subsys{number},nqn=kit{number}"]
    for path in range(paths):
        extra = "".join(f",{key}={value}" for key, value in props.items())
        args += ["-device", f"nvme,id=kit_ctrl{number}_{path},subsys=kit_subsys{number},serial={serial},"
                            f"bus={ports.new()}{extra}"]
    extra = "".join(f",{key}={value}" for key, value in block.items())
    return args + ["-device", f"nvme-ns,drive=kit_disk{number},bus=kit_ctrl{number}_0,nsid=1,shared=on{extra}"]


def disk_file(name, size, directory):
    """The -drive argument of a new, empty disk."""
    path = os.path.join(directory, f"{name}.raw")
    with open(path, "wb") as disk:
        disk.truncate(size)
    return f"format=raw,cache=unsafe,discard=unmap,file={path.replace(',', ',,')}"


def device_args(disks, p2p, nic, directory, virtio=()):
    """QEMU arguments of the disks (created in directory), the P2P memory and the NIC's function."""
    ports = Ports(p2p == "switch")
    args = []
    for number, (size, props) in enumerate(disks):
        props = {"serial": f"kit{number}", **props}
        if "logical_block_size" in props:
            props.setdefault("physical_block_size", props["logical_block_size"])
        args += ["-drive", f"if=none,id=kit_disk{number}," + disk_file(f"nvme{number}", size, directory)]
        args += controller_args(number, props, ports)
    for number, (size, props) in enumerate(virtio):
        # Its ring then has DMA addresses, as those of other devices.
        props = {"iommu_platform": "on", "disable-legacy": "on", **props}
        extra = "".join(f",{key}={value}" for key, value in props.items())
        args += ["-drive", f"if=none,id=kit_virtio{number}," + disk_file(f"virtio{number}", size, directory),
                 "-device", f"virtio-blk-pci,drive=kit_virtio{number},bus={ports.new()}{extra}"]
    if p2p != "none":
        args += ["-object", f"memory-backend-ram,id=kit_p2p,size={P2P_SIZE},share=on",
                 "-device", f"ivshmem-plain,memdev=kit_p2p,bus={ports.new()}"]
    if nic:     # any function will do; this one has no driver in Linux
        args += ["-device", f"edu,bus={ports.new()}"]
    return ports.args + args
