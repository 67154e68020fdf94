"""The measurements of counts.sh: counts.py FOLDER_OF_BINARIES WORK."""

import json
import random
import subprocess
import sys
from pathlib import Path

import measure
import pyarrow.parquet

binaries, work = Path(sys.argv[1]), Path(sys.argv[2])
tier, catalog_bench = binaries / "tier", binaries / "examples" / "catalog_bench"
archive = work / "archive"
too_much = []

LARGE_ROWS, SMALL_CELLS = 200_000, 40
CATALOG_FILES = 300_000


def check(what, figure, limit, unit=""):
    above = figure > limit
    if above:
        too_much.append(what)
    print(f"{what:58}{figure:12,.0f}{limit:12,.0f} {unit}{'   TOO MUCH' if above else ''}", flush=True)


def export():
    """One cell that is large, and small ones."""
    chance = random.Random(1)
    path = work / "day.ndjson"
    with open(path, "w") as out:
        for number in range(LARGE_ROWS + SMALL_CELLS * 50):
            tenant = "large" if number < LARGE_ROWS else f"small-{number % SMALL_CELLS:02}"
            ms = chance.randrange(86_400_000)
            time = f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
            event = {"event_id": f"{number:08x}-{chance.getrandbits(48):012x}", "event_type": "click", "tenant_id": tenant,
                     "ts": f"2026-08-24T{time}Z", "latency_ms": chance.randrange(500),
                     "payload": f"/p/{chance.randrange(5000)}/{chance.getrandbits(64):x}"}
            out.write(json.dumps(event) + "\n")
    return path


def ask(sql):
    report = work / "report.json"
    subprocess.run([tier, "query", "--archive", archive, "--quiet", "--report", report, sql], check=True,
                   stdout=subprocess.DEVNULL)
    report = json.loads(report.read_text())
    return sum(report["requests"].values()), report["bytes_read"]


def column_bytes(tenant, column):
    """Of the tenant's files, in Parquet."""
    sizes = []
    for file in (archive / "events").glob(f"*/*/tenant_id={tenant}/*.parquet"):
        metadata = pyarrow.parquet.read_metadata(file)
        for group in range(metadata.num_row_groups):
            chunks = (metadata.row_group(group).column(number) for number in range(metadata.num_columns))
            sizes += [chunk.total_compressed_size for chunk in chunks if chunk.path_in_schema == column]
    assert sizes, f"no {column} of {tenant}"
    return sum(sizes)


def of_catalog(folder, question, cache=None):
    command = [catalog_bench, "ask", folder, question, "0"] + ([cache] if cache else [])
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


print(f"{'':58}{'figure':>12}{'limit':>12}")
_, _, peak = measure.run([tier, "archive", "--quiet", "--archive", archive, export()])
check("archive of one large cell and small ones: memory", peak, 512, "MiB")

# Until data is read: the hint, the newest root, whether there is a newer one, and the leaf.
PLANNING = 4
check("count of everything: requests", ask("SELECT count(*) FROM events")[0], PLANNING - 1)
requests, _ = ask("SELECT sum(latency_ms) FROM events WHERE tenant_id LIKE 'small-%'")
check("sum over small files: a GET for each, and planning", requests, SMALL_CELLS + PLANNING)
_, planning = ask("SELECT count(*) FROM events WHERE tenant_id = 'large'")
_, bytes_read = ask("SELECT sum(latency_ms) FROM events WHERE tenant_id = 'large'")
needed = column_bytes("large", "latency_ms")
check("sum of a large cell: bytes of data, in % of its column", 100 * (bytes_read - planning) / needed, 130, "%")

catalog = work / "catalog"
subprocess.run([catalog_bench, "make", catalog, str(CATALOG_FILES), "uniform"], check=True, stdout=subprocess.DEVNULL)
for question in ["tenant-3y", "tenant-30d", "day", "count"]:
    answer = of_catalog(catalog, question)
    check(f"{CATALOG_FILES:,} files, {question}: requests", answer["requests"], 25)
    check(f"{CATALOG_FILES:,} files, {question}: bytes", answer["bytes"], 5_000_000)
    check(f"{CATALOG_FILES:,} files, {question}: memory", answer["memory_mb"], 64, "MiB")
of_catalog(catalog, "tenant-3y", work / "cache")
check(f"{CATALOG_FILES:,} files, tenant-3y once more, cached: requests", of_catalog(catalog, "tenant-3y", work / "cache")["requests"], 1)
# A leaf, its audit, and ten more.
check(f"{CATALOG_FILES:,} files, append of a night: requests", of_catalog(catalog, "append")["requests"], 12)

if too_much:
    sys.exit(f"above its limit: {', '.join(too_much)}")
