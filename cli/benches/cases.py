"""What is measured: each case is one job, done by every engine that can do it."""

import sys
from dataclasses import dataclass
from pathlib import Path

from data import Data

HERE = Path(__file__).parent
BATCH_ROWS = 10_000


@dataclass
class Case:
    """One job. `engines`: name to command line without its output, which comes last. `check`: what must be equal."""

    name: str
    engines: dict[str, list[str]]
    check: str
    events: int = 0


PAIRS = "count(*), bit_xor(hash(play_event_id, impression_event_id))"
COUNTS = "count(*), sum(impressions), sum(plays), bit_xor(hash(video_id, epoch, impressions, plays))"
# Two impressions of one time and profile may be told apart by none of the rivals in the same way.
PLAYS = "count(*), count(impression_ts), bit_xor(hash(play_event_id, play_ts, impression_ts))"
SAMPLE = "count(*), count(distinct event_id), count(distinct country || device)"
EVENTS = "count(*), bit_xor(hash(event_id, ts))"


def rival(engine: str, case: str, source: str) -> list[str]:
    return [sys.executable, str(HERE / f"rival_{engine}.py"), case, source]


def all_cases(rescan: str, data: Data) -> list[Case]:
    def own(command: str, *flags: str) -> list[str]:
        return [rescan, command, *flags, "--progress", "none", "--out"]

    def batch(command: str, check: str) -> Case:
        engines = {"rescan": own(command, *data.inputs(data.hours))}
        engines |= {name: rival(name, command, str(data.parquet)) for name in ("duckdb", "polars")}
        return Case(f"batch {command}", engines, check)

    def stream(command: str, check: str) -> Case:
        flags = [*data.inputs(data.lines), "--max-rows", str(BATCH_ROWS), "--watermark-delay", "30m"]
        return Case(f"stream {command}", {"rescan": own(command, *flags)}, check, events=data.events)

    names = ("range", "number", "windows", "asof")
    formulations = {name: rival("duckdb", f"attribute {name}", str(data.parquet)) for name in names}
    attribute = {"rescan": own("attribute", *data.inputs(data.hours)), **formulations}
    stratify = {
        "rescan": own("stratify", "--in", data.hours("impressions"), "--rules", str(HERE / "sample.toml")),
        "duckdb": rival("duckdb", "stratify", str(data.parquet)),
    }
    lines = data.lines("impressions")
    ingest = {
        "rescan": own("ingest", "--in", lines, "--schema", "impressions"),
        "duckdb": rival("duckdb", "ingest", lines),
    }
    return [
        batch("join", PAIRS),
        batch("aggregate", COUNTS),
        Case("batch attribute", attribute, PLAYS),
        Case("batch stratify", stratify, SAMPLE),
        Case("ingest", ingest, EVENTS),
        stream("join", PAIRS),
        stream("aggregate", COUNTS),
        stream("attribute", PLAYS),
    ]
