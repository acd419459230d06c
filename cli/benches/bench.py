"""rescan side by side with DuckDB and Polars: interleaved repeats, medians, ratios, and equal rows or no result.

Usage: bench.sh [--scale small|full] [--repeats N] [--only WORD]. Input and output stay below $RESCAN_BENCH
(~/.cache/rescan/bench). At full scale the result goes to README.md beside this file.
"""

import argparse
import os
import shutil
from pathlib import Path
from statistics import median

import duckdb

import data
import report
import state
from cases import Case, all_cases
from measure import Took, run


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--scale", choices=list(data.IMPRESSIONS_PER_HOUR), default="full")
    flags.add_argument("--repeats", type=int, default=5)
    flags.add_argument("--only", default="", help="cases whose name has this word; writes no README")
    chosen = flags.parse_args()
    load = os.getloadavg()[0]
    home = Path.home() / ".cache/rescan"
    rescan = os.environ.get("RESCAN", str(home / "target/release/rescan"))
    if not Path(rescan).exists():
        raise SystemExit(f"bench: no binary at {rescan}: run make build, or set RESCAN")
    root = Path(os.environ.get("RESCAN_BENCH", home / "bench"))
    out = root / "out"
    out.mkdir(parents=True, exist_ok=True)
    input = data.make(rescan, root, chosen.scale)
    cases = [case for case in all_cases(rescan, input) if chosen.only in case.name]
    medians = {case.name: compare(case, out, chosen.repeats) for case in cases}
    costs = cost_of_state(rescan, input, out, chosen.repeats) if chosen.only in "state" else {}
    text = report.tables(cases, medians, costs)
    print(text)
    if chosen.scale == "full" and not chosen.only:
        report.write(text, input, chosen.repeats, load)


def compare(case: Case, out: Path, repeats: int) -> dict[str, Took]:
    """Each engine in turn, over and over, so that a slow minute of the machine hits all."""
    took: dict[str, list[Took]] = {engine: [] for engine in case.engines}
    answers = {}
    for repeat in range(repeats):
        for engine, argv in case.engines.items():
            to = out / engine
            shutil.rmtree(to, ignore_errors=True)
            one = run([*argv, str(to)], out / "log")
            if engine != "rescan":
                # The start of Python and the import are not the engine's.
                one.wall = float((out / "log").read_text().split()[-1])
            took[engine].append(one)
            if repeat == 0:
                answers[engine] = answer(case, to)
            shutil.rmtree(to)
            print(f"bench: {case.name}, {engine}: {one.wall:.2f} s, {one.cpu:.2f} s of processor, "
                  f"{one.peak / 2**20:.0f} MiB", flush=True)
    if len(set(answers.values())) != 1:
        raise SystemExit(f"bench: {case.name}: the engines' rows differ: {answers}")
    return {engine: middle(runs) for engine, runs in took.items()}


def answer(case: Case, out: Path) -> tuple:
    files = f"read_parquet('{out}/dt=*/hr=*/*.parquet', hive_partitioning = false)"
    return duckdb.sql(f"select {case.check} from {files}").fetchall()[0]


def middle(runs: list[Took]) -> Took:
    return Took(*(median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "peak")))


def cost_of_state(rescan: str, input: data.Data, out: Path, repeats: int) -> dict[str, state.Cost]:
    costs: dict[str, list[state.Cost]] = {size: [] for size in state.DELAYS}
    for _ in range(repeats):
        for size, runs in costs.items():
            shutil.rmtree(out / "rescan", ignore_errors=True)
            cost = state.measure(rescan, input, size, out / "rescan")
            if cost is None:
                print("bench: the cost of state is not measured: it takes more input")
                return {}
            runs.append(cost)
            print(f"bench: {cost.state_rows:,} rows of state: {cost.batch_seconds * 1e3:.2f} ms a batch", flush=True)
    shutil.rmtree(out / "rescan", ignore_errors=True)
    return {size: sorted(runs, key=lambda run: run.batch_seconds)[len(runs) // 2] for size, runs in costs.items()}


if __name__ == "__main__":
    main()
