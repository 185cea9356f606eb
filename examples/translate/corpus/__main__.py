# SPDX-License-Identifier: BSD-3-Clause
"""Makes train.tsv, dev.tsv and test.tsv of real text.

    python3 -m corpus messages FOLDER PATH...    of message catalogues, English to French: files, or folders with them
    python3 -m corpus paragraphs FOLDER PATH...  the same, but paragraphs are not cut into sentences: longer pairs
    python3 -m corpus sounds FOLDER PATH         of the CMU Pronouncing Dictionary, letters to phonemes

FOLDER gets the files and report.txt, which is printed too; scripts/corpus says where the text comes from.
"""
import os
import sys

from . import clean, report, sounds, split
from .catalogue import CatalogueError, read_catalogue

HELD_OUT = {"messages": 0.03, "paragraphs": 0.03, "sounds": 0.02}
LISTS = ("iso_", "iso-", "xkeyboard")  # catalogues that are lists of names


def catalogues(paths):
    """Every .mo below the paths that is for French or was named itself; of those of one name the first, as where a package
    is installed as well as downloaded."""
    found = {}
    for path in paths:
        inside = [path] if os.path.isfile(path) else [
            os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names
            if name.endswith(".mo") and "/fr/" in os.path.join(folder, name)]
        for file in sorted(inside):
            if not os.path.basename(file).startswith(LISTS):
                found.setdefault(os.path.basename(file), file)
    return [found[name] for name in sorted(found)]


def of_messages(paths, whole):
    files = catalogues(paths)
    if not files:
        raise CatalogueError(f"there is no French message catalogue below {', '.join(paths)}")
    for file in files:
        for message in read_catalogue(file):
            yield from clean.clean(*message, whole)


def make(kind, folder, paths):
    """Writes the files; returns the report's lines."""
    if kind == "sounds":
        candidates, reasons, key = sounds.pairs(sounds.read_dictionary(paths[0])), sounds.RULES, sounds.key
    else:
        candidates, reasons, key = of_messages(paths, kind == "paragraphs"), clean.RULES, split.key
    seen, kept, dropped = 0, [], dict.fromkeys(reasons, 0)
    for source, target, rule in candidates:
        seen += 1
        if rule is None:
            kept.append((source, target))
        else:
            dropped[rule] += 1
    if not kept:
        raise CatalogueError(f"of {seen} pairs none is fit to learn from")
    parts, dropped_too = split.split(kept, HELD_OUT[kind], key)
    lines = report.sizes(parts) + ["", f"of {seen:,} pairs:"] + report.drops(
        seen, {**dropped, **dropped_too}, {**reasons, **split.RULES})
    report.write_parts(folder, parts)
    report.write(folder, "report.txt", lines)
    return lines


def main(arguments):
    if arguments in (["--help"], ["-h"]):
        print(__doc__.strip())
        return 0
    if len(arguments) < 3 or arguments[0] not in HELD_OUT or (arguments[0] == "sounds" and len(arguments) > 3):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        print("\n".join(make(arguments[0], arguments[1], arguments[2:])))
    except (CatalogueError, sounds.DictionaryError, OSError) as error:
        print(f"corpus: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
