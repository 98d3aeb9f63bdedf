"""How far decoded sound is from what it should be, and an encoder's latent from the analytic one."""

import functools

import numpy as np
import torch
from torch.nn import functional as F

from bases.speaking.acoustics import log_mel
from bases.speaking.analytic import CONTENT

QUIET = 0.01  # of a window's noise: below it a difference hardly counts, or training would mend silence first
QUIET_MEL = float(np.log(0.05))
RESOLUTIONS = [(2048, 512), (1024, 256), (512, 128), (128, 32)]  # samples of window and step


@functools.cache
def window(size: int) -> torch.Tensor:
    with torch.inference_mode(False):
        return torch.hann_window(size)


def magnitudes(sound: torch.Tensor, size: int, step: int) -> torch.Tensor:
    spectrum = torch.stft(sound, size, step, window=window(size), center=True, return_complex=True)
    return (torch.view_as_real(spectrum).square().sum(-1) + 1e-7).sqrt()


def sound_loss(made: torch.Tensor, true: torch.Tensor) -> dict[str, torch.Tensor]:
    """`spectrum`: log magnitudes and spectral convergence over four resolutions (Yamamoto et al. 2020, "Parallel
    WaveGAN"); `mel`: mean difference of log mels."""
    spectrum = torch.zeros(())
    for size, step in RESOLUTIONS:
        mine, theirs = magnitudes(made, size, step), magnitudes(true, size, step)
        difference = (mine - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1).clamp(min=1.0)
        quiet = QUIET * size**0.5
        logs = F.l1_loss(torch.log(mine + quiet), torch.log(theirs + quiet))
        spectrum = spectrum + (difference.mean() + logs) / len(RESOLUTIONS)
    return {"spectrum": spectrum, "mel": F.l1_loss(*(log_mel(sound).clamp(min=QUIET_MEL) for sound in (made, true)))}


def latent_loss(made: torch.Tensor, true: torch.Tensor) -> dict[str, torch.Tensor]:
    """Squared error of both parts of the latent (batch, frames, numbers), as shares of their variance."""
    losses = {}
    for name, part in (("content", slice(CONTENT)), ("sound", slice(CONTENT, None))):
        wanted = true[..., part]
        spread = (wanted - wanted.mean((0, 1))).square().mean().clamp(min=1e-6)
        losses[name] = (made[..., part] - wanted).square().mean() / spread
    return losses
