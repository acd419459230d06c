"""Runs a program and says what it took: wall time, processor time, peak memory."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Took:
    """Seconds of wall and processor time, bytes of memory at the peak."""

    wall: float
    cpu: float
    peak: int


def run(argv: list[str], log: Path) -> Took:
    """Runs `argv` to its end, output to `log`. Its children are not counted: none of the engines has any."""
    with log.open("wb") as out:
        begun = time.perf_counter()
        child = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"bench: {' '.join(argv)} ended with {child.returncode}:\n{log.read_text()}")
    return Took(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def processor_seconds(pid: int) -> float:
    """What a running process has used of the processor so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
