#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Draws what scripts/bench and scripts/bench-peers measured, as SVG, and prints it as Markdown tables.

    bench/plot.py BENCH.json [PEERS.json ...] [--out DIRECTORY] [--markdown]

Files are told apart by what is in them: results against a peer name it. In DIRECTORY (without it, the present one):
    bench-limit.svg        fraction of the machine's limit, case by case
    bench-limit-size.svg   the same against length, for families of cases
    bench-blas.svg         speed against the BLAS way
    bench-peers-N.svg      speed against each peer, on N threads
    bench-local-N.svg      time of local attention against length, on N threads, and of attention to all keys
Needs Python 3 alone.
"""
import argparse
import json
import math
import os
import re
from html import escape

COLOURS = ["#1f6feb", "#d1642b", "#2a8f5a", "#8a4fbf", "#b8860b", "#c2347f", "#4b7c8c", "#7a5230", "#6b7280",
           "#8db9f7", "#f0b48f", "#8fd0ae", "#c9a9e6", "#e6cf7a", "#eba4c8", "#a5cbd6", "#c9a98c", "#b6bcc6"]
INK, FAINT, GRID = "#1f2328", "#57606a", "#d8dee4"
FAMILIES = [  # name, pattern of the cases with their length in brackets
    ("dense, D 64", r"bert-b1-s(\d+)|s(2048)-d64|long-s(16k)-h8"),
    ("causal, H 12, D 64", r"gpt2-s(\d+)"),
    ("causal, grouped, D 128", r"llama-prefill-s(\d+)"),
    ("decode, cold", r"decode-t(\d+k)-cold"),
]


class Svg:
    """A drawing on white, in pixels."""

    def __init__(self, width, height, title, subtitle):
        self.width, self.height, self.parts = width, height, []
        self.title = title
        self.text(16, 26, title, size=16, weight="600")
        self.text(16, 45, subtitle, size=11, fill=FAINT)

    def text(self, x, y, string, size=12, anchor="start", fill=INK, weight="400"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
                          f'font-weight="{weight}">{escape(string)}</text>')

    def line(self, x1, y1, x2, y2, stroke=GRID, width=1.0):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" '
                          f'stroke-width="{width}"/>')

    def bar(self, x1, x2, y, height, fill, hint):
        self.parts.append(f'<rect x="{min(x1, x2):.1f}" y="{y:.1f}" width="{max(abs(x2 - x1), 0.6):.1f}" '
                          f'height="{height}" fill="{fill}"><title>{escape(hint)}</title></rect>')

    def dot(self, x, y, fill, hint):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}"><title>{escape(hint)}</title></circle>')

    def path(self, points, stroke):
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{joined}" fill="none" stroke="{stroke}" stroke-width="2"/>')

    def legend(self, names, y):
        """One row of names in their colours; as many rows as need be. Returns the y below it."""
        x = 16
        for i, name in enumerate(names):
            width = 22 + 7 * len(name)
            if x + width > self.width - 16 and x > 16:
                x, y = 16, y + 18
            self.bar(x, x + 12, y, 12, COLOURS[i % len(COLOURS)], name)
            self.text(x + 17, y + 10, name, size=12)
            x += width + 12
        return y + 24

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height:.0f}" '
                       f'viewBox="0 0 {self.width} {self.height:.0f}" role="img" '
                       f'font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif">\n'
                       f'<!-- SPDX-License-Identifier: BSD-3-Clause -->\n<title>{escape(self.title)}</title>\n'
                       f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(self.parts) + "\n</svg>\n")
        print(path)


def legend_height(names, width):
    return Svg(width, 0, "", "").legend(names, 0)


def ticks(low, high, logarithmic):
    if not logarithmic:
        step = next(s for s in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if (high - low) / s <= 8)
        return [low + i * step for i in range(int((high - low) / step + 1.001))]
    return [m * 10**e for e in range(-3, 5) for m in (1, 2, 5) if low <= m * 10**e * 1.0001 and m * 10**e <= high * 1.0001]


def bars(path, title, subtitle, names, groups, origin, form, logarithmic=False):
    """Horizontal bars from origin. groups: [(case, [(index of name, value, low, high)])]; low and high may be None."""
    thick, gap, width = 11, 9, 960
    left = 24 + 6.8 * max(len(case) for case, _ in groups)
    right = width - 64  # room for a value behind the longest bar
    top = 56 + legend_height(names, width) + 18
    values = [v for _, rows in groups for _, *numbers in rows for v in numbers if v is not None]
    low, high = min(values + [origin]), max(values + [origin])
    if logarithmic:
        low, high = min(low / 1.1, origin / 1.25), max(high * 1.1, origin * 1.25)
    else:
        low, high = origin, max(1.0, math.ceil(high * 10) / 10)
    scale = math.log if logarithmic else float

    def at(value):
        return left + (scale(value) - scale(low)) / (scale(high) - scale(low)) * (right - left)

    height = top + sum(len(rows) * thick + gap for _, rows in groups) + 20
    svg = Svg(width, height, title, subtitle)
    svg.legend(names, 56)
    for tick in ticks(low, high, logarithmic):
        svg.line(at(tick), top, at(tick), height - 14)
        svg.text(at(tick), top - 6, f"{tick:g}" if logarithmic else form(tick), size=11, anchor="middle", fill=FAINT)
    y = top + gap / 2
    for case, rows in groups:
        svg.text(left - 8, y + len(rows) * thick / 2 + 4, case, anchor="end")
        for name, value, lowest, highest in rows:
            svg.bar(at(origin), at(value), y + 1, thick - 2, COLOURS[name % len(COLOURS)],
                    f"{case}, {names[name]}: {form(value)}")
            end = max(at(value), at(origin))
            if lowest is not None and highest is not None:
                middle = y + thick / 2
                svg.line(at(lowest), middle, at(highest), middle, INK, 1.2)
                for edge in (at(lowest), at(highest)):
                    svg.line(edge, middle - 3, edge, middle + 3, INK, 1.2)
                end = max(end, at(highest))
            svg.text(end + 5, y + thick - 2, form(value), size=10, fill=FAINT)
            y += thick
        y += gap
    svg.line(at(origin), top, at(origin), height - 14, INK, 1.4)
    svg.write(path)


def times(value):
    return f"{value:.2f}" if value < 10 else f"{value:.3g}"


def by_case(results):
    """{case: [result, ...]} in the order of the file."""
    cases = {}
    for result in results:
        cases.setdefault(result["case"], []).append(result)
    return cases


def length(digits):
    return int(digits[:-1]) * 1024 if digits.endswith("k") else int(digits)


def draw_size(path, results, subtitle):
    """Fraction of the limit against length: a line for each family and number of threads."""
    series = []
    for family, pattern in FAMILIES:
        for threads in sorted({r["threads"] for r in results}):
            points = {}
            for r in results:
                match = re.fullmatch(pattern, r["case"])
                if match and r["threads"] == threads and r.get("limit_fraction"):
                    points.setdefault(length(next(filter(None, match.groups()))), []).append(r["limit_fraction"])
            if len(points) > 1:
                series.append((f"{family}, {threads} thread{'s' if threads > 1 else ''}",
                               sorted((x, max(y)) for x, y in points.items())))
    if not series:
        return
    names = [name for name, _ in series]
    width, left, right, top = 960, 60, 930, 56 + legend_height(names, 960) + 10
    bottom = top + 380
    xs = sorted({x for _, points in series for x, _ in points})
    least, most = math.log2(xs[0]) - 0.3, math.log2(xs[-1]) + 0.3
    highest = max(1.0, max(y for _, points in series for _, y in points))

    def at(x, y):
        return left + (math.log2(x) - least) / (most - least) * (right - left), bottom - y / highest * (bottom - top)

    svg = Svg(width, bottom + 50, "Fraction of the machine's limit against length", subtitle)
    svg.legend(names, 56)
    for tick in ticks(0, highest, False):
        svg.line(left, at(xs[0], tick)[1], right, at(xs[0], tick)[1])
        svg.text(left - 8, at(xs[0], tick)[1] + 4, f"{100 * tick:.0f} %", size=11, anchor="end", fill=FAINT)
    for x in (2**e for e in range(math.ceil(least), math.floor(most) + 1)):
        svg.line(at(x, 0)[0], top, at(x, 0)[0], bottom)
        svg.text(at(x, 0)[0], bottom + 18, f"{x // 1024}k" if x >= 1024 else str(x), size=11, anchor="middle", fill=FAINT)
    svg.text((left + right) / 2, bottom + 38, "keys", anchor="middle")
    for i, (name, points) in enumerate(series):
        svg.path([at(x, y) for x, y in points], COLOURS[i % len(COLOURS)])
        for x, y in points:
            svg.dot(*at(x, y), COLOURS[i % len(COLOURS)], f"{name}, {x} keys: {100 * y:.0f} %")
    svg.write(path)


LOCAL, EVERYWHERE = r"local-p-(step|t32)-s(\d+)", "libattn, all keys"
LOCAL_NAMES = {"step": "80 sequences, 1 query", "t32": "1 sequence, 32 queries"}


def local_series(results):
    """[(name, [(keys, milliseconds)])]: of local attention, and of the same queries looking everywhere."""
    found = {}
    for r in results:
        match = re.fullmatch(LOCAL, r["case"])
        if not match:
            continue
        name, keys = LOCAL_NAMES[match[1]], int(match[2])
        ours = r.get("milliseconds") or r.get("seconds_ours", 0) * 1e3
        if ours:
            found.setdefault(f"{name}: local", {}).setdefault(keys, ours)
        if r.get("peer") == EVERYWHERE and r.get("seconds_peer"):
            found.setdefault(f"{name}: all keys", {})[keys] = r["seconds_peer"] * 1e3
    return [(name, sorted(points.items())) for name, points in found.items() if len(points) > 1]


def draw_local(path, series, subtitle, threads):
    """Time against keys, both by powers."""
    names = [name for name, _ in series]
    width, left, right, top = 960, 70, 930, 56 + legend_height(names, 960) + 10
    bottom = top + 380
    xs, ys = zip(*(point for _, points in series for point in points))
    low, high = math.log(min(ys) / 1.6), math.log(max(ys) * 1.6)
    least, most = math.log2(min(xs)) - 0.3, math.log2(max(xs)) + 0.3

    def at(x, y):
        return (left + (math.log2(x) - least) / (most - least) * (right - left),
                bottom - (math.log(y) - low) / (high - low) * (bottom - top))

    svg = Svg(width, bottom + 50, f"Predictive local attention, 10 keys on either side: time against length, {threads} "
              f"thread{'s' if threads > 1 else ''}", subtitle)
    svg.legend(names, 56)
    for tick in ticks(math.exp(low), math.exp(high), True):
        svg.line(left, at(xs[0], tick)[1], right, at(xs[0], tick)[1])
        svg.text(left - 8, at(xs[0], tick)[1] + 4, time(tick), size=11, anchor="end", fill=FAINT)
    for x in sorted(set(xs)):
        svg.line(at(x, ys[0])[0], top, at(x, ys[0])[0], bottom)
        svg.text(at(x, ys[0])[0], bottom + 18, str(x), size=11, anchor="middle", fill=FAINT)
    svg.text((left + right) / 2, bottom + 38, "keys", anchor="middle")
    for i, (name, points) in enumerate(series):
        svg.path([at(*point) for point in points], COLOURS[i % len(COLOURS)])
        for point in points:
            svg.dot(*at(*point), COLOURS[i % len(COLOURS)], f"{name}, {point[0]} keys: {time(point[1])}")
    svg.write(path)


def draw_locals(results, directory, subtitle):
    for threads in sorted({r["threads"] for r in results}):
        series = local_series(r for r in results if r["threads"] == threads)
        if series:
            draw_local(os.path.join(directory, f"bench-local-{threads}.svg"), series, subtitle, threads)


def draw_bench(results, directory, subtitle):
    counts = sorted({r["threads"] for r in results})
    names = [f"{n} thread{'s' if n > 1 else ''}" for n in counts]
    for file, title, key, origin, form in (
            ("bench-limit.svg", "Fraction of the machine's limit (longer is better)", "limit_fraction", 0,
             lambda v: f"{100 * v:.0f} %"),
            ("bench-blas.svg", "Times as fast as the BLAS way (right of 1 is faster)", "ratio_to_blas_way", 1,
             times)):
        groups = []
        for case, rows in by_case(results).items():
            rows = [(counts.index(r["threads"]), r[key], r.get(key + "_low"), r.get(key + "_high"))
                    for r in rows if r.get(key)]
            if rows:
                groups.append((case, rows))
        if groups:
            bars(os.path.join(directory, file), title, subtitle, names, groups, origin, form, logarithmic=origin == 1)
    draw_size(os.path.join(directory, "bench-limit-size.svg"), results, subtitle)


def draw_peers(results, directory, subtitle):
    peers = list(dict.fromkeys(r["peer"] for r in results))
    for threads in sorted({r["threads"] for r in results}):
        groups = []
        for case, rows in by_case(r for r in results if r["threads"] == threads).items():
            rows = sorted((peers.index(r["peer"]), r["ratio"], r.get("ratio_low"), r.get("ratio_high"))
                          for r in rows if r.get("ratio"))
            if rows:
                groups.append((case, rows))
        if groups:
            bars(os.path.join(directory, f"bench-peers-{threads}.svg"),
                 f"libattn: times as fast as each peer, {threads} thread{'s' if threads > 1 else ''} (right of 1 is faster)",
                 subtitle, peers, groups, 1, times, logarithmic=True)


# ------------------------------------------------------------------------------------------------ Markdown


def table(heading, rows):
    print("| " + " | ".join(heading) + " |")
    print("|" + "|".join("---" if i == 0 else "---:" for i in range(len(heading))) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def number(value, digits=3):
    """With this many digits, and without exponents."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")


