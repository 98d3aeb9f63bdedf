"""Small line charts as SVG: a few panels over one x axis, with a legend. No network, no plotting library."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

PAPER, INK, QUIET, LINE, RAISED = "#fbfaf7", "#23211d", "#6b665c", "#e2ddd2", "#ffffff"
COLOURS = ("#0f5e63", "#c8553d", "#3d6fb4", "#b58a1b", "#7a4f9a", "#5d7a2c", "#a33b6e", "#4a4a4a")
FONT = "system-ui, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
WIDTH, MARGIN, GAP, AXIS = 960, 28, 40, 46  # AXIS: room for the numbers left of a panel
PANEL_HEIGHT, PANEL_HEAD, PANEL_FOOT = 230, 56, 40
LEGEND_ROW, LETTER = 24, 7.2  # LETTER: about the width of one in the legend


@dataclass(frozen=True)
class Series:
    """One line of a panel: points (x, y) in the order of x."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """One measure. `reference` is drawn as a dashed line across; series of one label have one colour in all panels.

    The axis spans at least `span`, so that differences too small to mean anything do not look large.
    """

    title: str
    note: str
    series: Sequence[Series]
    reference: float | None = None
    percent: bool = False
    span: float = 0.0


@dataclass(frozen=True)
class Box:
    """Where a panel's curves are drawn, in pixels."""

    left: float
    top: float
    width: float
    height: float


def widened(low: float, high: float, span: float, most: float) -> tuple[float, float]:
    """At least `span` wide, around the middle; yet not below 0 or above `most` where the values are not."""
    if high - low >= span:
        return low, high
    start = max((low + high - span) / 2, min(low, 0.0))
    start = max(min(start, max(high, most) - span), min(low, 0.0))
    return start, start + span


def number(value: float) -> str:
    """A coordinate: short, and the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers, 1, 2 or 5 times a power of ten apart, the first not above `low` and the last not below `high`."""
    if high <= low:
        middle = abs(low) or 1.0
        low, high = low - 0.1 * middle, high + 0.1 * middle
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def label(value: float, percent: bool) -> str:
    return f"{value * 100:g} %" if percent else f"{value:g}"


def text(x: float, y: float, words: str, size: float = 13, colour: str = QUIET, anchor="start", weight=400) -> str:
    return (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashed}/>'
    )


