"""A case in DuckDB: `rival_duckdb.py CASE INPUT OUT`. Prints the seconds it took, without the start of Python."""

import sys
import time

import duckdb

WRITE = "(format parquet, compression zstd, compression_level 1, partition_by (dt, hr))"


def hours(root: str, name: str) -> str:
    return f"read_parquet('{root}/{name}/dt=*/hr=*/*.parquet', hive_partitioning = false)"


def join(root: str) -> str:
    def side(alias: str, name: str, columns: str) -> str:
        return ", ".join(f"{alias}.{column} as {name}_{column}" for column in columns.split())

    both = "event_id ts profile_id video_id country device region"
    return f"""
        select i.request_id, {side("i", "impression", both + " row rank propensity")},
               {side("p", "play", both + " duration_s")}, p.ts::date as dt, hour(p.ts) as hr
        from {hours(root, "plays")} p join {hours(root, "impressions")} i
          on p.request_id = i.request_id and p.ts between i.ts and i.ts + interval 2 hours"""


def aggregate(root: str) -> str:
    def count(name: str) -> str:
        return f"""(select video_id, time_bucket(interval 30 minutes, ts) as epoch, count(distinct request_id) as n
                    from {hours(root, name)} group by all)"""

    return f"""
        select video_id, epoch, coalesce(i.n, 0) as impressions, coalesce(p.n, 0) as plays,
               coalesce(p.n, 0) / i.n as take_rate, epoch::date as dt, hour(epoch) as hr
        from {count("impressions")} i full join {count("plays")} p using (video_id, epoch)"""


def ingest(lines: str) -> str:
    columns = """{event_id: 'varchar', ts: 'bigint', request_id: 'varchar', profile_id: 'bigint', video_id: 'bigint',
                  "row": 'varchar', rank: 'integer', country: 'varchar', device: 'varchar', region: 'varchar',
                  propensity: 'double'}"""
    return f"""
        select * replace (make_timestamp(ts * 1000) as ts), make_timestamp(ts * 1000)::date as dt,
               hour(make_timestamp(ts * 1000)) as hr
        from read_ndjson('{lines}', columns = {columns})"""


def main() -> None:
    case, source, out = sys.argv[1:]
    select = {"join": join, "aggregate": aggregate, "ingest": ingest}[case](source)
    begun = time.perf_counter()
    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false")
    connection.execute("set enable_progress_bar = false")
    connection.execute(f"copy ({select}) to '{out}' {WRITE}")
    print(time.perf_counter() - begun)


main()
