#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: demo.py [options] USER-DIR FILE     (in the guest; started by kit/demo)

Streams FILE over TCP from one network namespace to another, where it is received
into a dma-buf and written from there to a disk, then reads the disk and compares:
once over one connection that arrives on one queue, and once over two, whose queues
own a half of the dma-buf each.  Prints what happened as a table.  Exit status 0 only
if everything is as it has to be, including what the kernel has counted by itself;
else the reasons are printed.

  --queues=N[,N]   the transfers, by their numbers of queues, each 1 or 2 (default: 1,2)
  --disk=DEVICE    the disk, which is overwritten (default: /dev/nvme0n1)
  --area=KIND      where the dma-buf comes from, see receiver --help
  --size=SIZE      size of the dma-buf (default: 16M)
  --mtu=BYTES      of the simulated link (default: 9000)
  --loss=PERCENT   packets that get lost on the way (default: 0)
  --receiver=ARGS  more options for the receiver
  --sender=ARGS    more options for the sender
  --limit=SECONDS  give up after so long (default: 900)
  --copies         do not insist on zero copies, for MTUs that make them necessary
  --break=disk     change one byte on the disk before it is read back
  --break=sender   kill the sender half way
                   (both must make the demo fail)

kit/guest/paths.py runs it in ways that make the programs work hard.
"""
import fcntl
import getopt
import hashlib
import mmap
import os
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import netsim  # noqa: E402

BUFINFO = "/sys/kernel/debug/dma_buf/bufinfo"
BLKZEROOUT = 0x127f     # <linux/fs.h>
PORT = 5555             # of the first connection, the second one has the next
FIRST_QUEUE = 1         # for the first connection; queue 0 gets what does not belong to any
MOST_QUEUES = 2
DEFAULTS = {"--queues": "1,2", "--disk": "/dev/nvme0n1", "--area": "heap", "--size": "16M", "--mtu": "9000",
            "--loss": "0", "--receiver": "", "--sender": "", "--limit": "900", "--break": ""}
COLUMN = 34             # of the table


class DemoError(Exception):
    """Why the demo cannot go on."""


def say(text):
    print(f"demo: {text}", flush=True)


class Program:
    """A program in a namespace whose words are passed on and kept."""

    def __init__(self, namespace, *command):
        self.name = os.path.basename(command[0])
        self.proc = subprocess.Popen(["ip", "netns", "exec", namespace, *command],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self._relay, daemon=True)
        self.thread.start()

    def _relay(self):
        for line in self.proc.stdout:
            self.lines.append(line.rstrip())
            if line.startswith(self.name + ":"):
                print(line, end="", flush=True)

    def said(self, pattern):
        return next((line for line in self.lines if re.search(pattern, line)), None)

    def wait(self, deadline):
        try:
            status = self.proc.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"the {self.name} has not finished in time") from error
        self.thread.join(5)
        return status

    def stop(self):
        if self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()


def attached_devices():
    """What debugfs says about dma-bufs: the devices that use one."""
    try:
        with open(BUFINFO, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    found = []
    for block in re.findall(r"Attached Devices:\n(.*?)Total", text, re.DOTALL):
        found += block.split()
    return sorted(set(found))


def cpu_mappings(pid):
    """How many mappings of dma-bufs a process has; they are files called /dmabuf:NAME."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        return sum(bool(re.search(r" /dmabuf:[^/]*$", line)) for line in file)


def network(mtu):
    """Two namespaces, and in the one that receives a queue for each connection."""
    netsim.up(queues=FIRST_QUEUE + MOST_QUEUES, mtu=mtu)
    netsim.steer(FIRST_QUEUE, range(PORT, PORT + MOST_QUEUES))


def sha256_of(path, size, what):
    """Read into memory of our own, not through the page cache, with progress."""
    digest, done, said = hashlib.sha256(), 0, time.monotonic()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 1 << 20) as data, memoryview(data) as view:
        while done < size:
            count = os.preadv(fd, [data], done)
            if not count:
                break
            digest.update(view[:min(count, size - done)])
            done += count
            if time.monotonic() - said >= 2:
                said = time.monotonic()
                say(f"{what}: {done >> 20} of {size >> 20} MiB read")
    os.close(fd)
    return digest.hexdigest()


