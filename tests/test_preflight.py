"""Pre-flight: a model that cannot memorise a handful of rows, with their ends, is not trained right."""

import numpy as np
import pytest
import tiny
import torch

from stages.csm.generate import generate
from stages.csm.inputs import IGNORED, accept_codes, collate
from stages.csm.turns import Prompt

LENGTHS = [5, 8, 11, 14]


def memorise(turns, steps, labelled_end=True):
    """Full training on `turns`, one batch a step; without `labelled_end` the end frame is not a label."""
    model = tiny.model().train()
    model.requires_grad_(True)
    model.codec_model.requires_grad_(False)
    accept_codes(model)
    batch = collate([[turn] for turn in turns], model.config)
    if not labelled_end:
        batch["labels"][batch["labels"] == model.config.audio_eos_token_id] = IGNORED
    weights = [tensor for tensor in model.parameters() if tensor.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval(), float(loss.detach())


def spoken(model, turns):
    return generate(model, [Prompt(turn.text_ids) for turn in turns], max_frames=30, temperature=0)


@pytest.mark.slow
def test_memorised_rows_come_back_and_stop_where_they_stop():
    turns = tiny.turns(LENGTHS)
    model, loss = memorise(turns, 400)
    assert loss < 0.5
    for turn, clip in zip(turns, spoken(model, turns), strict=True):
        assert clip.stopped and np.array_equal(clip.codes, turn.codes)


@pytest.mark.slow
def test_without_the_end_label_nothing_stops():
    """What CSM's first releases did to everybody's fine-tunes."""
    turns = tiny.turns(LENGTHS)
    model, _ = memorise(turns, 400, labelled_end=False)
    assert not any(clip.stopped for clip in spoken(model, turns))
