"""`singalong score` of what lies in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.commands.score import score_command
from singalong.objects import ObjectFolder
from tests.object_server import ObjectServer

CLIP, SONG = "clip1_640x360.mp4", "song.wav"


def test_videos_and_sounds_at_urls_score_as_their_files_do_and_are_fetched_once(
    bucket_url: str, object_server: ObjectServer, demo_inputs: Path, tmp_path: Path, call: Any
) -> None:
    media = ObjectFolder.at(f"{bucket_url}/our media")
    for name in (CLIP, SONG):
        media.upload(name, demo_inputs / name)
    here = ["--set", f"run.store={tmp_path / 'one'}"]
    code, (local,) = call("score", demo_inputs / CLIP, "--audio", demo_inputs / SONG, *here)
    assert code == 0
    there = ["--set", f"run.store={bucket_url}/store", "--set", f"run.cache_dir={tmp_path / 'cache'}"]
    for _ in range(2):
        object_server.requests()
        code, (remote,) = call("score", media.join(CLIP), "--audio", media.join(SONG), *there)
        assert (code, remote["video"], remote["audio"]) == (0, media.join(CLIP), media.join(SONG))
        assert remote["score"] == local["score"]
    assert not [line for line in object_server.requests() if line.startswith("GET") and CLIP in line], "it is here"

    code, said = call("score", "https://example.org/a.mp4", *there)
    assert code == 2
    assert "not a place we know" in said


def test_what_is_wrong_with_a_video_or_its_sound_is_told_of_its_url(
    bucket_url: str, demo_inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media = ObjectFolder.at(f"{bucket_url}/media")
    media.upload(CLIP, demo_inputs / CLIP)
    media.write("page.mp4", b"<html>")
    for video, audio, told in (
        ("page.mp4", None, "page.mp4"),
        ("none.mp4", None, "none.mp4"),
        (CLIP, "page.mp4", "page.mp4"),
    ):
        sound = None if audio is None else media.join(audio)
        places = [f"run.store={tmp_path / 'store'}"]
        command = score_command(
            [media.join(video)], audio=sound, face="largest", config=None, overrides=places, as_json=True
        )
        assert command == 1
        said = capsys.readouterr().err.replace("\n", "")
        assert media.join(told) in said
        assert str(tmp_path) not in said
