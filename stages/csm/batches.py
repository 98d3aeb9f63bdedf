"""Which rows are trained together: rows of one length to a batch, dealt to several processes, some with context."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from stages.csm.turns import Turn
from stages.files.rows import Row
from stages.process.problem import Problem

JITTER = 0.15  # rows within this share of one another's length may meet in a batch: little padding, yet mixed rows


class Rows(Dataset):
    """What is trained on: each item is a list of turns, of which the last is spoken and those before it are heard.

    A seeded `context_share` of the rows hears the row before it (same recording, same speaker), as a cloned voice
    does; a row whose context would pass `limit` positions goes without. Without a share no row has context.
    """

    def __init__(self, coded: Sequence[tuple[Row, Turn]], context_share: float = 0.0, limit: int = 2048, seed: int = 0):
        drawn = torch.rand(len(coded), generator=torch.Generator().manual_seed(seed)).tolist()
        self.items: list[list[Turn]] = []
        for place, (row, turn) in enumerate(coded):
            before, heard = coded[place - 1] if place else (None, None)
            together = before and (before.recording, before.source) == (row.recording, row.source)
            wanted = together and drawn[place] < context_share and heard.length + turn.length <= limit
            self.items.append([heard, turn] if wanted else [turn])
        self.lengths = [sum(turn.length for turn in turns) for turns in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> list[Turn]:
        return self.items[index]


def batch_sizes(lengths: Sequence[int], batch_size: int, batch_tokens: int | None, processes: int = 1) -> list[int]:
    """Rows in each batch, for rows sorted by length: `batch_size` of them, or as many as fit `batch_tokens` padded
    positions. The number of batches is a multiple of `processes`, so that none of them waits and no row is dropped."""
    if len(lengths) < processes:
        raise Problem(f"{len(lengths)} training rows cannot feed {processes} processes; lower train.processes")
    if batch_tokens is None:
        batches = -(-len(lengths) // batch_size)
        batches += -batches % processes
        return [len(lengths) // batches + (place < len(lengths) % batches) for place in range(batches)]
    if max(lengths) > batch_tokens:
        raise Problem(f"a row has {max(lengths)} positions, more than train.batch_tokens {batch_tokens}; raise it")
    sizes = [0]
    for length in sorted(lengths):
        if (sizes[-1] + 1) * length > batch_tokens:
            sizes.append(0)
        sizes[-1] += 1
    while len(sizes) % processes:
        largest = sizes.index(max(sizes))
        sizes[largest : largest + 1] = [sizes[largest] // 2, sizes[largest] - sizes[largest] // 2]
    return sizes


class Batches(Sampler):
    """Lists of row numbers: a seeded shuffle per epoch in which the rows of a batch have similar lengths.

    The order is a function of (seed, epoch) alone, so that a resumed run sees the rows that an unbroken one would; each
    epoch has the same number of batches. Process `rank` of `processes` takes every batch whose turn it is.
    """

    def __init__(self, lengths: Sequence[int], sizes: Sequence[int], seed: int, rank: int = 0, processes: int = 1):
        self.lengths, self.sizes, self.seed = lengths, sizes, seed
        self.rank, self.processes, self.epoch = rank, processes, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sizes) // self.processes

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        stretch = 1 + JITTER * (2 * torch.rand(len(self.lengths), generator=generator) - 1)
        order = (torch.tensor(self.lengths) * stretch).argsort().tolist()
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        batches = [order[end - size : end] for end, size in zip(ends, self.sizes, strict=True)]
        for place in torch.randperm(len(batches), generator=generator).tolist()[self.rank :: self.processes]:
            yield batches[place]


class Loader(DataLoader):
    """A data loader that tells its batches which epoch it is, as the Trainer asks."""

    def set_epoch(self, epoch: int) -> None:
        self.batch_sampler.set_epoch(epoch)


def useful_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Share of the backbone's positions that are not padding."""
    padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)
    return sum(lengths[index] for batch in batches for index in batch) / padded