def interval(low, median, high):
    return "" if median is None else f"{median:.2f} ({low:.2f} to {high:.2f})" if low is not None else f"{median:.2f}"


def time(milliseconds):
    for unit, factor in (("ms", 1), ("µs", 1e3), ("ns", 1e6)):
        if milliseconds * factor >= 1 or unit == "ns":
            return f"{number(milliseconds * factor)} {unit}"


def memory(size):
    return f"{size / 2**20:.1f} MB" if size >= 2**20 else f"{size / 2**10:.0f} KB"


def markdown_bench(results):
    for threads in sorted({r["threads"] for r in results}):
        print(f"### {threads} thread{'s' if threads > 1 else ''}\n")
        several = any(r.get("scaling") for r in results if r["threads"] == threads)
        heading = ["case", "time", "result", "of the limit", "BLAS way's time / ours", "extra memory"]
        rows = []
        for r in (r for r in results if r["threads"] == threads and r.get("milliseconds")):
            fraction = r.get("limit_fraction")
            rows.append([r["case"], time(r["milliseconds"]),
                         "" if r["unit"] in ("ns", "us") else f"{number(r['value'])} {r['unit']}",
                         f"{100 * fraction:.0f} %" if fraction else "",
                         interval(r["ratio_to_blas_way_low"], r["ratio_to_blas_way"], r["ratio_to_blas_way_high"]),
                         memory(r["extra_bytes"])])
            if several:
                rows[-1].append(interval(r.get("scaling_low"), r.get("scaling"), r.get("scaling_high")))
        table(heading + ["scaling"] * several, rows)


