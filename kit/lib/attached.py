# SPDX-License-Identifier: GPL-2.0
"""Programs that end with us, and that can end what they have started before that."""
import signal
import subprocess
import sys


def call(command):
    """subprocess.call(), which would kill the program if we are ended: its children would stay."""
    old = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as proc:
            try:
                return proc.wait()
            except BaseException:
                proc.terminate()
                raise
    finally:
        signal.signal(signal.SIGTERM, old)