def zero(disk, size):
    """What was written before can't be taken for what is written next."""
    fd = os.open(disk, os.O_RDWR)
    size = min((size + 8191) & ~4095, os.lseek(fd, 0, os.SEEK_END))
    fcntl.ioctl(fd, BLKZEROOUT, struct.pack("QQ", 0, size))
    os.close(fd)


def flip_byte(disk, position):
    with open(disk, "r+b", buffering=0) as file:
        block = bytearray(os.pread(file.fileno(), 4096, position & ~4095))
        block[position & 4095] ^= 1
        os.pwrite(file.fileno(), bytes(block), position & ~4095)
        os.fsync(file.fileno())


class Demo:
    """One transfer: connection N arrives on queue FIRST_QUEUE + N."""

    def __init__(self, opts, programs, path, queues):
        self.opts, self.path = opts, path
        self.queues = range(FIRST_QUEUE, FIRST_QUEUE + queues)
        self.size = os.path.getsize(path)
        self.receiver_path = os.path.join(programs, "sample/receiver")
        self.sender_path = os.path.join(programs, "sample/sender")
        self.report, self.seen, self.time = {}, {"devices": [], "mappings": None}, {}
        self.programs = []
        for program in (self.receiver_path, self.sender_path):
            if not os.access(program, os.X_OK):
                raise DemoError(f"{program} was not built")

    @property
    def title(self):
        return "1 queue" if len(self.queues) == 1 else "2 queues, a half each"

    def prepare(self):
        zero(self.opts["--disk"], self.size)
        self.before, self.after = netsim.stats(), None

    def look(self, receiver):
        """While it works: who uses the dma-buf?"""
        devices = attached_devices()
        if len(devices) > len(self.seen["devices"]):
            self.seen["devices"] = devices
        try:
            mappings = cpu_mappings(receiver.proc.pid)
        except OSError:
            return
        self.seen["mappings"] = max(mappings, self.seen["mappings"] or 0)

    def start(self, report):
        deadline = time.monotonic() + float(self.opts["--limit"])
        receiver = Program("rx", self.receiver_path, f"--port={PORT}", f"--queue={self.queues[0]}",
                           f"--queues={len(self.queues)}", f"--area={self.opts['--area']}",
                           f"--size={self.opts['--size']}", f"--report={report}",
                           *shlex.split(self.opts["--receiver"]), "rx0", self.opts["--disk"])
        self.programs.append(receiver)
        while not receiver.said("listening"):
            if receiver.proc.poll() is not None:
                raise DemoError(f"the receiver ended with status {receiver.wait(deadline)}")
            if time.monotonic() > deadline:
                raise DemoError("the receiver does not start")
            time.sleep(0.1)
        sender = Program("tx", self.sender_path, f"--port={PORT}", f"--connections={len(self.queues)}",
                         *shlex.split(self.opts["--sender"]), netsim.ENDS["rx"][2], self.path)
        self.programs.append(sender)
        return receiver, sender, deadline

    def disturb(self, receiver, sender):
        """Called every moment while they work."""
        if self.opts["--break"] == "sender" and self.half_way():
            say("killing the sender, as asked to")
            sender.proc.kill()
            self.opts["--break"] = "done"

    def transfer(self):
        with tempfile.TemporaryDirectory() as directory:
            report = os.path.join(directory, "report")
            receiver, sender, deadline = self.start(report)
            while receiver.proc.poll() is None:
                self.look(receiver)
                self.disturb(receiver, sender)
                if time.monotonic() > deadline:
                    raise DemoError("no end within --limit")
                time.sleep(0.2)
            status = receiver.wait(deadline)
            if os.path.exists(report):
                with open(report, encoding="ascii") as file:
                    self.report = dict(line.strip().split("=", 1) for line in file)
            if status:
                raise DemoError(f"the receiver ended with status {status}")
            status = sender.wait(deadline)
            if status:
                raise DemoError(f"the sender ended with status {status}")
            hashing = sender.said("^time ")
            self.time["hash"] = float(re.search(r"([\d.]+) s to hash", hashing).group(1))
            self.sent = sender.said("^sha256 ").split()[1]
            self.after = netsim.stats()

    def half_way(self):
        return self.nic("dma_bytes") > self.size / 2

    def verify(self):
        if self.opts["--break"] == "disk":
            say("changing one byte on the disk, as asked to")
            flip_byte(self.opts["--disk"], self.size * 2 // 3)
        start = time.monotonic()
        self.stored = sha256_of(self.opts["--disk"], self.size, "verify")
        self.time["verify"] = time.monotonic() - start

    def nic(self, name, queue=None):
        """What the NIC has counted for this transfer so far, on one queue or on ours together."""
        now = self.after or netsim.stats()
        return sum(now[f"rx{each}_{name}"] - self.before[f"rx{each}_{name}"]
                   for each in (self.queues if queue is None else [queue]))

    def number(self, name, queue=None):
        """What the receiver has counted, likewise."""
        return int(self.report[name if queue is None else f"queue{queue}_{name}"])

    def area(self, queue):
        """The part of the dma-buf that a queue owns: from, to."""
        start = self.number("area_start", queue)
        return start, start + self.number("area_size", queue)

    def problems(self):
        """Everything that is not as it has to be."""
        number, found = self.number, []

        def check(good, problem):
            if not good:
                found.append(problem)

        received = number("bytes_received")
        check(self.stored == self.sent, "the file on the disk is not the file that was sent")
        check(number("file_size") == self.size, "the size of the file is wrong")
        check(self.report["sha256"] == self.sent, "the trailer has another checksum")
        check(number("bytes_copied_rx") == 0, "the CPU has copied while receiving")
        check(received == sum(number("bytes_received", queue) for queue in self.queues),
              "the queues have not received as much as they have together")
        for queue in self.queues:
            check(0 < number("bytes_received", queue) <= self.nic("dma_bytes", queue),
                  f"payload did not come by DMA to queue {queue}")
        for one, next_one in zip(self.queues, self.queues[1:]):
            check(self.area(one)[1] == self.area(next_one)[0], "the areas do not follow each other")
        check(self.nic("dma_faults") == 0, "the NIC had DMA faults")
        check(number("pieces_recycled") == number("pieces"), "not every buffer came back")
        check(number("disk_cached_pages") <= 0, "the page cache had a part in it")
        check(self.seen["mappings"] == 0, "the dma-buf was mapped by the CPU, or could not be watched")
        if "--copies" not in self.opts:
            check(number("bytes_copied_disk") == 0, "the CPU has copied on the storage path")
            check(number("bytes_direct") == received, "not all was written from the dma-buf")
            check(number("disk_bytes") == received, "the disk has counted other bytes than were received")
        return found

    def rows(self):
        """(what, value) for the table, the same for every transfer."""
        number = self.number
        size, pieces = number("bytes_received"), number("pieces")
        rate = size / 2**20 / max(float(self.report["time_receive"]) +
                                  float(self.report["time_store_rest"]), 0.001)
        half = len(self.sent) // 2
        yield "Received over TCP into the dma-buf", f"{size:,} bytes"
        for queue in range(FIRST_QUEUE, FIRST_QUEUE + MOST_QUEUES):
            yield f"  by queue {queue}, into which part of it", self.by_queue(queue)
        yield "  copied by the CPU on the receive path", f"{number('bytes_copied_rx'):,} bytes"
        yield "  (netdevsim's simulated DMA engine", f"{self.nic('dma_bytes'):,} bytes)"
        yield "Written to the disk from the dma-buf", f"{number('bytes_direct'):,} bytes"
        yield "  copied by the CPU on the storage path", f"{number('bytes_copied_disk'):,} bytes"
        yield "  pages of the disk in the page cache", (
            self.report["disk_cached_pages"] if number("disk_cached_pages") >= 0 else "not known")
        yield "Write requests / commands, with the flush", (
            f"{number('writes'):,} / {number('disk_commands'):,}")
        yield "Buffers given back to the NIC", f"{number('pieces_recycled'):,} of {pieces:,}"
        yield "The dma-buf was attached to", ", ".join(self.seen["devices"]) or "(not seen)"
        yield "  mapped by the CPU", f"{self.seen['mappings']} times"
        yield "Packets dropped for lack of buffers", f"{self.nic('drops'):,}"
        yield "sha256 of the file that was sent", self.sent[:half]
        yield "", self.sent[half:]
        yield "sha256 of the disk, read back", self.stored[:half]
        yield "", self.stored[half:]
        yield "", "equal" if self.sent == self.stored else "DIFFERENT"
        yield "Time: checksum before sending", f"{self.time['hash']:.1f} s"
        yield "  receive", f"{float(self.report['time_receive']):.1f} s"
        yield "  finish writing after the last byte", f"{float(self.report['time_store_rest']):.2f} s"
        yield "  flush the disk's cache", f"{float(self.report['time_flush']):.2f} s"
        yield "  read back and checksum", f"{self.time['verify']:.1f} s"
        yield "Throughput, TCP to disk (emulated machine)", f"{rate:.1f} MiB/s"

    def by_queue(self, queue):
        if queue not in self.queues:
            return "-"
        start, end = (position / 2**20 for position in self.area(queue))
        return f"{self.number('bytes_received', queue):,} bytes, {start:g}-{end:g} MiB"

    def run(self):
        self.prepare()
        say(f"{self.title}: sending {self.path}, {self.size:,} bytes")
        self.transfer()
        say("everything is on the disk; reading it back")
        self.verify()
        return self.problems()

    def clean_up(self):
        for program in self.programs:
            program.stop()


def table(demos):
    """All transfers next to each other."""
    width = max(len(name) for demo in demos for name, _ in demo.rows()) + 2
    line = "-" * (width + COLUMN * len(demos))
    print("\n" + line + "\n" + " " * width + "".join(f"{demo.title:{COLUMN}}" for demo in demos).rstrip())
    for row in zip(*(demo.rows() for demo in demos)):
        print(f"{row[0][0]:{width}}" + "".join(f"{value:{COLUMN}}" for _, value in row).rstrip())
    print(line + "\n", flush=True)


def transfers(opts, programs, path):
    """One after the other, up to the first that fails; returns the problems."""
    demos, problems = [], []
    try:
        network(int(opts["--mtu"]))
        if float(opts["--loss"]):
            netsim.run("ip", "netns", "exec", "tx", "tc", "qdisc", "add", "dev", "tx0", "root",
                       "netem", "limit", "10000", "loss", f"{opts['--loss']}%")
        say(f"two network namespaces, linked by netdevsim, MTU {opts['--mtu']}, header split on")
        for queues in map(int, opts["--queues"].split(",")):
            demo = Demo(opts, programs, path, queues)
            try:
                problems += [f"{demo.title}: {problem}" for problem in demo.run()]
            finally:
                demo.clean_up()
            demos.append(demo)
            if problems:
                break
    except (DemoError, netsim.NetsimError, OSError) as error:
        problems.append(str(error))
    finally:
        netsim.down()
    if demos:
        table(demos)
    return problems


def main(argv):
    opts, rest = getopt.gnu_getopt(argv[1:], "h", [key[2:] + "=" for key in DEFAULTS] + ["copies", "help"])
    opts = {**DEFAULTS, **dict(opts)}
    if "--help" in opts or "-h" in opts or len(rest) != 2 or \
            opts["--break"] not in ("", "disk", "sender") or not re.fullmatch("[12](,[12])*", opts["--queues"]):
        print(__doc__.strip(), file=sys.stdout if "--help" in opts else sys.stderr)
        return 0 if "--help" in opts else 2
    problems = transfers(opts, *rest)
    for problem in problems:
        say(f"problem: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (DemoError, OSError, ValueError, getopt.GetoptError) as err:
        sys.exit(f"demo: {err}")
