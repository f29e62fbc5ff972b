#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""usage: paths.py USER-DIR [CASE...]     (in the guest; a job of kit/tests.list)

The sample programs on the paths that a smooth transfer never takes.  Each test is
a transfer of a few MiB like that of demo.py, with all that is checked there, and
with a look at the receiver's own figures, which have to show that the path was
really taken.  Prints TAP.  CASE is the name of a class below (default: all of them).
"""
import os
import re
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import demo  # noqa: E402
import netsim  # noqa: E402

MIB = 1 << 20


class Case(demo.Demo):
    """One transfer.  What differs from the demo is said by the subclass."""
    options = {}        # of demo.py
    count = 1           # of queues
    shape = ()          # arguments of `tc qdisc ... netem` for the sender's side
    status = 0          # of the receiver

    def __init__(self, programs, path):
        super().__init__({**demo.DEFAULTS, "--limit": "120", **self.options}, programs, path, self.count)

    def prepare(self):
        for side, interface in (("rx", "rx0"), ("tx", "tx0")):
            netsim.run("ip", "-n", side, "link", "set", interface, "mtu", self.opts["--mtu"])
        if self.shape:
            netsim.run("ip", "netns", "exec", "tx", "tc", "qdisc", "replace", "dev", "tx0", "root",
                       "netem", "limit", "10000", *self.shape)
        super().prepare()

    def show(self):
        shown = ("bytes_received", "pieces", "receive_requests", "cq_full", "refill_flushes",
                 "alloc_fail_events", "writes", "fragments", "bytes_copied_disk", "time_receive")
        print("# " + " ".join(f"{name}={self.report[name]}" for name in shown), flush=True)

    def taken(self):
        """What is wrong if it went the smooth way."""
        raise NotImplementedError

    def clean_up(self):
        super().clean_up()
        if self.shape:
            netsim.run("ip", "netns", "exec", "tx", "tc", "qdisc", "del", "dev", "tx0", "root")

    def check(self):
        """The problems, as text."""
        try:
            problems = self.run()
            self.show()
            return problems + self.taken()
        except (demo.DemoError, netsim.NetsimError, OSError, KeyError) as error:
            return [f"{type(error).__name__}: {error}"]
        finally:
            self.clean_up()


class CompletionQueueFull(Case):
    """more pieces than the completion queue has room for"""
    options = {"--receiver": "--cq=256 --buf=4096"}

    def start(self, report):
        """The receiver sleeps until so much is waiting that not all of it has room."""
        receiver, sender, deadline = super().start(report)
        receiver.proc.send_signal(signal.SIGSTOP)
        until = time.monotonic() + 10
        while self.nic("dma_bytes") < 300 * 4096 and time.monotonic() < until:
            time.sleep(0.1)
        receiver.proc.send_signal(signal.SIGCONT)
        return receiver, sender, deadline

    def taken(self):
        return [] if self.number("cq_full") else ["the completion queue was never full"]


class RefillRingFull(Case):
    """a refill ring that is smaller than what is returned at a time"""
    options = {"--receiver": "--refill=8 --buf=4096"}

    def taken(self):
        return [] if self.number("refill_flushes") else ["the refill ring was never full"]


class OddSegments(Case):
    """an MTU of 1500 and segments that are no whole blocks: the disk helps to copy"""
    options = {"--mtu": "1500", "--sender": "--segment=0", "--copies": ""}

    def taken(self):
        return [] if self.number("bytes_copied_disk") else ["there were no fragments of blocks"]


class Loss(Case):
    """packets that get lost"""
    shape = ("loss", "2%")

    @staticmethod
    def retransmitted():
        with netsim.Inside("tx"), open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            names, values = [line.split() for line in file if line.startswith("Tcp:")]
        return int(values[names.index("RetransSegs")])

    def prepare(self):
        super().prepare()
        self.retransmitted_before = self.retransmitted()

    def taken(self):
        return [] if self.retransmitted() > self.retransmitted_before else ["nothing had to be sent again"]


class SlowDisk(Case):
    """one write at a time and little memory: the stream waits and nothing is dropped"""
    # A closed window makes the sender cut segments where it likes.
    options = {"--size": "1M", "--receiver": "--depth=1 --buf=4096", "--copies": ""}

    def taken(self):
        problems = []
        # No request is for more than the half of the memory that is for what is not stored.
        wanted = self.number("bytes_received") // (512 << 10)
        if self.number("receive_requests") < wanted:
            problems.append(f"{self.number('receive_requests')} requests instead of {wanted} or more")
        if self.nic("drops") or self.number("alloc_fail_events"):
            problems.append("the NIC ran out of buffers")
        return problems


class Interrupted(Case):
    """SIGINT half way"""
    shape = ("rate", "16mbit")
    sent = False

    def disturb(self, receiver, sender):
        if not self.sent and self.half_way():
            receiver.proc.send_signal(signal.SIGINT)
            self.sent = True

    def run(self):
        self.prepare()
        try:
            self.transfer()
        except demo.DemoError as error:
            self.error = str(error)
        else:
            return ["it went on to the end"]
        return []

    def taken(self):
        problems = []
        received = self.number("bytes_received")
        if not re.search(r"receiver ended with status 130$", self.error):
            problems.append(self.error)
        if not 0 < received < self.size:
            problems.append("it was not in the middle")
        if self.number("pieces_recycled") != self.number("pieces"):
            problems.append("not every buffer came back")
        sender = next(program for program in self.programs if program.name == "sender")
        if sender.wait(time.monotonic() + 20) != 1:
            problems.append("the sender does not know that it failed")
        return problems


class TwoQueuesSlowDisk(SlowDisk):
    """two queues with a half of the memory each: both streams wait for the disk and nothing is dropped"""
    count = 2


class TwoQueuesInterrupted(Interrupted):
    """SIGINT half way, with two queues"""
    count = 2


class AfterAll(Case):
    """and once more, the smooth way, with huge pages"""
    options = {"--area": "udmabuf-huge", "--size": "4M"}

    def taken(self):
        return [] if self.number("cq_full") + self.number("fragments") == 0 else ["it was not smooth"]


CASES = (CompletionQueueFull, RefillRingFull, OddSegments, Loss, SlowDisk, TwoQueuesSlowDisk, Interrupted,
         TwoQueuesInterrupted, AfterAll)


def payload(directory):
    """Real bytes: the head of the largest program that is surely here; an odd number of them."""
    path = os.path.join(directory, "payload")
    with open(os.path.realpath(sys.executable), "rb") as source, open(path, "wb") as file:
        file.write(source.read(3 * MIB + 12345))
    if os.path.getsize(path) < 2 * MIB:
        raise demo.DemoError("the interpreter is too small a file to send")
    return path


def main(argv):
    cases = [case for case in CASES if case.__name__ in argv[2:] or not argv[2:]]
    if len(argv) < 2 or len(cases) != (len(argv[2:]) or len(CASES)):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    failed = 0
    print(f"TAP version 13\n1..{len(cases)}", flush=True)
    with open("/proc/sys/vm/nr_hugepages", "w", encoding="ascii") as file:
        file.write("4")
    with tempfile.TemporaryDirectory() as directory:
        path = payload(directory)
        demo.network(int(demo.DEFAULTS["--mtu"]))
        for number, case in enumerate(cases, 1):
            problems = case(argv[1], path).check()
            for problem in problems:
                print(f"# {problem}")
            failed += bool(problems)
            print(f"{'not ok' if problems else 'ok'} {number} {case.__doc__}", flush=True)
        netsim.down()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
