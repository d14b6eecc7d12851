"""Faults of clips: pipes, files replaced or taken away while the run goes on, and videos that are cut or flipped."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.bed import Bed, Came, Fault, is_sound, judge
from bench.rough import Place, store_keys, until

_PLAIN = "run.executor=inprocess"
_NUM_DAMAGED = 12


def _own_inputs(bed: Bed, name: str) -> Place:
    """A place with inputs of its own, to be spoiled."""
    place = bed.place(name)
    place.manifest = place.run.parent / "inputs" / "manifest.csv"
    shutil.copytree(bed.undisturbed.manifest.parent, place.manifest.parent)
    return place


def pipe_at_plan(bed: Bed) -> Came:
    """A clip is a pipe that nobody writes to: reading it would never end."""
    place = _own_inputs(bed, "pipe")
    clip = place.manifest.parent / "clip2.mp4"
    kept = clip.read_bytes()
    clip.unlink()
    os.mkfifo(clip)
    started = time.monotonic()
    command = place.command(_PLAIN)
    code = command.wait(120.0)
    took = time.monotonic() - started
    clip.unlink()
    clip.write_bytes(kept)
    done = bed.ends_right(place, _PLAIN)
    return judge(place, command, code, expected=2, resumed=done, says="is a device or a pipe", seconds=took)


def _spoiled_midway(bed: Bed, name: str, spoil: Callable[[Path], None]) -> Came:
    """The second clip is spoiled once its analysis is done and the first pair is being made."""
    place = _own_inputs(bed, name)
    clip = place.manifest.parent / "clip2.mp4"
    kept = clip.read_bytes()
    command = place.command(_PLAIN)
    until(lambda: len(place.finished()) >= 2, command=command)
    spoil(clip)
    code = command.wait()
    said = judge(place, command, code, expected=1, resumed=None, classes="INPUT", sound=is_sound(place))
    keys = set(store_keys(place.store))
    clip.unlink(missing_ok=True)
    clip.write_bytes(kept)
    done = bed.ends_right(place, _PLAIN)  # its bytes are compared: nothing of the other clip stands under its keys
    what = f"{said.what}; {len(keys)} committed"
    return Came(code, what, said.sound, len(place.made_twice()), done, said.as_expected)


def _replace(clip: Path) -> None:
    other = clip.with_name("clip1.mp4")
    shutil.copyfile(other, clip.with_name("new.mp4"))
    clip.with_name("new.mp4").replace(clip)


def _overwrite(clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    for position in range(len(data) // 3, len(data) // 2):
        data[position] ^= 0x55
    with clip.open("r+b") as file:
        file.write(data)


def _pipe(clip: Path) -> None:
    clip.unlink()
    os.mkfifo(clip)


def damaged_videos(bed: Bed) -> Came:
    """Copies of a clip that are cut or have flipped bits, at places drawn from a seed: each is made or refused."""
    place = _own_inputs(bed, "damaged")
    folder, drawn = place.manifest.parent, random.Random(20)
    whole = (folder / "clip1.mp4").read_bytes()
    rows = ["pair_id,clip,song,vocals,song_start_s,song_end_s"]
    for number in range(_NUM_DAMAGED):
        data = bytearray(whole)
        if number % 2:
            del data[drawn.randrange(64, len(data)) :]
        else:
            for _ in range(drawn.choice((1, 20, 400))):
                data[drawn.randrange(len(data))] ^= 1 << drawn.randrange(8)
        (folder / f"damaged{number}.mp4").write_bytes(bytes(data))
        rows.append(f"d{number},damaged{number}.mp4,song.wav,vocals.wav,0,0.4")
    place.manifest.write_text("\n".join(rows) + "\n")
    command = place.command(_PLAIN, "lipsync.generator=auto")
    code = command.wait(400.0)
    failures = place.failures()
    told = command.said().count("INPUT")
    sound = not place.unsound() and set(failures) <= {"INPUT"} and "BUG" not in command.said()
    what = f"{len(place.finished())} shards made, {told} INPUT"
    return Came(code, what, sound, len(place.made_twice()), None, code in (0, 1) and "Traceback" not in command.said())


MEDIA_FAULTS: dict[str, Fault] = {
    "clip is a pipe": pipe_at_plan,
    "clip replaced while running": partial(_spoiled_midway, name="replaced", spoil=_replace),
    "clip overwritten in place while running": partial(_spoiled_midway, name="overwritten", spoil=_overwrite),
    "clip deleted while running": partial(_spoiled_midway, name="deleted", spoil=lambda clip: clip.unlink()),
    "clip becomes a pipe while running": partial(_spoiled_midway, name="becomes-pipe", spoil=_pipe),
    "clips cut and bit-flipped": damaged_videos,
}
