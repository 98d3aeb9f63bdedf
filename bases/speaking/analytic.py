"""Codes without a trained codec: a definition of Mimi's latent by linear algebra, so that all trainings can start.

A frame's latent has two parts. Its sound is the principal components of eight stacked log mel frames; the residual
code books 1.. quantise it. Its content is the bottleneck of a small classifier of phonemes that is told to ignore who
speaks; code book 0 quantises it alone, as Mimi's semantic half does. The Mimi encoder later learns to compute this
latent from samples, the Mimi decoder to make samples from its quantised form.

Entry 0 of every code book stays out of reach: a frame of zeros is CSM's end of audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bases.speaking.acoustics import BANDS, FLOOR, HOP, STACK

FRAME = BANDS * STACK  # numbers in a frame of stacked mel
CONTENT, SOUND = 32, 64  # dimensions of the two parts of the latent
FAR = 1e3  # where entry 0 lies, in a dimension that no latent uses
PROBES = (320, 960, 1600)  # samples into a frame at which its phoneme is asked for
SILENCE = "_"


class ContentNet(nn.Module):
    """Two stacked mel frames, the last and the present, (n, 2 * FRAME) -> (n, CONTENT)."""

    def __init__(self, width: int = 256):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * FRAME, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, CONTENT)
        )

    def forward(self, pairs: torch.Tensor) -> torch.Tensor:
        return self.layers(pairs)


@dataclass(eq=False)
class Analytic:
    """`mean` (FRAME,), `basis` (FRAME, SOUND), `net`, `scale` of its output, `books` (codebooks, entries, SOUND)."""

    mean: torch.Tensor
    basis: torch.Tensor
    net: ContentNet
    scale: torch.Tensor
    books: torch.Tensor

    @torch.inference_mode()
    def latent(self, mel: np.ndarray) -> torch.Tensor:
        """(frames, CONTENT + SOUND) of log mel (frames * STACK, BANDS)."""
        now = torch.from_numpy(stacked(mel)) - self.mean
        pairs = torch.cat([torch.cat([silent_frame() - self.mean, now[:-1]]), now], 1) / 2
        return torch.cat([self.net(pairs) / self.scale, now @ self.basis], 1)

    @torch.inference_mode()
    def quantise(self, latent: torch.Tensor) -> np.ndarray:
        """Codes (frames, codebooks) int16 of latents."""
        codes = [nearest(F.pad(latent[:, :CONTENT], (0, SOUND - CONTENT)), self.books[0])]
        rest = latent[:, CONTENT:]
        for book in self.books[1:]:
            codes.append(nearest(rest, book))
            rest = rest - book[codes[-1]]
        return torch.stack(codes, 1).numpy().astype(np.int16)

    @torch.inference_mode()
    def mel(self, codes: np.ndarray) -> np.ndarray:
        """Log mel (frames * STACK, BANDS) that the code books 1.. describe."""
        picks = torch.from_numpy(codes.astype(np.int64))
        sound = sum(book[picks[:, place]] for place, book in enumerate(self.books[1:], start=1))
        return (sound @ self.basis.T + self.mean).reshape(-1, BANDS).numpy()

    def save(self, path: Path) -> None:
        torch.save(
            {"mean": self.mean, "basis": self.basis, "net": self.net.state_dict(), "scale": self.scale,
             "books": self.books}, path
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> "Analytic":
        state = torch.load(path, weights_only=True)
        net = ContentNet(len(state["net"]["layers.0.bias"]))
        net.load_state_dict(state.pop("net"))
        return cls(net=net.eval(), **state)


def silent_frame() -> torch.Tensor:
    return torch.full((1, FRAME), float(np.log(FLOOR)))


def stacked(mel: np.ndarray) -> np.ndarray:
    """(frames, FRAME) of (frames * STACK, BANDS); what is left over at the end is dropped."""
    frames = len(mel) // STACK
    return np.ascontiguousarray(mel[: frames * STACK], np.float32).reshape(frames, FRAME)


def shifted(mel: np.ndarray, steps: int) -> np.ndarray:
    """`mel` (n, BANDS) that begins `steps` mel frames later: the same speech, cut into other frames."""
    return np.concatenate([np.full((steps, BANDS), np.log(FLOOR), np.float32), mel.astype(np.float32)])


def phonemes_at(phonemes: str, edges: np.ndarray, samples: np.ndarray) -> list[str]:
    """The phoneme at each of `samples`; a mark of stress counts as the phoneme that it stands before."""
    marks = list(phonemes)
    for place in range(len(marks) - 2, -1, -1):
        if marks[place] in "ˈˌ":
            marks[place] = marks[place + 1]
    places = np.searchsorted(edges, samples, side="right") - 1
    return [marks[place] if 0 <= place < len(marks) else SILENCE for place in places]


def frame_phonemes(phonemes: str, edges: np.ndarray, frames: int, steps: int) -> np.ndarray:
    """(frames, probes) phonemes of an utterance shifted by `steps` mel frames."""
    times = np.arange(frames)[:, None] * HOP * STACK + np.array(PROBES) - steps * HOP
    return np.array(phonemes_at(phonemes, edges, times.ravel())).reshape(frames, len(PROBES))


def nearest(points: torch.Tensor, book: torch.Tensor) -> torch.Tensor:
    """Index of the nearest entry of `book` (entries, size) for each of `points` (n, size); never entry 0."""
    half = book[1:].square().sum(1) / 2
    return torch.cat([(half - part @ book[1:].T).argmin(1) + 1 for part in points.split(8192)])


def k_means(points: torch.Tensor, entries: int, generator: torch.Generator, rounds: int = 12) -> torch.Tensor:
    """(entries, size) centroids of `points` after entry 0, which is all zeros here and never chosen."""
    picks = torch.randperm(len(points), generator=generator)[: entries - 1]
    book = torch.cat([torch.zeros(1, points.shape[1]), points[picks]])
    for _ in range(rounds):
        found = nearest(points, book)
        count = torch.bincount(found, minlength=entries).float()[:, None]
        total = torch.zeros_like(book).index_add_(0, found, points)
        spare = points[torch.randint(len(points), (entries,), generator=generator)]
        book = torch.where(count > 0, total / count.clamp(min=1), spare)
    book[0] = 0
    return book


def fit_books(latent: torch.Tensor, codebooks: int, entries: int, generator: torch.Generator) -> torch.Tensor:
    """Code books (codebooks, entries, SOUND) for latents (n, CONTENT + SOUND)."""
    content = k_means(latent[:, :CONTENT], entries, generator)
    books, rest = [F.pad(content, (0, SOUND - CONTENT))], latent[:, CONTENT:].clone()
    for _ in range(codebooks - 1):
        books.append(k_means(rest, entries, generator))
        rest = rest - books[-1][nearest(rest, books[-1])]
    return torch.stack(books)


def fit_content(
    pairs: torch.Tensor, labels: torch.Tensor, classes: int, steps: int, generator: torch.Generator, width: int = 256
) -> tuple[ContentNet, float]:
    """A net whose output tells the phonemes `labels` (n, probes) of `pairs` (n, 2 * FRAME), and its last loss.

    The net sees sound louder and softer than it was, and its output blurred, so that nearby outputs mean the same.
    """
    net, head = ContentNet(width), nn.Sequential(nn.GELU(), nn.Linear(CONTENT, labels.shape[1] * classes))
    optimizer = torch.optim.AdamW([*net.parameters(), *head.parameters()], 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        batch = torch.randint(len(pairs), (512,), generator=generator)
        louder = 0.2 * torch.randn(512, 1, generator=generator)
        content = net(pairs[batch] + louder)
        blur = 0.15 * content.detach().std() * torch.randn(content.shape, generator=generator)
        logits = head(content + blur).view(512, labels.shape[1], classes)
        loss = F.cross_entropy(logits.flatten(0, 1), labels[batch].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval(), float(loss.detach())


def fit(
    utterances: Sequence[tuple[np.ndarray, str, np.ndarray]],
    codebooks: int,
    entries: int,
    steps: int,
    seed: int = 0,
    most: int = 60_000,
) -> Analytic:
    """Fit to utterances (log mel, phonemes, edges), each shifted by a random part of a frame."""
    generator = torch.Generator().manual_seed(seed)
    now, before, labels = [], [], []
    for mel, phonemes, edges in utterances:
        steps_late = int(torch.randint(STACK, (1,), generator=generator))
        frames = torch.from_numpy(stacked(shifted(mel, steps_late)))
        now.append(frames)
        before.append(torch.cat([silent_frame(), frames[:-1]]))
        labels.append(frame_phonemes(phonemes, edges, len(frames), steps_late))
    frames, classes = torch.cat(now), sorted(set(np.concatenate(labels).ravel()))
    mean = frames.mean(0)
    order = torch.randperm(len(frames), generator=generator)[:most]
    values, vectors = torch.linalg.eigh(torch.cov((frames[order] - mean).T))
    basis = vectors[:, values.argsort(descending=True)[:SOUND]].contiguous()
    number = {name: place for place, name in enumerate(classes)}
    targets = torch.tensor(np.vectorize(number.get)(np.concatenate(labels)))
    pairs = torch.cat([torch.cat(before) - mean, frames - mean], 1) / 2
    net, _ = fit_content(pairs, targets, len(classes), steps, generator)
    with torch.inference_mode():
        content, sound = net(pairs[order]), (frames[order] - mean) @ basis
        scale = content.std()
        books = fit_books(torch.cat([content / scale, sound], 1), codebooks, entries, generator)
    return Analytic(mean.clone(), basis, net, scale.clone(), books.clone())
