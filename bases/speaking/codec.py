"""Train the base's codec: `python -m bases.speaking.codec encoder|decoder`.

The encoder learns to compute the analytic latents from sound. The decoder makes sound from codes: of the encoder, once
that is trained, so that it learns what the encoder gets wrong; until then of the analytic codec. Each can be killed at
any time and goes on where it was.
"""

import argparse
import sys
from pathlib import Path

from stages.process.stage import run  # isort: skip  (first: it fixes the number of threads)

import torch

from bases.speaking.analytic import Analytic
from bases.speaking.codec_losses import latent_loss, sound_loss
from bases.speaking.codec_model import decoded, decoder_part, encoder_latent, encoder_part, make_codec
from bases.speaking.folders import data_folder
from bases.speaking.muon import Muon
from bases.speaking.settings import CodecSettings
from bases.speaking.sound_batches import BEFORE, FRAME_SAMPLES, FRAMES_BEFORE, RATE, Pieces, Sampler, read_speech
from bases.speaking.training import Average, Schedule, load_state, train
from stages.files.settings import read_settings

PARAMS = Path(__file__).with_name("params.yaml")
MEASURED = 24  # held-out pieces


class Part(torch.nn.Module):
    """The trained half of a codec: its loss on pieces of speech, and nothing else's weights."""

    def __init__(self, name: str, codec):
        super().__init__()
        self.name, self.whole = name, [codec]  # in a list, so that the other half is no part of this module
        self.encoded = False
        self.weights = torch.nn.ParameterList((decoder_part if name == "decoder" else encoder_part)(codec))

    def forward(self, pieces: Pieces) -> dict[str, torch.Tensor]:
        if self.name == "decoder":
            codes = self.encoder_codes(pieces) if self.encoded else pieces.codes
            return sound_loss(decoded(self.whole[0], codes), pieces.sound[:, BEFORE:])
        return latent_loss(encoder_latent(self.whole[0], pieces.sound)[:, FRAMES_BEFORE:], pieces.latent)

    @torch.no_grad()
    def encoder_codes(self, pieces: Pieces) -> torch.Tensor:
        """(batch, frames, codebooks) of the pieces, as the trained encoder gives them."""
        codes = self.whole[0].encode(pieces.sound[:, None]).audio_codes
        return codes.transpose(1, 2)[:, FRAMES_BEFORE:]


def load_part(folder: Path, name: str, codec) -> bool:
    """Give `codec` the averaged weights of one half; False when it was not trained yet."""
    state = load_state(folder / "codec" / f"{name}.pt")
    for key, weight in Part(name, codec).named_parameters() if state else ():
        weight.data.copy_(state["average"][key])
    return state is not None


def load_codec(folder: Path, settings: CodecSettings):
    """The codec as trained so far: both halves with their averaged weights."""
    codec = make_codec(settings, Analytic.load(folder / "analytic.pt")).eval().requires_grad_(False)
    for name in ("decoder", "encoder"):
        load_part(folder, name, codec)
    return codec


@torch.inference_mode()
def measure(part: Part, kept: Pieces) -> dict[str, float]:
    return {f"held_out_{name}": float(value) for name, value in part(kept).items()}


def train_part(folder: Path, settings: CodecSettings, name: str) -> None:
    """Train one half until its `steps`; state and curve lie in `folder`/codec."""
    analytic = Analytic.load(folder / "analytic.pt")
    voices = read_speech(folder / "speech")
    frames = round(settings.seconds * RATE / FRAME_SAMPLES)
    heard = {voice: train for voice, (train, _) in voices.items()}
    held = {voice: kept for voice, (_, kept) in voices.items() if kept}
    kept = Sampler(held, analytic, frames, seed=1).batch(MEASURED)
    torch.manual_seed(settings.seed)
    codec = make_codec(settings, analytic)
    part = Part(name, codec)
    part.encoded = name == "decoder" and load_part(folder, "encoder", codec)
    steps = settings.decoder_steps if name == "decoder" else settings.encoder_steps
    peak = settings.decoder_rate if name == "decoder" else settings.encoder_rate
    optimizer = Muon(part.parameters(), peak, 0.01, betas=(0.8, 0.99))

    def losses_of(seed: int):
        sampler = Sampler(heard, analytic, frames, seed)
        return lambda: part(sampler.batch(settings.batch_size))

    schedule = Schedule(steps, peak, settings.warmup, settings.decay, settings.save_steps, settings.seed)
    average = Average(part, settings.average)
    path = folder / "codec" / f"{name}.pt"
    train(
        path,
        part,
        optimizer,
        average,
        schedule,
        losses_of,
        lambda found: sum(found.values()),
        lambda: measure(part, kept),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["decoder", "encoder"])
    train_part(data_folder(), read_settings(CodecSettings, "codec", PARAMS), parser.parse_args().part)


if __name__ == "__main__":
    run(main, "codec/" + "".join(sys.argv[1:2]))  # a lock for each half: both may train at once
