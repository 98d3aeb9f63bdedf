"""Codes in the place of sound: the same ids, the same loss, the right labels."""

import numpy as np
import pytest
import tiny
import torch

from stages.csm.codec import FRAME_SAMPLES, decode, encode, frames_of
from stages.csm.inputs import IGNORED, accept_codes, collate, lay_out
from stages.csm.turns import Turn, read_coded, text_ids
from stages.process.problem import Problem


def conversation(*items):
    """Messages for CsmProcessor: (text, sound or None)."""
    return [
        {
            "role": "0",
            "content": [{"type": "text", "text": text}] + ([] if sound is None else [{"type": "audio", "path": sound}]),
        }
        for text, sound in items
    ]


@pytest.fixture(scope="module")
def model():
    return tiny.model()


def test_a_batch_gives_the_codes_of_single_clips(model):
    clips = [tiny.sound(frames, seed=frames)[: -300 * (frames % 2) or None] for frames in (9, 20, 14, 31)]
    together = encode(model, clips, batch_seconds=60.0)
    for clip, codes in zip(clips, together, strict=True):
        assert codes.shape == (frames_of(len(clip)), 32)
        assert np.array_equal(codes, encode(model, [clip])[0])


def test_decoding_gives_a_frame_for_a_frame(model):
    codes = encode(model, [tiny.sound(7)])[0]
    assert decode(model, codes).shape == (7 * FRAME_SAMPLES,)
    assert decode(model, codes[:0]).shape == (0,)


def test_the_laid_out_ids_are_the_processors_own(model):
    first, second = tiny.sound(6, 1), tiny.sound(11, 2)
    theirs = tiny.processor().apply_chat_template(
        conversation(("Hello there.", first), ("Good day.", second)), tokenize=True, return_dict=True
    )
    codes = encode(model, [first, second])
    turns = [
        Turn(text_ids(tiny.processor(), "Hello there.", 0), codes[0]),
        Turn(text_ids(tiny.processor(), "Good day.", 0), codes[1]),
    ]
    assert lay_out(turns, model.config)[0] == theirs["input_ids"][0].tolist()


def test_codes_computed_once_equal_the_codec_in_the_loop_to_the_last_digit():
    model = tiny.model()
    sound = tiny.sound(13, 3)
    theirs = tiny.processor().apply_chat_template(
        conversation(("Hello there.", sound)),
        tokenize=True,
        return_dict=True,
        processor_kwargs={"output_labels": True},
    )
    with torch.no_grad():
        in_the_loop = model(**theirs)
        accept_codes(model)
        turn = Turn(text_ids(tiny.processor(), "Hello there.", 0), encode(model, [sound])[0])
        once = model(**collate([[turn]], model.config))
    assert float(once.backbone_loss) == float(in_the_loop.backbone_loss)
    assert float(once.depth_decoder_loss) == float(in_the_loop.depth_decoder_loss)


def test_only_sound_and_its_end_are_labels(model):
    context, spoken, longer = tiny.turns([4, 6, 15])
    batch = collate([[context, spoken], [longer]], model.config)
    labels, ids = batch["labels"][0], batch["input_ids"][0]
    start = context.length + len(spoken.text_ids)
    assert (labels[:start] == IGNORED).all()  # context, its sound included, and text
    assert (labels[start : start + 6] == model.config.audio_token_id).all()
    assert labels[start + 6] == model.config.audio_eos_token_id
    assert (labels[start + 7 :] == IGNORED).all()  # padding
    assert (labels == model.config.audio_eos_token_id).sum() == 1
    assert (ids == model.config.audio_eos_token_id).sum() == 2


def test_padding_is_never_taken_for_sound(model):
    """The published configuration's pad id is the audio token's."""
    batch = collate([[turn] for turn in tiny.turns([3, 12])], model.config)
    assert int((batch["input_ids"] == model.config.audio_token_id).sum()) == 15


def test_the_loss_is_the_definition_spelled_out():
    """Codebook 0 of frame t from the hidden state before it; the others from that state and the codes so far."""
    model = tiny.model()
    accept_codes(model)
    turn = tiny.turns([5])[0]
    batch = collate([[turn]], model.config)
    with torch.no_grad():
        outputs = model(**batch, output_hidden_states=True)
        hidden = outputs.hidden_states[-1][0]
        frames = np.concatenate([turn.codes, np.zeros((1, 32), np.int16)])
        start = len(turn.text_ids)
        codebook0, acoustic = [], []
        for offset, frame in enumerate(torch.from_numpy(frames).long()):
            before = hidden[start + offset - 1]
            codebook0.append(torch.nn.functional.cross_entropy(model.lm_head(before), frame[0]))
            depth = model.depth_decoder(
                input_ids=torch.cat([torch.zeros(1, dtype=torch.long), frame[:-1]])[None],
                backbone_last_hidden_state=before[None],
            )
            acoustic.append(torch.nn.functional.cross_entropy(depth.logits[0], frame[1:]))
    assert float(outputs.backbone_loss) == pytest.approx(float(torch.stack(codebook0).mean()), abs=1e-5)
    assert float(outputs.depth_decoder_loss) == pytest.approx(float(torch.stack(acoustic).mean()), abs=1e-5)


def test_a_token_mark_in_the_text_is_refused():
    with pytest.raises(Problem, match="token mark"):
        text_ids(tiny.processor(), "Hello <|AUDIO|> there.", 0)


def test_coded_rows_survive_the_file(tmp_path):
    tiny.write_codes(tmp_path)
    row, turn = read_coded(tmp_path / "validation.parquet")[1]
    assert row.id == "talk-0002000" and row.split == "validation"
    assert turn.codes.shape[1] == 32 and turn.codes.dtype == np.int16 and isinstance(turn.text_ids[0], int)