def markdown_peers(results):
    """Case by case: the fastest peer with all that was found of it, then the others' ratios."""
    for threads in sorted({r["threads"] for r in results}):
        print(f"### Against peers, {threads} thread{'s' if threads > 1 else ''}\n")
        rows = []
        for case, peers in by_case(r for r in results if r["threads"] == threads and r.get("ratio")).items():
            peers = sorted(peers, key=lambda r: (not r.get("is_peer", True), r["ratio"]))
            best, *others = peers
            fraction, ours = best.get("limit_fraction"), best.get("name_ours", "libattn")
            rows.append([case if ours == "libattn" else f"{case}, ours being {ours}", best["peer"], interval(best.get("ratio_low"), best["ratio"], best.get("ratio_high")),
                         f"{100 * fraction:.0f} %" if fraction else "",
                         " / ".join(f"{e:.1e}" if e is not None else "?"
                                    for e in (best.get("error_ours"), best.get("error_peer"))),
                         ", ".join(f"{r['peer']} {number(r['ratio'])}" for r in others)])
        table(["case", "fastest peer", "its time / ours", "ours of the limit", "error, ours / its", "the others"], rows)


def markdown_own(results):
    """What was measured of cases besides: tokens, nanoseconds, memory; each with its unit."""
    own = [r for r in results if r.get("ratio") and r.get("is_peer") and r.get("unit") != "GFLOP/s"]
    for threads in sorted({r["threads"] for r in own}):
        print(f"### In their own figures, {threads} thread{'s' if threads > 1 else ''}\n")
        rows = []
        for r in (r for r in own if r["threads"] == threads):
            sizes = [memory(r[key]) if r.get(key) else "" for key in ("extra_bytes_ours", "peak_bytes_peer")]
            rows.append([r["case"], r["peer"], f"{number(r['ours'])} {r['unit']}",
                         f"{number(r['peer_figure'])} {r['unit']}", *(sizes if r.get("peak_bytes_peer") else ("", ""))])
        table(["case", "peer", "ours", "its", "our memory", "its memory"], rows)


