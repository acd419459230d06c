"""What state costs: the same rows, joined to the same pairs, with little and with much state behind them.

Both runs read the same JSON lines with `--within 10m`, so both find the same pairs. One drops state as soon as it may
(`--watermark-delay 3m`), the other keeps all of it (`--watermark-delay 2days`). Processor time is sampled at each line
of `--progress json`, and compared over the rows from three fifths of the input to its last line but one: there the
small state is steady and the large one is most of its full size. The run with small state also seals its hours on the
way, the other one only at its end.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cases import BATCH_ROWS
from data import Data
from measure import processor_seconds

DELAYS = {"small": "3m", "large": "2days"}


@dataclass
class Cost:
    """Rows of state in the middle of the measured part, and processor seconds a batch in it."""

    state_rows: int
    batch_seconds: float


def measure(rescan: str, data: Data, size: str, out: Path) -> Cost | None:
    """None where the run is over before two lines of progress: the input is too small."""
    argv = [rescan, "join", *data.inputs(data.lines), "--out", str(out), "--within", "10m", "--watermark-delay",
            DELAYS[size], "--max-rows", str(BATCH_ROWS), "--progress", "json"]
    samples = []
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as child:
        for line in child.stderr:
            if line.startswith("{"):
                samples.append((json.loads(line), processor_seconds(child.pid)))
    if child.returncode != 0:
        raise SystemExit(f"bench: {' '.join(argv)} ended with {child.returncode}")
    part = [sample for sample in samples if sample[0]["rows"] >= data.events * 0.6][:-1]
    if len(part) < 2:
        return None
    (first, cpu_before), (last, cpu_after) = part[0], part[-1]
    batches = (last["rows"] - first["rows"]) / BATCH_ROWS
    return Cost((first["state_rows"] + last["state_rows"]) // 2, (cpu_after - cpu_before) / batches)
