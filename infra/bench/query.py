# Asks each engine each question in turn, so that a slow moment of the machine meets all of them, and prints medians. "again"
# is the same question once more: over S3 to another process, which has what the first one cached, and of local files to the
# same process.
#   query.py TIER PEERS_PYTHON DATAFUSION_CLI DUCKDB_S3_PYTHON FOLDER PROXY RUNS
# See query.sh; without a PROXY local files alone.
import json, os, shutil, statistics, subprocess, sys, tempfile, time, urllib.request

import measure

tier, python, datafusion_cli, duckdb_python, folder, proxy, runs = sys.argv[1:]
runs = int(runs)
here = os.path.dirname(os.path.abspath(__file__))
remote = {**os.environ, "AWS_ENDPOINT_URL": f"http://{proxy}", "NO_PROXY": "127.0.0.1"}
one = "tenant_id = 'tenant-07'"
week = "date BETWEEN '2025-03-01' AND '2025-03-07'"
total = "SELECT count(*), sum(latency_ms) FROM events WHERE "
# Of the large archive an event's id, for the look-ups.
wanted = subprocess.run([tier, "query", "--archive", f"{folder}/large", "--quiet", "--format", "csv",
                         "SELECT event_id FROM events WHERE tenant_id = 'tenant-01' AND date = '2025-01-04' LIMIT 1"],
                        capture_output=True, text=True, check=True).stdout.split()[-1]
# Name, archive (a bucket's when it begins with s3), SQL, who is asked.
everyone, alone, locally = ("tier", "datafusion", "duckdb"), ("tier",), ("tier", "datafusion-cli", "duckdb")
questions = [
    ("a tenant's week", "s3:cells", total + one + " AND " + week, everyone),
    ("a tenant's year", "s3:cells", total + one, everyone),
    ("a tenant's year, bundles", "s3:bundles", total + one, alone),
    ("events of each day", "s3:cells", "SELECT date, count(*) FROM events GROUP BY date ORDER BY date LIMIT 3", alone),
    ("first and last time", "s3:cells", "SELECT min(ts), max(ts) FROM events WHERE " + one, alone),
    ("any 10 rows", "s3:cells", "SELECT * FROM events WHERE " + one + " LIMIT 10", alone),
    ("the newest 10 rows", "s3:cells", "SELECT ts, event_id FROM events WHERE " + one + " ORDER BY ts DESC LIMIT 10", alone),
    ("sum and average", "large", "SELECT sum(latency_ms), avg(latency_ms) FROM events", locally),
    ("filter, count", "large", "SELECT count(*) FROM events WHERE latency_ms > 250", locally),
    ("group by type", "large", "SELECT event_type, count(*), avg(latency_ms) FROM events GROUP BY 1 ORDER BY 1", locally),
    ("group by user", "large", "SELECT user_id, count(*) n, sum(latency_ms) FROM events GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10", locally),
    ("text search", "large", "SELECT count(*) FROM events WHERE payload LIKE '%/p/4242\"%'", locally),
    ("count by keys", "large", "SELECT date, tenant_id, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2", locally),
    ("newest 10", "large", "SELECT ts, event_id FROM events ORDER BY ts DESC LIMIT 10", locally),
    ("id, one tenant", "large", f"SELECT latency_ms, payload FROM events WHERE tenant_id = 'tenant-01' AND event_id = '{wanted}'", locally),
    ("id, one week", "large", f"SELECT latency_ms, payload FROM events WHERE date BETWEEN '2025-01-01' AND '2025-01-07' AND event_id = '{wanted}'", locally),
]

questions = [question for question in questions if proxy or not question[1].startswith("s3:")]

# With the columns said, so that DataFusion need not look for them in the files.
register = f"""CREATE EXTERNAL TABLE events (event_id VARCHAR, ts TIMESTAMP, user_id VARCHAR, latency_ms BIGINT, payload VARCHAR,
    date VARCHAR, event_type VARCHAR, tenant_id VARCHAR) STORED AS PARQUET PARTITIONED BY (date, event_type, tenant_id)
    LOCATION '{folder}/large/events/'"""

# How often a process is asked again, of which the average counts. What the first question takes, which is taken off, can
# differ by more than a later one takes.
AGAIN = 60


