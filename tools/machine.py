"""What this machine has: one place that asks torch about the GPU."""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    """The first CUDA device."""

    name: str
    memory_gib: float
    bfloat16: bool


def find_gpu() -> Gpu | None:
    """The GPU that training would use, or None. Asks torch, as the train stage does: a CPU build of torch sees none."""
    import torch  # seconds to import; most commands of the tools never ask

    if not torch.cuda.is_available():
        return None
    device = torch.cuda.get_device_properties(0)
    return Gpu(device.name, device.total_memory / GIB, device.major >= 8)  # bfloat16 came with Ampere
