# SPDX-License-Identifier: BSD-3-Clause
"""process.py: one process of the benchmark: all entrants at one number of threads, case after case. Started by
__main__.py; prints a line of JSON for each figure and one more when a case is done."""

import argparse
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback

arguments = argparse.ArgumentParser()
arguments.add_argument("--threads", type=int, required=True)
arguments.add_argument("--limits", required=True)
arguments.add_argument("--rounds", type=int, required=True)
arguments.add_argument("--budget", type=float, required=True)
arguments.add_argument("--sample", type=float, required=True)
arguments.add_argument("--patience", type=float, required=True)
arguments.add_argument("cases", nargs="+")
options = arguments.parse_args()

# Before anything is imported that counts CPUs or reads its environment.
cpus = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, set(cpus[-options.threads:]))
os.environ.update({
    "OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads), "OMP_WAIT_POLICY": "passive",
    "OPENBLAS_NUM_THREADS": str(options.threads),
    "OPENBLAS_THREAD_TIMEOUT": "18",  # 2^18 cycles: its threads, too, shall not spin into the next entrant's time
    "TORCHINDUCTOR_COMPILE_THREADS": "1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2",
    "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if options.threads > 1 else 'false'} "
                 f"intra_op_parallelism_threads={options.threads}"})

# libattn first: it then has the BLAS that it was linked with, whatever the others bring.
from ours import Libattn
from cases import CASES, Data
from measure import Limits, Missing, median, ratio, rounds
import own_memory
import reference

output = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what a peer prints is no figure


def say(**what):
    output.write(json.dumps(what) + "\n")


def load(versions):
    """The peers' modules. One that is missing is a failure of every case."""
    modules = {}
    for name in ("torch", "vllm", "ggml", "onnx", "openvino", "jax"):
        try:
            module = importlib.import_module(f"with_{name}")
            versions[name] = module.start(options.threads)
            modules[name] = module
        except Missing as why:
            say(failed=name, why=str(why))
        except Exception as error:
            say(failed=name, why=describe(error))
    return modules


def describe(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


class Impatient(BaseException):
    """No Exception: what a peer catches is not its time."""


def lose_patience(*_):
    raise Impatient


signal.signal(signal.SIGALRM, lose_patience)


def make(data, ours, modules, absent):
    """All entrants that the case has, run once and checked; what failed or was left out goes to absent by name."""
    judge, ready, errors = reference.make(data), [], {}

    def admit(name, factory):
        signal.setitimer(signal.ITIMER_REAL, options.patience)
        try:
            entrant = factory()
            if isinstance(entrant, str):
                absent[name] = {"left_out": entrant}
                return
            entrant.call()  # compiles, allocates
            entrant.next = 0
            entrant.seconds, result = entrant.call()
            signal.setitimer(signal.ITIMER_REAL, 0)
            errors[entrant.name] = judge.errors(entrant.read(result)) if entrant.same_inputs else (None, None)
            entrant.errors_each = getattr(judge, "each", None)
            ready.append(entrant)
        except Impatient:
            absent[name] = {"left_out": f"it was not ready after {options.patience:.0f} s"}
        except Exception as error:
            traceback.print_exc()
            absent[name] = {"failed": describe(error)}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    for name, factory in ours.entrants(data):
        admit(name, factory)
    for module in modules.values():
        if data.case.kind in module.KINDS and data.case.dtype in module.DTYPES:
            for name, factory in module.peers(data):
                admit(name, factory)
    return ready, errors


def run(case, ours, modules, limits, versions):
    data, absent = Data(case), {}
    entrants, errors = make(data, ours, modules, absent)
    common = {"case": case.name, "threads": options.threads}
    if not entrants or entrants[0].peer or "failed" in absent.get("libattn", {}):
        say(**common, peer="libattn", ratio=None, failed=absent.get("libattn", {}).get("failed", "?"))
        return
    stream_size = case.footprint * len(data.sets)
    peaks, streams = rounds(entrants, limits, stream_size, options.rounds, min(case.least_rounds, options.rounds),
                            options.budget, options.sample)
    first = entrants[0]
    least = {n: case.limit(peaks[n], streams[n])[0] for n in first.times}
    fractions = sorted(least[n] / first.times[n] for n in first.times if least[n])
    peak, stream = sorted(peaks)[len(peaks) // 2], sorted(streams)[len(streams) // 2]
    figure, unit = case.unit(median(first))
    common.update(ours=figure, name_ours=first.name, dtype=case.dtype.name, unit=unit,
                  limit=case.limit(peak, stream)[1], peak_gflops=peak, peak_low=min(peaks), peak_high=max(peaks),
                  stream_gbs=stream,
                  limit_fraction=fractions[len(fractions) // 2] if fractions else None,
                  error_ours=errors[first.name][0], error_ours_max=errors[first.name][1], seconds_ours=median(first),
                  backend_ours=first.backend, errors_ours=first.errors_each, extra_bytes_ours=first.extra_bytes)
    if case.own_memory:
        common["peak_bytes_ours"] = own_memory.measure(case.name, first.name, options.threads)
    if unit == "GFLOP/s":
        common["gflops_ours"] = figure
    if case.is_additive:
        common["peak_flops_per_element"] = median(first) * peak * 1e9 / case.elements
    for entrant in entrants[1:]:
        middle, low, high, count = ratio(entrant, first)
        theirs = case.unit(median(entrant))[0]
        memory = None
        if case.own_memory and entrant.peer:
            memory = own_memory.measure(case.name, entrant.name, options.threads)
        say(**common, peer=entrant.name, is_peer=entrant.peer, ratio=middle, ratio_low=low, ratio_high=high,
            rounds=count, peer_figure=theirs, **({"gflops_peer": theirs} if unit == "GFLOP/s" else {}),
            error_peer=errors[entrant.name][0], error_peer_max=errors[entrant.name][1], backend=entrant.backend,
            errors_peer=entrant.errors_each, extra_bytes_peer=entrant.extra_bytes, peak_bytes_peer=memory,
            seconds_peer=median(entrant), versions=versions)
    for name, why in absent.items():
        say(**common, peer=name, is_peer=not name.startswith("libattn"), ratio=None, **why)


def quiet(limits):
    """Whether this process has its CPUs to itself: with the peaks of one thread and of all, in GFLOP/s."""
    alone = Limits(options.limits, 1)
    one, every = (max(of.peak() for _ in range(20)) for of in (alone, limits))
    typical = sorted(limits.peak() for _ in range(20))[10]
    return {"one": one, "all": every, "quiet": typical > 0.93 * options.threads * one}


def main():
    own_memory.use(options.limits)
    limits = Limits(options.limits, options.threads)
    ours = Libattn(limits, options.threads)
    versions = {"libattn": ours.versions()}
    modules = load(versions)
    say(versions=versions, engine=ours.about, quiet=quiet(limits))
    by_name = {case.name: case for case in CASES}
    for name in options.cases:
        say(started=name)
        try:
            run(by_name[name], ours, modules, limits, versions)
        except Exception as error:  # of the benchmark itself
            traceback.print_exc()
            say(case=name, threads=options.threads, peer="all", ratio=None, failed=describe(error))
        for module in modules.values():
            module.finish()
        gc.collect()
        say(done=name)


main()
sys.stdout.flush()