def ask(engine, archive, sql, cache, again=0):
    """Wall and CPU seconds, peak MiB, requests and bytes of the first answer; with `again` those two of the others; its rows."""
    on_s3 = archive.startswith("s3:")
    where = f"s3://bench/{archive[3:]}" if on_s3 else f"{folder}/{archive}"
    if engine == "tier":
        # Of a process that is asked so often, what one that is asked once takes is taken off later.
        all_of_it = ";".join([sql] * (1 + again))
        command = [tier, "query", "--archive", where, "--quiet", "--no-progress", "--format", "csv", all_of_it]
    elif engine == "datafusion-cli":
        command = [datafusion_cli, "--quiet", "--format", "csv", "--command", register, *[sql] * (1 + again)]
    else:
        interpreter = duckdb_python if engine == "duckdb" and on_s3 else python
        command = [interpreter, f"{here}/query_peer.py", engine, f"{where}/events", sql, str(again)]
    if on_s3:
        urllib.request.urlopen(f"http://{proxy}/__reset").read()
    started = time.monotonic()
    child = subprocess.Popen(command, env={**(remote if on_s3 else os.environ), "XDG_CACHE_HOME": cache},
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    answer = child.stdout.read()
    trouble = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - started
    if status:
        sys.exit(f"{engine} ended with {os.waitstatus_to_exitcode(status)}: {trouble}")
    cpu, later = usage.ru_utime + usage.ru_stime, None
    if engine in ("datafusion", "duckdb"):
        (wall, cpu), *others = [tuple(map(float, line.split())) for line in trouble.splitlines()]
        later = [sum(column) / again for column in zip(*others)]
    stats = json.load(urllib.request.urlopen(f"http://{proxy}/__stats")) if on_s3 else {"list": 0, "get": 0, "bytes": 0}
    figures = wall, cpu, usage.ru_maxrss / 1024, stats["list"], stats["get"], stats["bytes"] / 2**20
    return figures, later, answer.splitlines()


def ask_local(engine, archive, sql, cache):
    """As `ask`, with what it takes to ask the same process again."""
    if engine == "duckdb":
        return ask(engine, archive, sql, cache, AGAIN)
    once, _, answer = ask(engine, archive, sql, cache)
    often = ask(engine, archive, sql, cache, AGAIN)[0]
    return once, [(more - one) / AGAIN for more, one in zip(often[:2], once)], answer


print(f"medians of {runs} runs; {measure.machine()}")
over_s3 = "; over S3 DataFusion too, from MinIO on the same machine, 30 ms for each request" if proxy else ""
print(f"DuckDB without the start of Python{over_s3}\n")
print(f"{'':26}{'engine':22}{'seconds':>8}{'tier = 1':>9}{'CPU s':>7}{'peak MiB':>9}{'LIST':>6}{'GET':>7}{'MiB read':>9}")
for name, archive, sql, engines in questions:
    found = {}
    numbers = {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for engine in engines:
                if archive.startswith("s3:"):
                    for label in ["tier", "tier, again"] if engine == "tier" else [engine]:
                        figures, _, answer = ask(engine, archive, sql, cache)
                        found.setdefault(label, []).append(figures)
                else:
                    figures, later, answer = ask_local(engine, archive, sql, cache)
                    found.setdefault(engine, []).append(figures)
                    found.setdefault(f"{engine}, again", []).append((*later, 0, 0, 0, 0))
                numbers[engine] = answer[1:] if engine == "tier" else answer
    # Averages and times are written differently; of whole numbers each must be the same.
    if name.startswith("a tenant"):
        assert len(set(map(tuple, numbers.values()))) == 1, numbers
    middle = {label: [statistics.median(column) for column in zip(*figures)] for label, figures in found.items()}
    on_s3 = archive.startswith("s3:")
    for label, (wall, cpu, peak, lists, gets, mib) in sorted(middle.items(), key=lambda of: not on_s3 and "again" in of[0]):
        # Over S3 all beside the first answer; of local files each beside tier's, asked as often.
        beside = "tier, again" if "again" in label and not on_s3 else "tier"
        more = f"{lists:6.0f}{gets:7.0f}{mib:9.2f}" if on_s3 else ""
        room = f"{peak:9.0f}" if peak else ""
        print(f"{name:26}{label:22}{wall:8.3f}{wall / middle[beside][0]:9.2f}{cpu:7.2f}{room}{more}", flush=True)
        name = ""
