# Makes exports of some days of events, a Parquet file for each month; the same rows every time:
#   query_data.py FOLDER DAYS TYPES TENANTS ROWS        ROWS of each type of each tenant on each day
import datetime as dt, os, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

folder = sys.argv[1]
days, types, tenants, rows = map(int, sys.argv[2:])
first = dt.date(2025, 1, 1)
os.makedirs(folder, exist_ok=True)
rng = np.random.default_rng(1)
months = {}
for day in range(days):
    date = first + dt.timedelta(days=day)
    months.setdefault(f"{date:%Y-%m}", []).append(date)
for month, dates in months.items():
    n = len(dates) * types * tenants * rows
    midnight = np.repeat([int(dt.datetime(d.year, d.month, d.day, tzinfo=dt.timezone.utc).timestamp()) * 10**6 for d in dates],
                         types * tenants * rows)
    ts = midnight + rng.integers(0, 86_400_000_000, n)
    event_type = np.tile(np.repeat(np.arange(types), tenants * rows), len(dates))
    tenant = np.tile(np.repeat(np.arange(tenants), rows), len(dates) * types)
    ids = rng.integers(0, 1 << 48, n)
    path, amount = rng.integers(0, 5000, n), rng.integers(0, 100_000, n)
    table = pa.table({
        "event_id": pa.array([f"{t:013x}-{i:012x}" for t, i in zip(ts.tolist(), ids.tolist())]),
        "event_type": pa.array([f"type-{x}" for x in range(types)]).take(pa.array(event_type)),
        "tenant_id": pa.array([f"tenant-{x:02d}" for x in range(tenants)]).take(pa.array(tenant)),
        "ts": pa.array(ts, pa.timestamp("us", tz="UTC")),
        "user_id": pa.array([f"user-{x:06d}" for x in rng.integers(0, 200_000, n).tolist()]),
        "latency_ms": pa.array(rng.integers(0, 500, n)),
        "payload": pa.array([f'{{"path":"/p/{p}","amount":{a / 100:.2f}}}' for p, a in zip(path.tolist(), amount.tolist())]),
    })
    pq.write_table(table.sort_by([("ts", "ascending")]), f"{folder}/{month}.parquet", compression="zstd")
