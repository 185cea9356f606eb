# SPDX-License-Identifier: BSD-3-Clause
"""own_memory.py: how much an entrant's resident memory grows beyond inputs and outputs while it computes a case once:
what it saves for its backward pass, and all it takes on the way. Run in a process of its own, which does nothing else:

    own_memory.py CASE ENTRANT THREADS LIMITS        prints bytes

The entrant has run twice before, so that what compilers and libraries take for good is not counted; what the C library
keeps is given back to the system, and the high-water mark is set back (where the system allows it, as Linux does)."""

import ctypes
import gc
import os
import subprocess
import sys
from pathlib import Path

_limits = None


def use(limits):
    """Which library of limits the processes are to load."""
    global _limits
    _limits = limits


def measure(case, entrant, threads):
    """Bytes; None where it cannot be measured."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, str(Path(__file__).resolve()), case, entrant, str(threads), _limits],
                          env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


def status(name):
    """VmRSS, or VmHWM, its highest. Not getrusage's, which begins with that of the process this one came from."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name + ":"))


def growth(entrant):
    """Peak less beginning, less the outputs."""
    for _ in range(2):
        made = entrant.call()[1]
    outputs = sum(array.nbytes for array in entrant.read(made).values()) if entrant.peer else 0  # ours are there before
    made = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = status("VmRSS")
    made = entrant.call()[1]
    return max(status("VmHWM") - before - outputs, 0)


def main():
    from cases import CASES, Data
    from measure import Limits
    from ours import Libattn  # before PyTorch, for its BLAS

    case, entrant, threads, limits = sys.argv[1:]
    data = Data(next(c for c in CASES if c.name == case))
    if entrant.startswith("libattn"):
        made = Libattn(Limits(limits, int(threads)), int(threads)).entrant(entrant, data)
    else:
        import with_torch

        with_torch.start(int(threads))
        made = dict(with_torch.peers(data))[entrant]()
    # The peers' workspace grows as they run; ours was asked for before, and belongs to the same sum.
    print(growth(made) + (0 if made.peer else made.extra_bytes))


if __name__ == "__main__":
    main()
