"""A small picture of a clip: how loud it is over its time, and where its pitch goes. Paths for an SVG drawing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

COLUMNS, STEP, HEIGHT = 60, 2, 32  # the drawing is COLUMNS * STEP wide
MIDDLE = HEIGHT // 2
LIFT = 0.7  # power of the peak: quiet speech can be seen, the noise of a room hardly
ROOM = 0.25  # octaves above and below the pitch of most speech
DRAWING = {"width": COLUMNS * STEP, "height": HEIGHT}


@dataclass(frozen=True)
class Picture:
    """`wave` and `pitch` are the data of SVG paths; `pitch` is empty where nothing is voiced."""

    wave: str
    pitch: str = ""


def joined(*numbers: int) -> str:
    """Numbers as a path takes them: a minus parts them as well as a space does."""
    return " ".join(map(str, numbers)).replace(" -", "-")


def wave(samples: np.ndarray) -> str:
    """One upright line a column, as high as the loudest sample (n,) of that stretch of time."""
    peaks = [float(part.max()) if len(part) else 0.0 for part in np.array_split(np.abs(samples), COLUMNS)]
    drawn, last = [], MIDDLE
    for place, peak in enumerate(peaks):
        half = max(1, round(min(peak, 1.0) ** LIFT * (MIDDLE - 1)))
        start = f"M{STEP // 2} {MIDDLE - half}" if not place else f"m{joined(STEP, MIDDLE - half - last)}"
        drawn.append(f"{start}v{2 * half}")
        last = MIDDLE + half
    return "".join(drawn)


def pitch_range(tracks: Iterable[Sequence[float | None]]) -> tuple[float, float] | None:
    """log2 Hz of the lower and the upper edge, one for all clips so that they can be compared; None without voice."""
    voiced = [value for track in tracks for value in track if value]
    if not voiced:
        return None
    low, high = np.percentile(np.log2(voiced), (2, 98))
    return float(low) - ROOM, float(high) + ROOM


def pitch(track: Sequence[float | None], limits: tuple[float, float] | None) -> str:
    """A line through the median pitch of each column of which at least half is voiced; it breaks where none is."""
    if not limits or not track:
        return ""
    low, high = limits
    drawn: list[str] = []
    before: int | None = None
    edges = [round(place * len(track) / COLUMNS) for place in range(COLUMNS + 1)]
    for place in range(COLUMNS):
        part = track[edges[place] : max(edges[place + 1], edges[place] + 1)]
        voiced = [value for value in part if value]
        if not voiced or 2 * len(voiced) < len(part):
            before = None
            continue
        share = (float(np.log2(np.median(voiced))) - low) / (high - low)
        y = round((HEIGHT - 2) * (1 - min(max(share, 0.0), 1.0))) + 1
        drawn.append(f"M{STEP * place + 1} {y}h0" if before is None else f"l{joined(STEP, y - before)}")
        before = y
    return "".join(drawn)