def markdown_local(results):
    for threads in sorted({r["threads"] for r in results}):
        series = local_series(r for r in results if r["threads"] == threads)
        if series:
            print(f"### Local attention against length, {threads} thread{'s' if threads > 1 else ''}\n")
            sizes = sorted({keys for _, points in series for keys, _ in points})
            table(["keys", *map(str, sizes)],
                  [[name, *(time(dict(points)[keys]) if keys in dict(points) else "" for keys in sizes)]
                   for name, points in series])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.json")
    parser.add_argument("--out", default=".", metavar="DIRECTORY")
    parser.add_argument("--markdown", action="store_true", help="print tables and draw nothing")
    arguments = parser.parse_args()
    results = []
    for file in arguments.files:
        with open(file, encoding="utf-8") as opened:
            results += json.load(opened)
    bench = [r for r in results if "peer" not in r]
    peers = [r for r in results if "peer" in r]
    machine = next((r for r in results if r.get("cpu")), {})
    subtitle = "; ".join(machine[key] for key in ("cpu", "blas") if machine.get(key))
    if machine.get("version"):
        subtitle = (f"libattn {machine['version']}, float32 where a case names no other type, "
                    f"kernels {machine.get('kernels', '?')}; {subtitle}")
    if arguments.markdown:
        print(subtitle + "\n")
        markdown_bench(bench)
        markdown_peers(peers)
        markdown_own(peers)
        markdown_local(peers + bench)
    else:
        os.makedirs(arguments.out, exist_ok=True)
        draw_bench(bench, arguments.out, subtitle)
        draw_peers(peers, arguments.out, subtitle)
        draw_locals(peers + bench, arguments.out, subtitle)


if __name__ == "__main__":
    main()
