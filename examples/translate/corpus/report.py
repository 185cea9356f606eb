# SPDX-License-Identifier: BSD-3-Clause
"""Says what a corpus has become, and writes it."""
import os

LENGTHS = (10, 20, 30, 40, 50, 60)


def rows_of(table):
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) if not at else cell.rjust(width) for at, (cell, width) in
                      enumerate(zip(row, widths))) for row in table]


def sizes(parts):
    """Pairs, tokens and, by length of the source, pairs of each part."""
    names = [f"{most - 9}-{most}" for most in LENGTHS] + [f"{LENGTHS[-1] + 1}+"]
    table = [["part", "pairs", "source tokens", "target tokens"] + names]
    for part in ("train", "dev", "test"):
        counts = [0] * len(names)
        for source, _ in parts[part]:
            counts[min((len(source) - 1) // 10, len(names) - 1)] += 1
        table.append([part] + [f"{number:,}" for number in (len(parts[part]), sum(len(source) for source, _ in parts[part]),
                                                            sum(len(target) for _, target in parts[part]), *counts)])
    return rows_of(table)


def drops(seen, dropped, reasons):
    """How many pairs each rule took, and why."""
    table = [["dropped by", "pairs", "share"]]
    for rule, count in dropped.items():
        table.append([rule, f"{count:,}", f"{100 * count / max(seen, 1):.1f}%"])
    lines = rows_of(table)
    return [lines[0]] + [f"{line}  {reasons[rule]}" for line, rule in zip(lines[1:], dropped)]


def write(folder, name, lines):
    """The file as a whole or not at all."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    scratch = f"{path}.{os.getpid()}.new"
    try:
        with open(scratch, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in lines)
        os.replace(scratch, path)
    finally:
        if os.path.exists(scratch):
            os.remove(scratch)


def write_parts(folder, parts):
    """train.tsv, dev.tsv and test.tsv, as text/pair.h has them: tokens, a tab, tokens."""
    for part, pairs in parts.items():
        write(folder, f"{part}.tsv", (" ".join(source) + "\t" + " ".join(target) for source, target in pairs))
