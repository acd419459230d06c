"""Says whether outputs hold what DuckDB makes of an archive: `duckdb_rows.py ARCHIVE JOB MINUTES OUTPUT…`.

JOB is a type of join, within so many minutes, or `aggregate`, by epochs of so many, or `attribute`, looking back so
many, by the models last, first and linear, or `facts`, of plays the impressions that are older by so many at most, or
`ingest`: then ARCHIVE holds JSON lines without a late, repeated or
malformed one, and OUTPUT is an archive of impressions. Compared are the columns with their types, all rows as
multisets, and the hour that each row lies in. Exits 1 after printing the rows of each output that should not be there,
and those that should.
"""

import sys

import duckdb

IMPRESSION = "event_id ts profile_id video_id row rank country device region propensity".split()
PLAY = "event_id ts profile_id video_id country device region duration_s".split()
WHERE = "strftime({0}, '%Y-%m-%d') as dt, strftime({0}, '%H') as hr"
INGESTED = """{event_id: 'varchar', ts: 'bigint', request_id: 'varchar', profile_id: 'bigint', video_id: 'bigint',
    "row": 'varchar', rank: 'integer', country: 'varchar', device: 'varchar', region: 'varchar', propensity: 'double'}"""


def columns(alias: str, prefix: str, names: list[str]) -> str:
    return ", ".join(f"{alias}.{name} as {prefix}_{name}" for name in names)


def join(kind: str, minutes: str) -> str:
    meet = f"p.request_id = i.request_id and p.ts >= i.ts and p.ts <= i.ts + interval '{minutes} minutes'"
    source = f"impressions i {kind} join plays p on {meet}"
    both = f"{columns('i', 'impression', IMPRESSION)}, {columns('p', 'play', PLAY)}"
    if kind in ("semi", "anti"):
        source = f"(select i.* from {source}) i left join plays p on false"
    request, hour = "coalesce(p.request_id, i.request_id)", "coalesce(p.ts, i.ts)"
    return f"select {request} as request_id, {both}, {WHERE.format(hour)} from {source}"


def aggregate(minutes: str) -> str:
    def count(name: str) -> str:
        return f"""select video_id, time_bucket(interval '{minutes} minutes', ts) as epoch, count(distinct request_id) as n
                   from {name} group by all"""

    return f"""
        select video_id, epoch, coalesce(i.n, 0) as impressions, coalesce(p.n, 0) as plays,
               coalesce(p.n, 0)::double / i.n as take_rate, {WHERE.format("epoch")}
        from ({count("impressions")}) i full join ({count("plays")}) p using (video_id, epoch)"""


def attribute(minutes: str) -> str:
    own = "i.request_id = p.request_id and i.video_id = p.video_id"
    unit = 10**12
    return f"""
        with candidate as (
            select p.event_id as play_event_id, p.ts as play_ts, i.event_id as impression_event_id,
                   i.ts as impression_ts, i.row as shown_in, coalesce({own}, false) as own, count(i.event_id) over play as n,
                   row_number() over (play order by i.ts, i.event_id) as first,
                   row_number() over (play order by i.ts desc, i.event_id desc) as last
            from plays p
            left join impressions i on p.profile_id = i.profile_id and p.video_id = i.video_id
                 and i.ts <= p.ts and i.ts >= p.ts - interval '{minutes} minutes'
            window play as (partition by p.event_id)),
        source as (
            select play_event_id, arg_max(shown_in, (own, impression_ts, impression_event_id)) as source_of_play,
                   arg_min(shown_in, (impression_ts, impression_event_id)) as source_of_discovery
            from candidate group by all),
        credited as (
            from candidate select *, 'last' as model, {unit} as credit where last = 1
            union all from candidate select *, 'first' as model, {unit} as credit where first = 1
            union all from candidate
            select *, 'linear' as model,
                   {unit} // greatest(n, 1) + if(first <= {unit} % greatest(n, 1), 1, 0) as credit)
        select play_event_id, model, impression_event_id,
               cast(credit::decimal(19, 0) * 0.000000000001 as decimal(13, 12)) as credit,
               play_ts, impression_ts, source_of_play, source_of_discovery, {WHERE.format("play_ts")}
        from credited join source using (play_event_id)"""


def facts(minutes: str) -> str:
    on = ("profile_id", "video_id")
    label = ", ".join(f"p.{name}" for name in [*on, *(name for name in ["event_id", "ts", "request_id", *PLAY[2:]] if name not in on)])
    known = [name for name in ["event_id", "ts", "request_id", *IMPRESSION[2:]] if name not in on]
    fact = ", ".join(f"if(p.ts - f.ts <= interval '{minutes} minutes', f.{name}, null) as fact_{name}" for name in known)
    return f"""
        with latest as (
            from impressions
            qualify row_number() over (partition by profile_id, video_id, ts order by event_id desc) = 1)
        select {label}, {fact}, {WHERE.format("p.ts")}
        from plays p
        asof left join latest f on p.profile_id = f.profile_id and p.video_id = f.video_id and p.ts >= f.ts"""


def ingest(lines: str) -> str:
    time = "make_timestamp(ts * 1000)"
    return f"select * replace ({time} as ts), {WHERE.format(time)} from read_ndjson('{lines}', columns = {INGESTED})"


def expect(db: duckdb.DuckDBPyConnection, archive: str, job: str, minutes: str) -> None:
    """Makes the table of the rows that should be there."""
    if job == "ingest":
        rows = ingest(f"{archive}/impressions.jsonl")
    else:
        for name in ("impressions", "plays"):
            files = f"read_parquet('{archive}/{name}/dt=*/hr=*/*.parquet', hive_partitioning = false)"
            db.execute(f"create view {name} as from {files}")
        jobs = {"aggregate": aggregate, "attribute": attribute, "facts": facts}
        rows = jobs[job](minutes) if job in jobs else join(job, minutes)
    db.execute(f"create table expected as {rows}")
    if not db.execute("select count(*) from expected").fetchone()[0]:
        raise SystemExit(f"{job}: DuckDB expects no rows at all, which proves nothing")


def main() -> None:
    archive, job, minutes, *outputs = sys.argv[1:]
    db = duckdb.connect()
    expect(db, archive, job, minutes)
    wrong = [output for output in outputs if differs(db, output)]
    raise SystemExit(1 if wrong else 0)


def differs(db: duckdb.DuckDBPyConnection, output: str) -> bool:
    files = f"read_parquet('{output}/dt=*/hr=*/*.parquet', hive_partitioning = true, hive_types_autocast = false)"
    # What starts with _ says where an event came from.
    db.execute(f"create or replace table found as select columns('^[^_].*') from {files}")
    tables = [[row[:2] for row in db.execute(f"describe {table}").fetchall()] for table in ("expected", "found")]
    if tables[0] != tables[1]:
        print(f"{output}: columns are {tables[1]}, should be {tables[0]}")
        return True
    wrong = False
    for one, other, what in (("found", "expected", "too many"), ("expected", "found", "missing")):
        rows = db.execute(f"from {one} except all from {other} order by all").fetchall()
        wrong |= bool(rows)
        if rows:
            print(f"{output}: {len(rows)} rows {what}, as", *rows[:5], sep="\n  ")
    return wrong


main()