def marker(x: float, y: float, place: int) -> str:
    """A mark whose colour and shape both tell the series, for those who see no colours."""
    colour, shape = COLOURS[place % len(COLOURS)], (place + place // len(COLOURS)) % 4
    style = f'fill="{colour}" stroke="{RAISED}" stroke-width="1.5"'
    if shape == 0:
        return f'<circle cx="{number(x)}" cy="{number(y)}" r="5" {style}/>'
    outlines = (
        [(-4.5, -4.5), (4.5, -4.5), (4.5, 4.5), (-4.5, 4.5)],
        [(0, -6), (6, 0), (0, 6), (-6, 0)],
        [(0, -6), (5.5, 4.5), (-5.5, 4.5)],
    )
    points = " ".join(f"{number(x + dx)},{number(y + dy)}" for dx, dy in outlines[shape - 1])
    return f'<polygon points="{points}" {style}/>'


def x_scale(values: Sequence[float], box: Box, log: bool):
    """A function from x to pixels; the outermost values keep a little room to the edges."""
    at = math.log10 if log else float
    low, high = at(min(values)), at(max(values))
    room = 26
    if high == low:
        return lambda value: box.left + box.width / 2
    return lambda value: box.left + room + (at(value) - low) / (high - low) * (box.width - 2 * room)


def x_axis(values: Sequence[float], box: Box, place_of, title: str) -> list[str]:
    """A tick at every value there is, and its number where there is room."""
    drawn, last = [], -math.inf
    bottom = box.top + box.height
    for value in values:
        x = place_of(value)
        drawn.append(line(x, bottom, x, bottom + 4, QUIET))
        words = f"{value:.3g}" if value < 1000 else f"{value:.0f}"
        half = len(words) * 3.4
        if x - half > last + 6:
            drawn.append(text(x, bottom + 18, words, 12, anchor="middle"))
            last = x + half
    drawn.append(text(box.left + box.width / 2, bottom + 36, title, 12, anchor="middle"))
    return drawn


def draw_panel(panel: Panel, box: Box, values: Sequence[float], labels: Sequence[str], x_title: str, log: bool) -> str:
    heights = [y for series in panel.series for _, y in series.points]
    heights += [] if panel.reference is None else [panel.reference]
    drawn = [
        text(box.left - AXIS, box.top - 36, panel.title, 15, INK, weight=600),
        text(box.left - AXIS, box.top - 18, panel.note, 12),
    ]
    if not heights:
        return "\n".join([*drawn, text(box.left + box.width / 2, box.top + box.height / 2, "nothing measured")])
    marks = ticks(*widened(min(heights), max(heights), panel.span, 1.0 if panel.percent else math.inf))
    low, high = marks[0], marks[-1]

    def y_of(value: float) -> float:
        return box.top + box.height - (value - low) / (high - low) * box.height

    for mark in marks:
        drawn.append(line(box.left, y_of(mark), box.left + box.width, y_of(mark), LINE))
        drawn.append(text(box.left - 8, y_of(mark) + 4, label(mark, panel.percent), 12, anchor="end"))
    place_of = x_scale(values, box, log)
    drawn += x_axis(values, box, place_of, x_title)
    if panel.reference is not None:
        y = y_of(panel.reference)
        drawn.append(line(box.left, y, box.left + box.width, y, QUIET, 1.5, "5 4"))
    for series in panel.series:
        place = labels.index(series.label)
        spots = [(place_of(x), y_of(y)) for x, y in series.points]
        path = " ".join(f"{number(x)},{number(y)}" for x, y in spots)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{COLOURS[place % len(COLOURS)]}" stroke-width="2" '
            'stroke-linejoin="round"/>'
        )
        drawn += [marker(x, y, place) for x, y in spots]
    return "\n".join(drawn)


def legend(labels: Sequence[str], reference: str | None, top: float) -> tuple[list[str], float]:
    """What each colour and shape stands for, in as many rows as it takes; and the height of them all."""
    drawn, x, y = [], float(MARGIN), top
    for place, words in enumerate([*labels, *([reference] if reference else [])]):
        width = 34 + len(words) * LETTER + 22
        if x > MARGIN and x + width > WIDTH - MARGIN:
            x, y = float(MARGIN), y + LEGEND_ROW
        if place < len(labels):
            drawn.append(line(x, y, x + 26, y, COLOURS[place % len(COLOURS)], 2))
            drawn.append(marker(x + 13, y, place))
        else:
            drawn.append(line(x, y, x + 26, y, QUIET, 1.5, "5 4"))
        drawn.append(text(x + 34, y + 4.5, words, 13, INK))
        x += width
    return drawn, y + LEGEND_ROW - top


def figure(
    title: str, subtitle: str, panels: Sequence[Panel], x_title: str, log: bool = False, reference: str | None = None
) -> str:
    """An SVG document: `panels` two to a row over the same x values. `reference` names the dashed lines, if any."""
    labels = list(dict.fromkeys(series.label for panel in panels for series in panel.series))
    values = sorted({x for panel in panels for series in panel.series for x, _ in series.points})
    log = log and bool(values) and values[0] > 0
    drawn = [text(MARGIN, 40, title, 21, INK, weight=600), text(MARGIN, 64, subtitle, 13)]
    entries, height = legend(labels, reference, 92)
    drawn += entries
    columns = min(2, len(panels))
    width = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
    tall = PANEL_HEAD + PANEL_HEIGHT + PANEL_FOOT + 18
    top = 92 + height
    for place, panel in enumerate(panels):
        left = MARGIN + place % columns * (width + GAP) + AXIS
        box = Box(left, top + place // columns * tall + PANEL_HEAD, width - AXIS, PANEL_HEIGHT)
        drawn.append(draw_panel(panel, box, values, labels, x_title, log))
    full = top + -(-len(panels) // columns) * tall + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {number(full)}" width="{WIDTH}" '
        f'height="{number(full)}" font-family="{FONT}">\n'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )
