"""How good is the signal? Predictors of listeners' marks that need no reference: DNSMOS P.835, or UTMOS.

DNSMOS hears noise and clipping, not naturalness: a synthesiser may outdo a person. Read it beside the recordings' mark.
"""

import importlib.util
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol

import numpy as np
import onnxruntime
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from stages.process.problem import Problem
from stages.scoring.failures import LOWEST_DNSMOS

QualityName = Literal["dnsmos", "utmos", "none"]
RATE = 16_000  # Hz, of both
WINDOW = 144_160  # samples: the 9.01 s that DNSMOS takes
# The network's overall mark -> that of listeners: the polynomial of Microsoft's script for P.835 (highest power first).
OVERALL = (-0.06766283, 1.11546468, 0.04602535)
SPEECHMOS_REMEDY = "pip install --no-deps speechmos==0.0.1.1"
UTMOS_REPOSITORY, UTMOS_FILE = "Blinorot/UTMOS-PyTorch", "utmos_scripted.pt"


class Quality(Protocol):
    """`name` with version; `limit`: the mark below which a clip is noisy, None when that is not known."""

    name: str
    limit: float | None

    def mark(self, samples: np.ndarray) -> float:
        """About 1 (bad) to 5 (excellent) for a clip (n,) float32 at 16 kHz that is not empty."""


class Dnsmos:
    """DNSMOS P.835 (Reddy et al. 2022), overall mark, with the network that the package speechmos carries.

    The package's own code runs a second network that is not asked for here, on as many threads as it likes; its way of
    cutting a clip into windows is followed to the sample.
    """

    limit = LOWEST_DNSMOS

    def __init__(self):
        package = importlib.util.find_spec("speechmos")
        if package is None or package.origin is None:
            raise Problem(
                f"evaluate.quality: the package speechmos is not installed; run `{SPEECHMOS_REMEDY}`, or set it to none"
            )
        self.name = f"DNSMOS P.835 OVRL (speechmos {version('speechmos')})"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # clips run side by side instead
        path = Path(package.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def mark(self, samples: np.ndarray) -> float:
        # One window at a time: several together take no less time, and seven times the memory (1.2 GB for each clip).
        raw = [self.session.run(None, {"input_1": window[None]})[0][0] for window in windows(np.clip(samples, -1, 1))]
        return float(np.polyval(OVERALL, np.array(raw, np.float64)[:, 2]).mean())


def windows(samples: np.ndarray) -> np.ndarray:
    """A clip (n,) -> (windows, 144160) float32, one beginning every second; a short clip is first said again."""
    while len(samples) < WINDOW:
        samples = np.concatenate([samples, samples])
    count = int(len(samples) // RATE - WINDOW / RATE) + 1
    starts = (RATE * number for number in range(max(count, 1)))
    return np.stack([samples[start : start + WINDOW] for start in starts]).astype(np.float32)


class Utmos:
    """UTMOS (Saeki et al. 2022), the strong learner: a predictor of naturalness. Its weights come from the hub."""

    limit = None  # the project's limit for noise is one of DNSMOS

    def __init__(self, path: str | Path | None = None):
        """`path`: the file of weights (TorchScript), if it is at hand."""
        found = Path(path or downloaded_utmos())
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.network = torch.jit.load(found, map_location=self.device).eval()
        except (RuntimeError, ValueError) as error:
            raise Problem(
                f"{found.name}: not a TorchScript file ({str(error).splitlines()[0]}); get it again"
            ) from None
        # In the hub's cache the folder of a file is named by the commit.
        self.name = "UTMOS strong" + (f" ({UTMOS_REPOSITORY}@{found.parent.name[:7]})" if path is None else "")
        self.lock = Lock()  # one clip at a time on a GPU

    @torch.inference_mode()
    def mark(self, samples: np.ndarray) -> float:
        with self.lock:
            found = self.network(torch.from_numpy(np.asarray(samples, np.float32))[None].to(self.device))
        return float(found.reshape(-1)[0])


def downloaded_utmos() -> str:
    try:
        return hf_hub_download(UTMOS_REPOSITORY, UTMOS_FILE)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        remedy = "check the net, or set it to dnsmos, whose weights are in a package"
        raise Problem(
            f"evaluate.quality: UTMOS cannot be downloaded ({str(error).splitlines()[0]}); {remedy}"
        ) from None


def load_quality(name: QualityName) -> Quality | None:
    """The predictor of that name; None for "none". Raises Problem when it cannot be had."""
    return {"dnsmos": Dnsmos, "utmos": Utmos, "none": lambda: None}[name]()
