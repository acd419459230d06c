"""The input: a day of generated impressions and plays, made once, kept and reused."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

IMPRESSIONS_PER_HOUR = {"full": 416_667, "small": 41_667}


@dataclass
class Data:
    """Where the rows are, `dt=/hr=` Parquet and JSON lines in arrival order, and how many of each."""

    parquet: Path
    json: Path
    impressions: int
    plays: int

    @property
    def events(self) -> int:
        return self.impressions + self.plays

    def hours(self, name: str) -> str:
        return str(self.parquet / name)

    def lines(self, name: str) -> str:
        return str(self.json / f"{name}.jsonl")

    def inputs(self, place) -> list[str]:
        """`--in` flags of both inputs, from `hours` or `lines`."""
        return [flag for name in ("impressions", "plays") for flag in ("--in", f"{name}={place(name)}")]


def make(rescan: str, root: Path, scale: str) -> Data:
    """Nothing is late, twice or malformed, so that engines without dedup and validation write the same rows."""
    clean = ["--late", "0", "--duplicates", "0", "--malformed", "0"]
    size = ["--hours", "24", "--impressions-per-hour", str(IMPRESSIONS_PER_HOUR[scale])]
    for format in ("json", "parquet"):
        to = root / scale / format
        print(f"bench: input in {to}", flush=True)
        argv = [rescan, "generate", *size, *clean, "--format", format, "--to", str(to)]
        made = subprocess.run(argv, capture_output=True, text=True)
        if made.returncode != 0:
            raise SystemExit(f"bench: cannot make the input:\n{made.stderr}")
    truth = json.loads((root / scale / "json" / "truth.json").read_text())
    counts = {name: truth[name]["events"] for name in ("impressions", "plays")}
    return Data(parquet=root / scale / "parquet", json=root / scale / "json", **counts)
