# SPDX-License-Identifier: BSD-3-Clause
"""measure.py: time, in rounds. Every round takes each entrant once, forwards in one round and backwards in the next
(A B B A), with the machine's limits among them, so that what drifts drifts for all. Figures are medians over rounds,
ratios medians of the ratios within a round, with a bootstrap interval of 95 %."""

import ctypes
import gc
import time
from dataclasses import dataclass, field

import numpy as np

PAUSE = 0.002  # before each sample: threads that spin when a call returns have come to rest by then


class Missing(Exception):
    """A peer that this machine has not, or that could not be installed: the sentence says why."""


class Limits:
    """bench/limits.c and call.c"""

    def __init__(self, path, threads):
        self.lib, self.threads = ctypes.CDLL(path), threads
        for name in ("attn_bench_fma_peak", "attn_bench_stream_read", "attn_bench_call"):
            getattr(self.lib, name).restype = ctypes.c_double

    # Medians of short bursts, as a sample of an entrant is one of short calls.
    def peak(self):
        burst = lambda: self.lib.attn_bench_fma_peak(self.threads, ctypes.c_double(0.002))
        return sorted(burst() for _ in range(5))[2]

    def stream(self, size):
        burst = lambda: self.lib.attn_bench_stream_read(self.threads, ctypes.c_size_t(size), ctypes.c_double(0.002))
        return sorted(burst() for _ in range(5))[2]

    def repeat(self, function, first, second, times):
        """Seconds a call of a C function of two pointers, without Python between the calls."""
        seconds = self.lib.attn_bench_call(function, first, second, ctypes.c_int64(times))
        if seconds < 0:
            raise RuntimeError("a repeated call failed")
        return seconds

    def tokens(self, append, forward, memory, mechanism, keys, values, args):
        """attn_bench_tokens, without Python between the calls."""
        if self.lib.attn_bench_tokens(append, forward, memory, mechanism, keys, values, args,
                                      ctypes.c_int64(len(args))) != 0:
            raise RuntimeError("a call failed while decoding")


@dataclass
class Entrant:
    """Something that computes the case. calls are used in turn, one for each set of inputs; read makes a NumPy array
    [B, H, Tq, Dv] of what a call returned, or a dict of gradients by name. before runs ahead of each call, and is not
    timed. batch: a call of the entrant computes the case this many times."""

    name: str
    calls: list
    read: object
    backend: str = ""
    peer: bool = True
    share: float = 1.0  # of its time, which is what counts
    same_inputs: bool = True  # as the others, so that its output can be judged
    timer: object = None  # instead of calls: returns seconds
    batch: int = 1
    before: object = None
    extra_bytes: object = None  # beside inputs and outputs, where that is known
    times: dict = field(default_factory=dict)  # round: seconds
    next: int = 0
    repeats: int = 1
    seconds: float = 0.0  # of one call, at first

    def call(self):
        """Returns the seconds that it took, and what it made."""
        call = self.calls[self.next % len(self.calls)]
        self.next += 1
        if self.before:
            self.before()
        start = time.perf_counter()
        made = call()
        return time.perf_counter() - start, made

    def calibrate(self, sample_seconds):
        """How many calls make one sample. The entrant has run before, and seconds says how long that took."""
        if self.timer or self.seconds > sample_seconds:
            return
        self.seconds = self.call()[0]
        if self.seconds < sample_seconds:
            self.seconds = max(min(self.seconds, self.call()[0]), 1e-7)
        self.repeats = max(1, int(sample_seconds / self.seconds))

    def sample(self):
        """Seconds of one computation: the median of single calls, or the mean of calls too short for the clock."""
        time.sleep(PAUSE)
        if self.timer:
            return self.timer() * self.share
        if self.seconds < 0.2:
            self.call()
        if self.seconds < 50e-6 and not self.before:
            start = time.perf_counter()
            for _ in range(self.repeats):
                self.calls[self.next % len(self.calls)]()
                self.next += 1
            return (time.perf_counter() - start) / self.repeats / self.batch * self.share
        return float(np.median([self.call()[0] for _ in range(self.repeats)])) / self.batch * self.share


FEWEST = 3  # rounds of an entrant whose budget does not suffice for more


def rounds(entrants, limits, stream_size, count, least, budget, sample_seconds):
    """Fills the entrants' times; returns the peak and the stream of each round. Each entrant has a budget of its own,
    in seconds: one that has spent it and has had the least number of rounds sits out; so does one that has spent twice
    as much, after FEWEST rounds. The first entrant never sits out, and all ends when it is alone."""
    for entrant in entrants:
        entrant.calibrate(sample_seconds)
    peaks, streams, spent = [], [], [0.0] * len(entrants)
    done = lambda index, number: spent[index] > budget and number >= least or \
        spent[index] > 2 * budget and number >= min(FEWEST, least)
    gc.collect()
    gc.disable()
    try:
        for number in range(count):
            if all(done(index, number) for index in range(1 if len(entrants) > 1 else 0, len(entrants))):
                break
            order = range(len(entrants)) if number % 2 == 0 else range(len(entrants) - 1, -1, -1)
            for index in order:
                if index > 0 and done(index, number):
                    continue
                began = time.perf_counter()
                entrants[index].times[number] = entrants[index].sample()
                spent[index] += time.perf_counter() - began
            peaks.append(limits.peak())
            streams.append(limits.stream(stream_size))
    finally:
        gc.enable()
    return peaks, streams


def ratio(of, to):
    """of's time over to's: the median over the rounds that both were in, and its 95 % interval."""
    both = sorted(set(of.times) & set(to.times))
    ratios = np.array([of.times[number] / to.times[number] for number in both])
    picks = np.random.default_rng(0).integers(0, len(ratios), (2000, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], 1), (2.5, 97.5))
    return float(np.median(ratios)), float(low), float(high), len(both)


def median(entrant):
    return float(np.median(list(entrant.times.values())))
