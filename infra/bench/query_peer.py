# Answers one query over a Hive tree of Parquet files as a user of the engine would:  query_peer.py ENGINE TREE SQL AGAIN
# TREE is a folder, or s3://bucket/prefix behind AWS_ENDPOINT_URL. Rows go to stdout; to stderr the seconds and the CPU
# seconds that it took without the start of Python, and below them those of each time that it is asked again, AGAIN times.
import os, sys, time

engine, tree, sql, again = sys.argv[1:]
on_s3 = tree.startswith("s3://")
endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
if engine == "duckdb":
    import duckdb
    if on_s3:
        from duckdb_extensions import import_extension
        import_extension("httpfs")
    started, cpu = time.monotonic(), time.process_time()
    db = duckdb.connect()
    if on_s3:
        db.load_extension("httpfs")
        db.sql(f"CREATE SECRET s (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION 'us-east-1', URL_STYLE 'path', "
               f"ENDPOINT '{endpoint.removeprefix('http://')}', USE_SSL false)")
    db.sql(f"CREATE VIEW events AS FROM read_parquet('{tree}/*/*/*/*.parquet', hive_partitioning = true)")
    ask = lambda: db.sql(sql).fetchall()
else:
    import pyarrow as pa
    from datafusion import SessionConfig, SessionContext
    from datafusion.object_store import AmazonS3
    started, cpu = time.monotonic(), time.process_time()
    config = SessionConfig()
    db = SessionContext(config.with_target_partitions(16) if on_s3 else config)
    if on_s3:
        bucket = tree.split("/")[2]
        db.register_object_store("s3://", AmazonS3(bucket_name=bucket, region="us-east-1", access_key_id=key,
                                                   secret_access_key=secret, endpoint=endpoint, allow_http=True), bucket)
    text, number = pa.string(), pa.int64()
    schema = pa.schema([("event_id", text), ("ts", pa.timestamp("us", tz="UTC")), ("user_id", text),
                        ("latency_ms", number), ("payload", text)])
    keys = [("date", text), ("event_type", text), ("tenant_id", text)]
    db.register_parquet("events", tree + "/", table_partition_cols=keys, file_extension=".parquet", schema=schema)
    ask = lambda: [tuple(row.values()) for row in db.sql(sql).to_pylist()]
rows = ask()
print(time.monotonic() - started, time.process_time() - cpu, file=sys.stderr)
for _ in range(int(again)):
    started, cpu = time.monotonic(), time.process_time()
    ask()
    print(time.monotonic() - started, time.process_time() - cpu, file=sys.stderr)
for row in rows:
    print(*row, sep=",")
