"""The measurements of archive.sh."""

import json
import os
import subprocess
import sys
from functools import partial

import measure

here = os.path.dirname(os.path.abspath(__file__))
mode, tier, work, *numbers = sys.argv[1:]
numbers = [int(number) for number in numbers]
used = 0


def generate(rows, tenants, *formats):
    """Makes a day and returns its path without the ending."""
    day = f"{work}/day"
    subprocess.run([sys.executable, f"{here}/gen_day.py", str(rows), str(tenants), day, *formats], check=True)
    return day


def fresh():
    """A folder of its own for each run, until the end: a file system reuses what was just deleted slowly."""
    global used
    used += 1
    return f"{work}/out-{used}"


def archive(source, folder):
    return [tier, "archive", "--quiet", "--archive", folder, source]


def by_peer(name, format, source, folder, *check):
    return [sys.executable, f"{here}/peers.py", name, format, source, folder, *check]


def judge(format, median, sizes):
    """Says which targets were met."""
    times, fastest = {name: wall for name, (wall, _, _) in median.items()}, "duckdb"
    if format != "ndjson":
        fastest = min(("duckdb", "polars"), key=times.get)
    wanted = 2.5 if format == "ndjson" else 1.5
    ratio = times[fastest] / times["tier"]
    smallest = min(size for name, size in sizes.items() if name != "tier")
    verdicts = [
        (f"{wanted} times as fast as {fastest}", f"{ratio:.2f}", ratio >= wanted),
        ("at most 512 MiB", f"{median['tier'][2]:.0f}", median["tier"][2] <= 512),
        ("output no larger than the smallest", f"{sizes['tier'] / smallest:.3f} of it", sizes["tier"] <= smallest),
    ]
    measure.judge("targets", verdicts)


def limit(source):
    """What decoding and encoding alone take; see examples/archive_limit.rs."""
    alone = subprocess.run([f"{os.path.dirname(tier)}/archive_limit", source], check=True, capture_output=True, text=True)
    figures = json.loads(alone.stdout)
    print(f"by the libraries alone, in memory, 2 threads: decoding {figures['decode_s']:.2f} s, encoding as zstd-3 "
          f"{figures['encode_s']:.2f} s")


def beside(rows, runs):
    day = generate(rows, 100)
    lines = sum(1 for _ in open(f"{day}.ndjson", "rb"))
    print(f"{lines:,} rows of one day in 1,000 cells, medians of {runs} runs; {measure.machine()}")
    for format in ("ndjson", "csv", "parquet"):
        source, out = f"{day}.{format}", {}

        def once(name):
            folder = out[name] = fresh()
            peer, *check = name.split(", ")
            command = archive(source, folder) if name == "tier" else by_peer(peer, format, source, folder, *check)
            return measure.run(command)

        names = ("tier", "duckdb", "duckdb, check", "polars", "polars, check")
        median = measure.alternate({name: partial(once, name) for name in names}, runs)
        data = {name: f"{folder}/events" if name == "tier" else folder for name, folder in out.items()}
        sizes = {name: measure.tree_bytes(folder) for name, folder in data.items()}
        print(f"\n{format}, {os.path.getsize(source) / 2**20:,.0f} MiB")
        measure.print_table(median, lines, sizes)
        judge(format, median, sizes)
        if format == "ndjson":
            limit(source)


def growth(all_rows):
    print(f"NDJSON; {measure.machine()}\n")
    print(f"{'rows':>12}{'cells':>8}  {'':8}{'seconds':>9}{'rows/s':>12}{'CPU s':>8}{'peak MiB':>10}{'output MiB':>12}")
    for rows, tenants in [(rows, 100) for rows in all_rows] + [(3_000_000, tenants) for tenants in (1, 2000)]:
        source = f"{generate(rows, tenants, 'ndjson')}.ndjson"
        # What so many files take is the file system's affair too: the others meet the same.
        for name in ("tier", "duckdb", "polars") if tenants == 2000 else ("tier",):
            folder = fresh()
            wall, cpu, peak = measure.run(archive(source, folder) if name == "tier" else by_peer(name, "ndjson", source, folder))
            size = measure.tree_bytes(f"{folder}/events" if name == "tier" else folder)
            print(f"{rows:12,}{10 * tenants:8,}  {name:8}{wall:9.2f}{rows / wall:12,.0f}{cpu:8.1f}{peak:10.0f}"
                  f"{size / 2**20:12.1f}", flush=True)
        os.remove(source)


if mode == "growth":
    growth(numbers)
else:
    beside(*numbers)
