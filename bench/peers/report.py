# SPDX-License-Identifier: BSD-3-Clause
"""report.py: the figures as people read them: a few lines as a case is done, and a table at the end."""


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def memory(size):
    return "-" if size is None else f"{size / 2**20:.1f} MB"


def error(value):
    return "-" if value is None else f"{value:.1e}"


def measured(figures, case, threads):
    """A case's figures, the fastest peer first."""
    return sorted((f for f in figures if (f["case"], f["threads"]) == (case, threads) and f["ratio"] is not None),
                  key=lambda f: f["ratio"])


def progress(figures, case, threads, seconds):
    rows = measured(figures, case, threads)
    if rows:
        first, percent = rows[0], ""
        if first["limit_fraction"] is not None:
            percent = f", {100 * first['limit_fraction']:.0f} % of {first['limit']}"
        whose = "" if first["name_ours"] == "libattn" else f"{first['name_ours']}: "
        print(f"\n{case}: {whose}{number(first['ours'])} {first['unit']}{percent}, error {first['error_ours']:.1e}"
              f" ({first['backend_ours']}; {seconds:.0f} s)")
    for row in rows:
        print(f"   {row['peer']:26s} {number(row['peer_figure']):>6s}   {row['ratio']:6.2f} times our time "
              f"({row['ratio_low']:.2f} .. {row['ratio_high']:.2f}, {row['rounds']} rounds)   "
              f"error {error(row['error_peer']):7s}   {row['backend']}")
    for row in rows:
        if row.get("peak_bytes_peer") is not None:
            print(f"   memory beside inputs and outputs: {memory(row['peak_bytes_peer'])} of {row['peer']}, ours "
                  f"{memory(row['extra_bytes_ours'])}, {memory(row['peak_bytes_ours'])} with what grew besides")
    for row in figures:
        if (row["case"], row["threads"]) == (case, threads) and row["ratio"] is None:
            print(f"   {row['peer']:26s} {'failed: ' + row['failed'] if 'failed' in row else row['left_out']}")
    print(end="", flush=True)


def table(figures):
    """Each case's best peer."""
    lines = ["", f"{'case':30s} {'thr':>3s} {'ours':>7s} {'':14s} {'limit':>6s}  {'best peer':20s} {'theirs':>7s} "
                 f"{'ratio':>6s} {'95 %':>13s} {'error: ours':>12s} {'theirs':>8s}"]
    seen = dict.fromkeys((f["case"], f["threads"]) for f in figures)
    for case, threads in seen:
        rows = [f for f in measured(figures, case, threads) if f["is_peer"]]
        failed = [f["peer"] for f in figures if (f["case"], f["threads"]) == (case, threads) and "failed" in f]
        note = f"   failed: {', '.join(failed)}" if failed else ""
        if not rows:
            lines.append(f"{case:30s} {threads:3d} no peer{note}")
            continue
        best = rows[0]
        limit = "-" if best["limit_fraction"] is None else f"{100 * best['limit_fraction']:.0f} %"
        lines.append(f"{case:30s} {threads:3d} {number(best['ours']):>7s} {best['unit']:14s} {limit:>6s}  "
                     f"{best['peer']:20s} {number(best['peer_figure']):>7s} {best['ratio']:6.2f} "
                     f"{best['ratio_low']:6.2f} ..{best['ratio_high']:5.2f} {best['error_ours']:12.1e} "
                     f"{best['error_peer']:8.1e}{note}")
    return "\n".join(lines)
