# SPDX-License-Identifier: BSD-3-Clause
"""__main__.py: what others expect of attention, against the library: the cases of ONNX, PyTorch and Keras, by their own
tolerances. scripts/conformance installs what it needs and runs it:

    conformance [--write docs/conformance.md] [--wrong]     exits with 1 if a case fails, but for roundings

--wrong multiplies every temperature by 1.02, and says how many cases see it."""

import argparse
import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(Path(__file__).resolve().parent)]
os.environ.setdefault("ATTN_LIBRARY", str(ROOT / "build" / "release" / "src" / "libattn.so"))

import attn
import attn._attention
from attn.torch import _function


def all_suites():
    import onnx_cases
    import torch_cases
    import keras_cases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in (onnx_cases, torch_cases, keras_cases):
            yield from module.suites()


def wrong():
    """Every temperature is 2 % off from now on."""
    right = attn._attention.attention

    def attention(*arrays, temperature=1.0, **rule):
        return right(*arrays, temperature=1.02 * temperature, **rule)

    attn.attention = attn._attention.attention = _function._attention.attention = attention


def document(suites):
    about = attn.info()
    lines = [
        "# Conformance", "",
        "What others test their attention with, run against this library through its Python binding, by their own "
        "tolerances. `scripts/conformance` installs them, runs all and writes this page; what a suite's conventions take "
        "to bring to the library's is code of `tests/conformance`.", "",
        f"Written with version {attn.version}, the way of {about['way']}, kernels {about['kernels']}.", "",
        "| suite | passes | the suite's own implementation |", "|---|---|---|"]
    for suite in suites:
        total = len(suite.passed) + len(suite.failed)
        lines.append(f"| {suite.name} | {len(suite.passed)} of {total} | "
                     f"{f'{suite.peers} of {total}' if suite.peers else ''} |")
    told = set()
    for suite in suites:
        if not (suite.notes or suite.failed):
            continue
        lines += ["", f"## {suite.name}", ""]
        if suite.source not in told:
            lines += [f"{suite.source}; {suite.compares}.", ""]
            told.add(suite.source)
        lines += [f"- {note}" for note in suite.notes]
        if suite.failed:
            lines += [*([""] if suite.notes else []), "| fails | because |", "|---|---|"]
            lines += [f"| {name} | {why} |".replace("\n", " ") for name, why in suite.failed.items()]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(prog="conformance")
    parser.add_argument("--write", metavar="FILE", type=Path, help="write the document")
    parser.add_argument("--wrong", action="store_true", help="with attention that is wrong by 2 per cent")
    options = parser.parse_args()
    if options.wrong:
        wrong()
    suites = list(all_suites())
    for suite in suites:
        print(suite.line())
    text = document(suites)
    if options.wrong:
        return 0
    if options.write:
        options.write.write_text(text, encoding="utf-8")
    for suite in suites:
        for name, why in suite.failed.items():
            print(f"  {suite.name}: {name}: {why}")
    return any(suite.failed for suite in suites if suite.exact)


if __name__ == "__main__":
    sys.exit(main())
