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


CANDIDATE = "p.profile_id = i.profile_id and p.video_id = i.video_id and i.ts <= p.ts and i.ts >= p.ts - interval 24 hours"
LATEST = "(i.ts, i.event_id)"


def attribute_range(root: str) -> str:
    """A range join, and the latest of each play by arg_max."""
    return f"""
        select p.event_id as play_event_id, 'last' as model, arg_max(i.event_id, {LATEST}) as impression_event_id,
               1.0 as credit, p.ts as play_ts, max(i.ts) as impression_ts, arg_max(i.row, {LATEST}) as source_of_play,
               arg_min(i.row, {LATEST}) as source_of_discovery, p.ts::date as dt, hour(p.ts) as hr
        from {hours(root, "plays")} p left join {hours(root, "impressions")} i on {CANDIDATE}
        group by p.event_id, p.ts"""


DISCOVERY = "last_value(i.row) over (w rows between unbounded preceding and unbounded following)"


def attribute_number(root: str, also: str = "") -> str:
    """A range join, and the latest of each play by row_number; it does not find the source of discovery."""
    return f"""
        select * exclude (n) from (
            select p.event_id as play_event_id, 'last' as model, i.event_id as impression_event_id, 1.0 as credit,
                   p.ts as play_ts, i.ts as impression_ts, i.row as source_of_play, p.ts::date as dt, hour(p.ts) as hr,
                   {also}
                   row_number() over w as n
            from {hours(root, "plays")} p left join {hours(root, "impressions")} i on {CANDIDATE}
            window w as (partition by p.event_id order by i.ts desc, i.event_id desc))
        where n = 1"""


def attribute_windows(root: str) -> str:
    """The same, with the source of discovery: all that rescan puts out, but for what its own request says."""
    return attribute_number(root, f"{DISCOVERY} as source_of_discovery,")


def attribute_asof(root: str) -> str:
    """An as-of join, which knows no lookback: the day is as long as that. Nor does it find the source of discovery."""
    return f"""
        select p.event_id as play_event_id, 'last' as model, i.event_id as impression_event_id, 1.0 as credit,
               p.ts as play_ts, i.ts as impression_ts, i.row as source_of_play, p.ts::date as dt, hour(p.ts) as hr
        from {hours(root, "plays")} p asof left join {hours(root, "impressions")} i
          on p.profile_id = i.profile_id and p.video_id = i.video_id and p.ts >= i.ts"""


def stratify(root: str) -> str:
    return f"""
        select * exclude (n) from (
            select *, ts::date as dt, hour(ts) as hr,
                   row_number() over (partition by country, device order by hash(event_id)) as n
            from {hours(root, "impressions")})
        where n <= 2000"""


CASES = {
    "join": join,
    "aggregate": aggregate,
    "ingest": ingest,
    "attribute range": attribute_range,
    "attribute number": attribute_number,
    "attribute windows": attribute_windows,
    "attribute asof": attribute_asof,
    "stratify": stratify,
}


def main() -> None:
    case, source, out = sys.argv[1:]
    select = CASES[case](source)
    begun = time.perf_counter()
    connection = duckdb.connect()
    connection.execute("set preserve_insertion_order = false")
    connection.execute("set enable_progress_bar = false")
    connection.execute(f"copy ({select}) to '{out}' {WRITE}")
    print(time.perf_counter() - begun)


main()
