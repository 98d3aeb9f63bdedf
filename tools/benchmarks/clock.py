"""Clocks, the hardware's peak, and ratios of what was measured side by side."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def now(device: str) -> float:
    """Seconds: of this process's CPU time, which other programs on the machine change little; on a GPU wall time."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def timed(run: Callable[[], object], device: str = "cpu") -> tuple[float, object]:
    """(seconds, what `run` gave)."""
    start = now(device)
    found = run()
    return now(device) - start, found


def peak(device: str, dtype: str, size: int, repeats: int = 5) -> float:
    """Operations per second of a square matrix product, the most that this machine was seen to do."""
    first, second = (torch.randn(size, size, device=device).to(DTYPES[dtype]) for _ in range(2))
    timed(lambda: first @ second, device)
    return 2 * size**3 / min(timed(lambda: first @ second, device)[0] for _ in range(repeats))


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def compared(slow: Sequence[float], fast: Sequence[float], target: float | None = None) -> dict:
    """How many times `fast` is the speed of `slow`, both in seconds: median, least and most of the paired repeats."""
    ratios = [one / other for one, other in zip(slow, fast, strict=True)]
    found = {"ratio": middle(ratios), "least": min(ratios), "most": max(ratios)}
    return found if target is None else found | {"target": target, "met": found["ratio"] >= target}


def processor_name() -> str:
    """The CPU's model, as Linux names it."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def describe_machine(device: str = "cpu") -> dict:
    """Device, threads and versions: without them a figure means nothing."""
    found = {name: version(name) for name in ("torch", "transformers", "peft")}
    found |= {"processor": processor_name(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    if device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "gpu_memory_gib": properties.total_memory / 2**30, "cuda": torch.version.cuda}
    return found


def load_average() -> float:
    """Programs that wanted to run in the last minute, this one included."""
    return os.getloadavg()[0]
