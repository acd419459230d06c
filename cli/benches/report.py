"""The result as tables: ratios, for absolute seconds say more about a machine than about an engine."""

import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

from cases import BATCH_ROWS, Case
from data import Data
from measure import Took
from state import Cost

README = Path(__file__).parent / "README.md"
NAMES = {
    "duckdb": "DuckDB",
    "polars": "Polars",
    "range": "DuckDB, range join",
    "number": "DuckDB, row_number",
    "windows": "DuckDB, row_number and last_value",
    "asof": "DuckDB, as-of join",
}
MEASURES = {"time": "wall", "processor time": "cpu", "peak memory": "peak"}


def tables(cases: list[Case], medians: dict[str, dict[str, Took]], costs: dict[str, Cost]) -> str:
    rivals = [case for case in cases if len(case.engines) > 1]
    streams = [case for case in cases if case.events]
    parts = []
    if rivals:
        parts.append(ratios(rivals, medians))
    if streams:
        parts.append(rates(streams, medians))
    if costs:
        parts.append(state(costs))
    return "\n\n".join(parts)


def ratios(cases: list[Case], medians: dict[str, dict[str, Took]]) -> str:
    rows = [["rescan / rival", "", *MEASURES]]
    for case in cases:
        took = medians[case.name]
        for rival in list(took)[1:]:
            shares = [getattr(took["rescan"], name) / getattr(took[rival], name) for name in MEASURES.values()]
            rows.append([f"{case.name} / {NAMES[rival]}", verdict(shares[0]), *(f"{share:.2f}" for share in shares)])
    return table(rows)


def verdict(share: float) -> str:
    return "as fast" if abs(share - 1) < 0.03 else "faster" if share < 1 else "slower"


def rates(cases: list[Case], medians: dict[str, dict[str, Took]]) -> str:
    rows = [["batches of " + f"{BATCH_ROWS:,}", "events a second of one core", "events a second", "peak memory"]]
    for case in cases:
        took = medians[case.name]["rescan"]
        rows.append([case.name, f"{case.events / took.cpu:,.0f}", f"{case.events / took.wall:,.0f}",
                     f"{took.peak / 2**20:,.0f} MiB"])
    return table(rows)


def state(costs: dict[str, Cost]) -> str:
    small, large = costs["small"], costs["large"]
    rows = [["rows of state", "processor time of a batch"]]
    rows += [[f"{small.state_rows:,}", "1"], [f"{large.state_rows:,}", f"{large.batch_seconds / small.batch_seconds:.2f}"]]
    return table(rows)


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" + "|---:" * (len(rows[0]) - 1) + "|", *lines[1:]])


def write(text: str, data: Data, repeats: int, load: float) -> None:
    """Puts the result between the marks in the README. `load`: of the machine before the first run."""
    head, _, rest = README.read_text().partition("<!-- measured -->\n")
    _, _, tail = rest.partition("<!-- end -->\n")
    about = (f"Measured on {datetime.date.today()}, on {machine()}, with DuckDB {version('duckdb')} and Polars "
             f"{version('polars')}: {data.impressions:,} impressions and {data.plays:,} plays, median of {repeats}. "
             f"The load of the machine was {load:.1f} before the first run.")
    README.write_text(f"{head}<!-- measured -->\n{about}\n\n{text}\n<!-- end -->\n{tail}")


def machine() -> str:
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(cpu)} cores ({cpu[0]}), {memory:.0f} GiB of memory, {platform.system()}"
