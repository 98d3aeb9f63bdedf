"""Generation and encoding side by side: ours and the stock way, on the same prompts and sounds, codes compared."""

from collections.abc import Sequence

import numpy as np
import torch

from stages.csm.codec import FRAME_SECONDS, encode
from stages.csm.generate import generate
from stages.csm.turns import Prompt, text_ids
from stages.process.problem import Problem
from tools.benchmarks.clock import compared, middle, timed

LEAST_EQUAL = 0.999  # share of codes


def stock_generate(model, processor, texts: Sequence[str], frames: int) -> np.ndarray:
    """Greedy codes (texts, frames, codebooks) by the model's own `generate`; shorter if all texts end before."""
    conversations = [[{"role": "0", "content": [{"type": "text", "text": text}]}] for text in texts]
    inputs = processor.apply_chat_template(conversations, tokenize=True, return_dict=True).to(model.device)
    with torch.inference_mode():
        found = model.generate(**inputs, do_sample=False, depth_decoder_do_sample=False, max_new_tokens=frames)
    return found.cpu().numpy()


def our_generate(model, processor, texts: Sequence[str], frames: int) -> list[np.ndarray]:
    """Greedy codes (frames, codebooks) of each text by the loop that evaluation and `make say` use."""
    prompts = [Prompt(text_ids(processor, text, 0)) for text in texts]
    clips = generate(model, prompts, max_frames=frames, temperature=0, batch_size=len(texts))
    return [clip.codes for clip in clips]


def compare_generation(
    model, processor, texts: Sequence[str], frames: int, repeats: int, device: str, target: float | None = None
) -> dict:
    """Seconds per frame of one utterance both ways. Raises Problem if a code differs where codes are exact (CPU)."""
    stock, own = [], []
    for _ in range(repeats):
        seconds, theirs = timed(lambda: stock_generate(model, processor, texts, frames), device)
        stock.append(seconds / len(texts) / theirs.shape[1])
        seconds, ours = timed(lambda: our_generate(model, processor, texts, frames), device)
        own.append(seconds / len(texts) / max(map(len, ours)))
    same = [np.array_equal(codes, row[: len(codes)]) for codes, row in zip(ours, theirs, strict=True)]
    if device == "cpu" and not all(same):
        raise Problem(f"{same.count(False)} of {len(same)} texts got other codes than from the stock generate")
    return {
        "batch": len(texts),
        "frames": frames,
        "equal": sum(same) / len(same),
        "stock_ms_per_frame": 1000 * middle(stock),
        "ms_per_frame": 1000 * middle(own),
        "real_time_factor": middle(own) * len(texts) / FRAME_SECONDS,
    } | compared(stock, own, target)


def compare_encoding(model, sounds: Sequence[np.ndarray], batch_seconds: float, repeats: int, device: str) -> dict:
    """Seconds of sound per second, clip by clip and in batches. Raises Problem unless the codes are the same.

    Where two centroids are equally near, the last bit of a sum decides, and it depends on the size of the batch; then
    that code and those of the code books after it differ.
    """
    single, batched = [], []
    for _ in range(repeats):
        seconds, apart = timed(lambda: encode(model, sounds, 0.0), device)
        single.append(seconds)
        seconds, together = timed(lambda: encode(model, sounds, batch_seconds), device)
        batched.append(seconds)
    same = float(np.mean(np.concatenate([(a == b).ravel() for a, b in zip(apart, together, strict=True)])))
    if device == "cpu" and same < LEAST_EQUAL:
        raise Problem(f"only {same:.2%} of the codes of a batch are those of single clips")
    total = sum(map(len, apart)) * FRAME_SECONDS
    return {
        "clips": len(sounds),
        "batch_seconds": batch_seconds,
        "equal_codes": same,
        "single_audio_seconds_per_second": total / middle(single),
        "audio_seconds_per_second": total / middle(batched),
    } | compared(single, batched)
