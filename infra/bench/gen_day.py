"""One day of events with 1% duplicates, in no order: gen_day.py ROWS TENANTS OUT [ndjson|csv|parquet]…

Ten event types and TENANTS tenants, a few of which have most of the events. Writes OUT.ndjson, OUT.csv and OUT.parquet.
"""

import sys

import duckdb

rows, tenants, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
formats = sys.argv[4:] or ["ndjson", "csv", "parquet"]
con = duckdb.connect()
con.execute("set threads = 2; select setseed(0.42)")
con.execute(f"""
create table e as select
    lower(printf('%08x-%04x-7%03x-%04x-%012x', (epoch_ms(ts) // 65536)::bigint, (epoch_ms(ts) % 65536)::int,
        (random() * 4095)::int, 32768 + (random() * 16383)::int, (random() * 281474976710655)::bigint)) as event_id,
    ['page_view', 'click', 'login', 'logout', 'purchase', 'refund', 'search', 'upload', 'download', 'error'][
        1 + least(9, (power(random(), 2) * 10)::int)] as event_type,
    printf('tenant-%04d', least({tenants} - 1, (power(random(), 3) * {tenants})::int)) as tenant_id,
    ts,
    printf('user-%06d', (random() * 200000)::int) as user_id,
    ['us-east-1', 'eu-west-1', 'ap-south-1'][1 + (random() * 2.99)::int] as region,
    (random() * 500)::int as latency_ms,
    printf('{{"path":"/p/%d","ua":"Mozilla/5.0 (X11; Linux x86_64) v%d","amount":%.2f,"ok":%s}}', (random() * 5000)::int,
        (random() * 40)::int, random() * 1000, case when random() < 0.9 then 'true' else 'false' end) as payload
from (select timestamp '2026-08-24' + interval (random() * 86399999) millisecond as ts from range({rows}))""")
con.execute("insert into e select * from e using sample 1% (bernoulli)")
time = "strftime(ts, '%Y-%m-%dT%H:%M:%S.%gZ') as ts"
text = f"select event_id, event_type, tenant_id, {time}, user_id, region, latency_ms, payload from e order by random()"
for format in formats:
    query, options = {
        "ndjson": (text, "format json"),
        "csv": (text, "format csv, header"),
        "parquet": ("select * from e order by random()", "format parquet, compression zstd"),
    }[format]
    con.execute(f"copy ({query}) to '{out}.{format}' ({options})")
