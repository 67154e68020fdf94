"""The measurements of rest.sh."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import measure

tier, archive_limit, data, work, runs = *sys.argv[1:5], int(sys.argv[5])
NOW = "2027-01-01T00:00:00Z"


def median(command, prepare=lambda: None, times=runs):
    """Wall seconds, CPU seconds and peak MiB, the first run left out."""
    figures = []
    for _ in range(times + 1):
        prepare()
        figures.append(measure.run(command))
    return [statistics.median(column) for column in zip(*figures[1:])]


def show(what, figures, rate="", target=""):
    wall, cpu, peak = figures
    print(f"{what:38}{wall * 1000:9,.1f}{cpu * 1000:9,.1f}{peak:9.0f}  {rate:22}{target}", flush=True)


def files(folder):
    return sum(name.endswith(".parquet") for _, _, names in os.walk(folder) for name in names)


# Of milliseconds, one in a few is somebody else's.
often = 10 * runs
size = os.path.getsize(os.path.realpath(tier)) / 1e6
print(f"medians of {runs} runs, of short ones {often}; {measure.machine()}; tier is {size:.0f} MB\n")
print(f"{'':38}{'ms':>9}{'CPU ms':>9}{'MiB':>9}  {'':22}target")
show("tier --help", median([tier, "--help"], times=often), target="10 ms")
question = "SELECT min(ts) FROM events WHERE tenant_id = 'tenant-07'"
answer = subprocess.run([tier, "query", "--archive", f"{data}/cells", question], check=True, capture_output=True, text=True)
assert answer.stdout.splitlines()[1], "there is no such tenant"
asked = [tier, "query", "--archive", f"{data}/cells", question]
show("from the catalog, 36,500 files", median(asked, times=often), target="30 ms")

rules = f"{data}/bundles.toml"
plan = [tier, "lifecycle", "plan", "--archive", f"{work}/catalog", "--config", rules, "--now", NOW]
show("lifecycle plan, 10M files all due", median(plan), target="5 s")


def codec(archive):
    """Seconds to decode the bundles and to encode them as they are, by the libraries alone on two threads."""
    bundles = Path(f"{archive}/_bundles").rglob("*.parquet")
    limits = [json.loads(subprocess.run([archive_limit, bundle], check=True, capture_output=True).stdout) for bundle in bundles]
    return sum(limit["decode_s"] + limit["encode_s"] for limit in limits)


def bundling(name, what):
    """Bundles a copy of an archive, and says what the codec alone takes of that."""
    archive, size = f"{work}/{name}", measure.tree_bytes(f"{data}/{name}/events")

    def unbundled():
        shutil.rmtree(archive, ignore_errors=True)
        shutil.copytree(f"{data}/{name}", archive)

    apply = [tier, "lifecycle", "apply", "--archive", archive, "--config", rules, "--now", NOW, "--yes", "--max-cost", "1",
             "--quiet"]
    figures = median(apply, unbundled)
    rate = f"{size / 1e6 / figures[0]:.0f} MB/s of {size / 1e6:.0f}"
    show(f"bundling, {what}", figures, rate, "200 MB/s, or near the codec's limit")
    alone = statistics.median(codec(archive) for _ in range(runs))
    print(f"{'  the codec alone, on two threads':38}{alone * 1000:9,.1f}{'':20}{alone / figures[0]:.2f} of the time")


bundling("large", "8,000,000 rows of a month")
bundling("months", "8,160,000 of four")

objects = files(f"{data}/cells/events")
for name, more in (("tier verify, MinIO", []), ("tier verify --read all, MinIO", ["--read", "all"])):
    figures = median([tier, "verify", "--archive", "s3://bench/cells", "--quiet", *more])
    show(name, figures, f"{objects / figures[0]:,.0f} objects/s", "2,000 objects/s" if not more else "")
