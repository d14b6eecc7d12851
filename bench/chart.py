"""A picture of where time goes: one bar a way of working, one colour a stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _BAR, _GAP, _LEFT, _TOP = 1200, 46, 26, 190, 70
_INK, _PAPER, _LINE = (30, 32, 36), (255, 255, 255), (205, 208, 212)
# Okabe and Ito's colours, which colour-blind people tell apart, and tints of them.
_COLORS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66),
    (120, 120, 120), (127, 184, 216), (242, 207, 127), (127, 206, 185), (229, 188, 211), (170, 217, 244),
)  # fmt: skip


def draw_bars(path: Path, ways: Mapping[str, Mapping[str, float]], *, title: str, unit: str) -> None:
    """Write a PNG of stacked bars: `ways` maps a way to its stages and what each takes, in `unit`."""
    stages = list(dict.fromkeys(stage for parts in ways.values() for stage in parts))
    colors = {stage: _COLORS[index % len(_COLORS)] for index, stage in enumerate(stages)}
    font, small = ImageFont.load_default(18), ImageFont.load_default(14)
    legend_rows = -(-len(stages) // 4)
    height = _TOP + len(ways) * (_BAR + _GAP) + 40 + legend_rows * 24 + 20
    picture = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((20, 20), title, fill=_INK, font=font)
    scale = (_WIDTH - _LEFT - 130) / max(sum(parts.values()) for parts in ways.values())
    for row, (way, parts) in enumerate(ways.items()):
        top = _TOP + row * (_BAR + _GAP)
        draw.text((20, top + 12), way, fill=_INK, font=small)
        left = float(_LEFT)
        for stage, took in parts.items():
            right = left + took * scale
            draw.rectangle((left, top, right, top + _BAR), fill=colors[stage], outline=_PAPER)
            if right - left > 44:
                draw.text(
                    (left + 5, top + 14), f"{took:.1f}", fill=_PAPER if _is_dark(colors[stage]) else _INK, font=small
                )
            left = right
        draw.text((left + 8, top + 12), f"{sum(parts.values()):.1f} {unit}", fill=_INK, font=small)
    below = _TOP + len(ways) * (_BAR + _GAP) + 10
    draw.line((20, below, _WIDTH - 20, below), fill=_LINE)
    for index, stage in enumerate(stages):
        x, y = 20 + (index % 4) * (_WIDTH - 40) // 4, below + 16 + (index // 4) * 24
        draw.rectangle((x, y, x + 16, y + 14), fill=colors[stage])
        draw.text((x + 24, y - 1), stage, fill=_INK, font=small)
    picture.save(path)


def _is_dark(color: tuple[int, int, int]) -> bool:
    red, green, blue = color
    return 0.3 * red + 0.6 * green + 0.1 * blue < 140
