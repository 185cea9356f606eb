# SPDX-License-Identifier: BSD-3-Clause
"""__main__.py: libattn beside every other attention for CPUs. Started by scripts/bench-peers, which installs the peers.
One process for each number of threads; a process that dies fails its case, and the cases after it go on in a new one.
Figures are written whenever a case is done."""

import argparse
import json
import os
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

from cases import CASES
from report import progress, table

HERE = Path(__file__).resolve().parent


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench-peers", description="libattn beside its peers.")
    parser.add_argument("--json", metavar="FILE", help="write all figures there, as a list of objects")
    parser.add_argument("--quick", action="store_true", help="fewer cases and rounds: a look, not a measurement")
    parser.add_argument("--case", metavar="NAME", action="append",
                        help="this case only, or those of a pattern such as 'local-p-*'; may be given again: "
                             + ", ".join(case.name for case in CASES))
    parser.add_argument("--threads", type=int, action="append", help="this number only; 1 and 2 if not given")
    parser.add_argument("--rounds", type=int, help="at most; 30, and 7 with --quick")
    parser.add_argument("--budget", type=float,
                        help="seconds for each entrant's rounds of a case, the slow ones' too; 6, and 1 with --quick")
    parser.add_argument("--patience", type=float, default=90,
                        help="seconds for a peer to get ready, which may compile; 90")
    parser.add_argument("--limits", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rounds = options.rounds or (7 if options.quick else 30)
    options.budget = options.budget or (1 if options.quick else 6)
    options.names = [case.name for case in CASES if any(fnmatchcase(case.name, wanted) for wanted in options.case)] \
        if options.case else [case.name for case in CASES if case.quick or not options.quick]
    if not options.names:
        parser.error("no case has that name; --help has the names")
    return options


def write(path, figures):
    """All at once, so that whoever reads finds a whole file."""
    if path:
        partial = Path(f"{path}.partial")
        partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, path)


def measure(threads, names, options, figures):
    """Runs processes until every case is done or has failed."""
    while names:
        command = [sys.executable, str(HERE / "process.py"), "--threads", str(threads), "--limits", options.limits,
                   "--rounds", str(options.rounds), "--budget", str(options.budget),
                   "--patience", str(options.patience),
                   "--sample", "0.004" if options.quick else "0.01", *names]
        current, start = names[0], time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                for line in process.stdout:
                    event = json.loads(line)
                    if "started" in event:
                        current, start = event["started"], time.monotonic()
                    elif "done" in event:
                        names = names[1:]
                        progress(figures, current, threads, time.monotonic() - start)
                        write(options.json, figures)
                    elif "case" in event:
                        figures.append(event)
                    elif "engine" in event:
                        for version in event["versions"].values():
                            print(f"   {version}", flush=True)
                        print(f"   FMA peak {event['quiet']['one']:.0f} GFLOP/s of one thread, "
                              f"{event['quiet']['all']:.0f} of all", flush=True)
                        if not event["quiet"]["quiet"]:
                            print("   The CPUs are busy with something else: these figures are not worth keeping.")
                        if not event["engine"]["blas"]["suits_cpu"]:
                            print(f"   {event['engine']['blas']['advice']}", flush=True)
                    else:
                        print(f"   {event['failed']} is missing: {event['why']}", flush=True)
            except BaseException:
                process.terminate()
                raise
        if names:
            figures.append({"case": current, "threads": threads, "peer": "all", "ratio": None,
                            "failed": f"the process ended with status {process.returncode}"})
            print(f"   {current}: the process ended with status {process.returncode}", flush=True)
            names = names[names.index(current) + 1:]
            write(options.json, figures)


def main():
    options, figures = parse(), []
    threads = [n for n in options.threads or (1, 2) if n <= len(os.sched_getaffinity(0))]
    try:
        for number in threads:
            print(f"\n== {number} thread{'s' if number > 1 else ''}", flush=True)
            measure(number, list(options.names), options, figures)
    except KeyboardInterrupt:
        print("interrupted: what there is")
    write(options.json, figures)
    print(table(figures))
    return 1 if any("failed" in figure for figure in figures) else 0


sys.exit(main())
