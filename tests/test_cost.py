"""The cost model against a count of what torch runs, and against the arithmetic published for CSM-1B."""

import pytest
import tiny
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CsmConfig

from stages.csm.cost import Work, codec_second, forward, second_of_audio, training_step
from stages.csm.inputs import BACKBONE_ONLY, accept_codes, collate
from stages.csm.lora import add_adapter, expected_parameters
from stages.csm.recipe import Lora
from stages.csm.sizes import linear_sizes
from stages.process.problem import Problem

LORA = Lora(rank=4, alpha=8, rslora=True, dropout=0.0, targets=["q_proj", "v_proj", "gate_proj", "down_proj"])
FRAMES = 60


def counted(run) -> dict[str, int]:
    """Operations that torch runs, by module."""
    with FlopCounterMode(display=False) as counter:
        run()
    return {name: sum(found.values()) for name, found in counter.get_flop_counts().items()}


def batch(config, depth_frames=FRAMES + 1):
    inputs = collate([tiny.turns([FRAMES])], config)
    frames = (inputs["labels"] != -100).nonzero()[depth_frames:]
    inputs["labels"][frames[:, 0], frames[:, 1]] = BACKBONE_ONLY
    length = inputs["input_ids"].shape[1]
    return inputs, Work(positions=length, depth_frames=depth_frames, context=length)


def model():
    """The tiny CSM with attention as matrix products that torch can count."""
    found = tiny.model()
    found.set_attn_implementation("eager")
    accept_codes(found)
    return found.train()


@pytest.mark.parametrize("depth_frames", [FRAMES + 1, 4])
def test_a_forward_pass_costs_what_torch_counts(depth_frames):
    csm = model()
    inputs, work = batch(csm.config, depth_frames)
    with torch.no_grad():
        found = counted(lambda: csm(**inputs))
    cost, name = forward(csm.config, work), "CsmForConditionalGeneration"
    assert cost.total == pytest.approx(found["Global"], rel=0.01)
    assert cost.backbone == pytest.approx(found[f"{name}.backbone_model"], rel=0.01)
    assert cost.depth_decoder == pytest.approx(found[f"{name}.depth_decoder.model"], rel=0.01)
    heads = found[f"{name}.lm_head"] + found[f"{name}.depth_decoder.codebooks_head"]
    assert cost.heads == pytest.approx(heads, rel=0.01)


@pytest.mark.parametrize("depth_frames", [FRAMES + 1, 4])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_lora_step_costs_what_torch_counts(checkpointing, depth_frames):
    csm = add_adapter(model(), LORA)
    if checkpointing:
        csm.gradient_checkpointing_enable({"use_reentrant": False})
    inputs, work = batch(csm.config, depth_frames)
    found = counted(lambda: csm(**inputs).loss.backward())["Global"]
    assert training_step(csm.config, work, LORA, checkpointing).total == pytest.approx(found, rel=0.02)


def test_a_full_step_costs_what_torch_counts():
    csm = model()
    inputs, work = batch(csm.config)
    found = counted(lambda: csm(**inputs).loss.backward())["Global"]
    assert training_step(csm.config, work, None).total == pytest.approx(found, rel=0.02)


def test_the_codec_costs_what_torch_counts():
    csm = model()
    sound, codec = torch.from_numpy(tiny.sound(FRAMES))[None, None], csm.config.codec_config
    with torch.no_grad():
        found = counted(lambda: csm.codec_model.encode(sound))["Global"]
    seconds = FRAMES / codec.frame_rate
    # torch does not count the search for the nearest code
    search = 2 * FRAMES * codec.num_quantizers * codec.codebook_size * codec.codebook_dim
    assert seconds * codec_second(codec, seconds) - search == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize("ratio, billions", [(1, 123.4), (1 / 4, 54.2), (1 / 16, 36.9)])
def test_the_published_model_costs_what_its_arithmetic_says(ratio, billions):
    config = CsmConfig()
    work = second_of_audio(config, ratio)
    once = forward(config, work).total
    assert once / 1e9 == pytest.approx(billions, rel=0.01)
    step, saving = (training_step(config, work, LORA, checkpointing) for checkpointing in (False, True))
    assert (step.total - step.adapters) / once == pytest.approx(2, rel=0.01)
    assert (saving.total - saving.adapters) / once == pytest.approx(3, rel=0.03)


def test_the_depth_decoder_is_most_of_the_work_and_the_codec_little():
    config = CsmConfig()
    cost = forward(config, second_of_audio(config, codec_in_loop=True))
    assert cost.depth_decoder / cost.total > 0.7
    assert cost.codec / 1e9 == pytest.approx(5.3 + 0.42, rel=0.02)  # its layers, and the search in 32 code books


def test_padding_and_the_codec_in_the_loop_only_add():
    config = CsmConfig()
    lean, padded = second_of_audio(config), second_of_audio(config, text_rate=40.0, codec_in_loop=True)
    assert forward(config, padded).depth_decoder == forward(config, lean).depth_decoder
    assert forward(config, padded).backbone > 3 * forward(config, lean).backbone


def test_adapters_have_as_many_weights_as_lora_trains():
    config = CsmConfig()
    lora = LORA.model_copy(update={"targets": list(linear_sizes(config))})
    step = training_step(config, Work(1, 1 / 32, 0), lora)  # one position of each transformer
    assert step.adapters == 3 * 2 * expected_parameters(config, lora)


def test_an_unknown_target_is_named():
    with pytest.raises(Problem, match="CSM has no x_proj"):
        training_step(CsmConfig(), Work(1, 1, 1), LORA.model_copy(update={"targets": ["x_proj"]}))
