"""Preparing a song: once, whole or not at all, the same as computed at once, in memory that does not grow."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tasks.prepare_song as prepare_song_module
from singalong.errors import MediaError
from singalong.media.audio import iter_mono_16k, mel_spectrogram, voice_activity
from singalong.store import Store
from singalong.synthetic.dsp import write_wav
from singalong.synthetic.song import Song
from singalong.versions import SONG_VERSION
from tasks.prepare_song import load_song, prepare_song
from tests.sounds import chirp, tone, write_sound

SHA = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_what_is_stored_is_what_is_computed_at_once(tmp_path: Path, store: Store) -> None:
    path = write_sound(tmp_path / "a.wav", np.concatenate([chirp(2.0, 44100), np.zeros(44100, np.float32)]), 44100)
    song = load_song(prepare_song(path, sha256=SHA, store=store))
    samples = np.concatenate(list(iter_mono_16k(path)))
    np.testing.assert_array_equal(song.samples_16k, samples)
    np.testing.assert_allclose(song.mel, mel_spectrogram(samples, 16000), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(song.voiced, voice_activity(song.mel))
    assert (song.mel.dtype, song.samples_16k.dtype, song.voiced.dtype) == (np.float32, np.float32, np.bool_)
    assert song.mel.shape == (80, 241)
    assert song.duration_s == 3.0
    assert 0 < song.voiced.mean() < 1


def test_arrays_are_mapped_not_loaded(tmp_path: Path, store: Store) -> None:
    song = load_song(prepare_song(write_sound(tmp_path / "a.wav", chirp(1.0, 16000), 16000), sha256=SHA, store=store))
    assert all(isinstance(array, np.memmap) for array in (song.mel, song.samples_16k, song.voiced))
    assert not song.mel.flags.writeable


def test_facts_are_told_in_json(tmp_path: Path, store: Store) -> None:
    folder = prepare_song(write_sound(tmp_path / "a.wav", chirp(1.0, 16000), 16000), sha256=SHA, store=store)
    facts = json.loads((folder / "facts.json").read_text())
    assert facts == {
        "version": SONG_VERSION,
        "num_samples": 16000,
        "sample_rate_hz": 16000,
        "duration_s": 1.0,
        "num_mel": 81,
        "voiced_share": 1.0,
    }


def test_a_song_is_prepared_once(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sound(tmp_path / "a.wav", chirp(0.5, 16000), 16000)
    folder = prepare_song(path, sha256=SHA, store=store)
    monkeypatch.setattr(prepare_song_module, "_build", None)
    path.unlink()
    assert prepare_song(path, sha256=SHA, store=store) == folder


def test_a_new_version_is_prepared_anew(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sound(tmp_path / "a.wav", chirp(0.5, 16000), 16000)
    folder = prepare_song(path, sha256=SHA, store=store)
    monkeypatch.setattr(prepare_song_module, "SONG_VERSION", SONG_VERSION + "x")
    assert prepare_song(path, sha256=SHA, store=store) != folder


def test_a_song_that_fails_half_way_leaves_nothing(tmp_path: Path, store: Store) -> None:
    samples = chirp(3.0, 16000)
    samples[-10] = np.nan
    path = write_sound(tmp_path / "a.wav", samples, 16000, codec="pcm_f32le")
    with pytest.raises(MediaError, match="not numbers"):
        prepare_song(path, sha256=SHA, store=store)
    assert store.cached("songs", SHA, SONG_VERSION) is None


@pytest.mark.parametrize("num_samples", [1, 150, 399, 401])
def test_the_shortest_songs_have_their_columns(tmp_path: Path, store: Store, num_samples: int) -> None:
    path = write_sound(tmp_path / "a.wav", chirp(0.1, 16000)[:num_samples], 16000)
    song = load_song(prepare_song(path, sha256=SHA, store=store))
    assert song.mel.shape == (80, 1 + num_samples // 200)
    assert song.voiced.shape == (song.mel.shape[1],)


def test_memory_does_not_grow_with_the_song(tmp_path: Path, store: Store) -> None:
    peaks = []
    for number, seconds in enumerate((20, 200)):
        path = write_sound(tmp_path / f"{number}.wav", np.tile(chirp(1.0, 16000), seconds), 16000)
        tracemalloc.start()
        prepare_song(path, sha256=f"{number:064x}", store=store)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 2e6  # the longer song's samples alone take 11 MB more


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> tuple[Song, Path]:
    """A song with an intro, and its file."""
    song = Song.from_seed(7003, 12.0, snr_db=6.0, intro=True)
    return song, write_wav(tmp_path_factory.mktemp("mix") / "mix.wav", song.mix)


def test_the_voice_is_found_in_a_mix_and_not_in_its_band(mix: tuple[Song, Path], tmp_path: Path, store: Store) -> None:
    song, path = mix
    found = load_song(prepare_song(path, sha256=SHA, store=store, finds_voice=True))
    truth = np.zeros(len(found.voiced), bool)
    for start_s, end_s in song.voiced_spans:
        truth[round(start_s * 80) : round(end_s * 80)] = True
    hits = (found.voiced & truth).sum()
    assert hits / truth.sum() > 0.85
    assert hits / found.voiced.sum() > 0.85
    band = write_wav(tmp_path / "band.wav", song.band)
    assert not load_song(prepare_song(band, sha256="cd" * 32, store=store, finds_voice=True)).voiced.any()


def test_a_mix_and_a_stem_of_the_same_bytes_are_kept_apart_and_sound_alike(
    mix: tuple[Song, Path], store: Store
) -> None:
    stem, found = (
        load_song(prepare_song(mix[1], sha256=SHA, store=store, finds_voice=finds_voice))
        for finds_voice in (False, True)
    )
    np.testing.assert_array_equal(stem.mel, found.mel)
    np.testing.assert_array_equal(stem.samples_16k, found.samples_16k)
    assert stem.voiced.sum() > found.voiced.sum()


def test_a_voice_alone_keeps_its_steps(mix: tuple[Song, Path], tmp_path: Path, store: Store) -> None:
    path = write_wav(tmp_path / "alone.wav", mix[0].vocals)
    alone, found = (
        load_song(prepare_song(path, sha256=SHA, store=store, finds_voice=finds_voice)).voiced
        for finds_voice in (False, True)
    )
    assert (found & alone).sum() / alone.sum() > 0.97


def test_channels_that_cancel_each_other_out_are_checked_where_nobody_else_did(tmp_path: Path, store: Store) -> None:
    voice = chirp(1.0, 16000)
    path = write_sound(tmp_path / "a.wav", np.stack([voice, -voice], axis=1), 16000)
    naive = load_song(prepare_song(path, sha256=SHA, store=store))
    checked = load_song(prepare_song(path, sha256=SHA, store=store, checks_channels=True))
    assert not naive.voiced.any()
    assert checked.voiced.all()


def test_channels_of_a_song_are_kept_apart(tmp_path: Path, store: Store) -> None:
    left, right = chirp(1.0, 16000, seed=1), tone(700, 1.0, 16000)
    path = write_sound(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000)
    folders = {channel: prepare_song(path, sha256=SHA, store=store, channel=channel) for channel in (None, 0, 1)}
    assert len(set(folders.values())) == 3
    np.testing.assert_allclose(load_song(folders[0]).samples_16k, left, atol=1e-4)
    np.testing.assert_allclose(load_song(folders[1]).samples_16k, right, atol=1e-4)
    np.testing.assert_allclose(load_song(folders[None]).samples_16k, (left + right) / 2, atol=1e-4)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8000, 48000])
def test_silent_short_clipped_and_float_sounds_can_be_searched(
    tmp_path: Path, store: Store, num_channels: int, rate_hz: int
) -> None:
    loud = np.clip(chirp(0.5, rate_hz) * 9, -1, 1)
    for number, samples in enumerate((loud, loud * 3, loud[:7], loud * 0)):
        data = np.stack([samples] * num_channels, axis=1) if num_channels > 1 else samples
        path = write_sound(tmp_path / f"{number}.wav", data, rate_hz, codec="pcm_f32le")
        song = load_song(prepare_song(path, sha256=f"{number:064x}", store=store, finds_voice=True))
        assert song.voiced.shape == (song.mel.shape[1],)
    assert not song.voiced.any()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("jfk_speech.flac", 0.65, 0.8),
        ("vocadito_10_acappella.wav", 0.85, 1.0),
        ("fishin_song_vocals.m4a", 0.7, 1.0),
        ("vibe_ace_instrumental.mp3", 0.0, 0.05),
    ],
)
def test_real_voices_are_found_and_a_real_instrumental_has_none(
    shared_data: Path, store: Store, name: str, least: float, most: float
) -> None:
    song = load_song(prepare_song(shared_data / "songs" / name, sha256=SHA, store=store, finds_voice=True))
    assert least <= song.voiced.mean() <= most
