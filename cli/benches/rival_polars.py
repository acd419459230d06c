"""A case in Polars: `rival_polars.py CASE INPUT OUT`. Prints the seconds it took, without the start of Python."""

import sys
import time
from datetime import timedelta

import polars as pl


def hours(root: str, name: str) -> pl.LazyFrame:
    return pl.scan_parquet(f"{root}/{name}/dt=*/hr=*/*.parquet", hive_partitioning=False)


def join(root: str) -> pl.LazyFrame:
    def side(name: str, prefix: str) -> pl.LazyFrame:
        return hours(root, name).select(pl.col("request_id"), pl.exclude("request_id").name.prefix(prefix))

    impression, play = pl.col("impression_ts"), pl.col("play_ts")
    pairs = side("plays", "play_").join(side("impressions", "impression_"), on="request_id")
    pairs = pairs.filter((play >= impression) & (play <= impression + timedelta(hours=2)))
    return pairs.with_columns(dt=play.dt.date(), hr=play.dt.hour())


def aggregate(root: str) -> pl.LazyFrame:
    def count(name: str) -> pl.LazyFrame:
        groups = hours(root, name).group_by("video_id", epoch=pl.col("ts").dt.truncate("30m"))
        return groups.agg(pl.col("request_id").n_unique().alias(name))

    counts = count("impressions").join(count("plays"), on=["video_id", "epoch"], how="full", coalesce=True)
    counts = counts.with_columns(pl.col("impressions", "plays").fill_null(0).cast(pl.Int64))
    rate = pl.when(pl.col("impressions") > 0).then(pl.col("plays") / pl.col("impressions"))
    return counts.with_columns(take_rate=rate, dt=pl.col("epoch").dt.date(), hr=pl.col("epoch").dt.hour())


def main() -> None:
    case, source, out = sys.argv[1:]
    begun = time.perf_counter()
    rows = {"join": join, "aggregate": aggregate}[case](source)
    target = pl.PartitionBy(out, key=["dt", "hr"], include_key=False)
    rows.sink_parquet(target, compression="zstd", compression_level=1, maintain_order=False, mkdir=True)
    print(time.perf_counter() - begun)


main()
