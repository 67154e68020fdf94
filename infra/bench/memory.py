"""Peak memory of commands on a smaller and a larger archive, side by side; see memory.sh."""

import json
import random
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import measure

BIN, WORK = Path(sys.argv[1]), Path(sys.argv[2])
TIER = str(BIN / "tier")
CATALOG_FILES = [1_000_000, 50_000_000]
TENANTS, TYPES = 2_000, 10
DAYS = [8, 24]
FIRST_DAY = date(2026, 7, 1)
# When the catalogs without data are asked.
NOW = "2026-11-25T12:00:00Z"
# When every day is over, and when all of them are old enough for the standard policy.
ARCHIVED, OLD = "2026-11-20T00:00:00Z", "2027-09-25T00:00:00Z"

OF_CATALOG = {
    "status": ["status"],
    "history": ["history"],
    "inspect root": ["inspect", "root"],
    "query count(*)": ["query", "SELECT count(*) FROM events"],
    "query by type": ["query", "SELECT event_type, count(*) FROM events GROUP BY 1"],
    "explain, one tenant": ["query", "EXPLAIN SELECT sum(amount) FROM events WHERE tenant_id = 't_00977'"],
    "publish ddl": ["publish", "ddl", "--for", "duckdb"],
    "vacuum, what it would do": ["vacuum", "--dry-run"],
    "compact, what it would do": ["compact", "--dry-run"],
    "lifecycle plan": ["lifecycle", "plan"],
    "publish delta": ["publish", "delta"],
}
OF_DATA = {
    "verify": ["verify"],
    "verify --read sample": ["verify", "--read", "sample"],
    "verify --duplicates": ["verify", "--duplicates"],
    "rebuild --check": ["rebuild", "--check"],
    "rebuild --replace": ["rebuild", "--replace", "--yes"],
    "vacuum": ["vacuum", "--yes"],
    "lifecycle apply, bundles": ["lifecycle", "apply", "--yes", "--max-cost", "100"],
    "verify of bundles": ["verify"],
    "rebuild of bundles": ["rebuild", "--check"],
}


def peak(archive, command, now):
    wall, _, peak = measure.run([TIER, *command, "--archive", str(archive), "--now", now, "--quiet"])
    return wall, peak


def table(title, names, commands):
    """One line per command; `commands` yields for each its name and what it took on each archive."""
    print(f"\n{title}")
    print(f"{'':28}" + "".join(f"{name:>24}" for name in names))
    for name, figures in commands:
        print(f"{name:28}" + "".join(f"{peak:12,.0f} MiB {wall:6,.1f} s" for wall, peak in figures), flush=True)


def catalogs():
    archives = [WORK / f"catalog-{files}" for files in CATALOG_FILES]
    for archive, files in zip(archives, CATALOG_FILES):
        made = [str(BIN / "catalog_bench"), "make", str(archive), str(files), "uniform"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    for name, command in OF_CATALOG.items():
        yield name, [peak(archive, command, NOW) for archive in archives]
    # Last: it takes more than half of all files away.
    policy = WORK / "expire.toml"
    policy.write_text('[[lifecycle.rules]]\nname = "end"\nafter = "3y"\nexpire = true\n')
    figures = []
    for archive in archives:
        policies = ["--config", str(policy), "--now", NOW]
        asked = [TIER, "lifecycle", "plan", "--json", "--quiet", "--archive", str(archive), *policies]
        plan = json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE).stdout)
        expires = str(plan["totals"]["expires"])
        figures.append(
            peak(archive, ["lifecycle", "apply", "--yes", "--confirm", expires, "--config", str(policy)], NOW))
    yield "lifecycle apply, expiry", figures
    subprocess.run(["rm", "-r", *archives], check=True)


def export(path, day):
    """Two events in each of the day's cells."""
    chance = random.Random(day.toordinal())
    with open(path, "w") as out:
        for number in range(TENANTS * TYPES * 2):
            second = chance.randrange(86_400)
            out.write(json.dumps({
                "event_id": f"{chance.getrandbits(128):032x}",
                "event_type": f"e_{number % TYPES:02}",
                "tenant_id": f"t_{number // TYPES % TENANTS:05}",
                "ts": f"{day}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z",
                "amount": chance.randrange(1_000),
            }) + "\n")


def data():
    archives = [WORK / f"days-{days}" for days in DAYS]
    nights = [[] for _ in DAYS]
    for number in range(max(DAYS)):
        file = WORK / "export.ndjson"
        export(file, FIRST_DAY + timedelta(days=number))
        for archive, days, night in zip(archives, DAYS, nights):
            if number < days:
                night.append(peak(archive, ["archive", str(file)], ARCHIVED))
    yield "archive, the last night", [night[-1] for night in nights]
    for name, command in OF_DATA.items():
        yield name, [peak(archive, command, OLD) for archive in archives]


print(f"{date.today()}; {measure.machine()}")
print("peak memory of the whole process, about 40 MiB of which are pages of the program itself, and its time")
table("a catalog without data", [f"{files:,} files" for files in CATALOG_FILES], catalogs())
table("with data, two rows a file", [f"{days * TENANTS * TYPES:,} files" for days in DAYS], data())
