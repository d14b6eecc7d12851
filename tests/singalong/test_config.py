"""Settings: read from TOML and the command line, written back whole, with messages that name the key."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singalong.config import Settings, default_models_home, default_store, dump_settings, load_settings
from singalong.errors import UsageError


def toml(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_all_settings_have_their_defaults() -> None:
    assert load_settings() == Settings()


def test_a_file_changes_what_it_names_and_overrides_have_the_last_word(tmp_path: Path) -> None:
    path = toml(tmp_path, "[lipsync]\ncrf = 20\npreset = 'slow'\n[plan]\nshard_s = 5\n")
    settings = load_settings(path, ["lipsync.crf=22", "lipsync.pads=[1, 2, 3, 4]", "run.store=/data/my store"])
    assert (settings.lipsync.crf, settings.lipsync.preset, settings.plan.shard_s) == (22, "slow", 5.0)
    assert settings.lipsync.pads == (1, 2, 3, 4)
    assert settings.run.store == "/data/my store"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lipsync.crff=20", "unknown setting lipsync.crff; did you mean lipsync.crf?"),
        ("nonsense.x=1", "unknown setting nonsense"),
        ("lipsync.crf=high", "setting lipsync.crf:"),
        ("lipsync.crf=99", "saw 99"),
        ("limits.max_duration_s=inf", "setting limits.max_duration_s"),
        ("run.executor=dask", "setting run.executor"),
        ("lipsync.crf", "section.key=value"),
        ("crf=3", "section.key=value"),
    ],
)
def test_a_bad_override_is_named(override: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(None, [override])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[lipsync", "cannot read"),
        ("lipsync = 3", "setting lipsync"),
        ("[lipsync]\nx = 1", "unknown setting lipsync.x"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(UsageError, match=words) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_a_folder_and_a_binary_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "binary"):
        with pytest.raises(UsageError, match="cannot read the settings"):
            load_settings(path)


def test_an_override_of_a_section_that_the_file_made_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one value for a whole section"):
        load_settings(toml(tmp_path, "lipsync = 3"), ["lipsync.crf=20"])


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(None, ["lipsync.crf=99", "plan.shard_s=-1"])
    assert "lipsync.crf" in str(caught.value)
    assert "plan.shard_s" in str(caught.value)


@given(
    store=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    shard_s=st.floats(1e-6, 1e6),
    pads=st.tuples(*[st.integers(-50, 50)] * 4),
    num_actors=st.none() | st.integers(1, 99),
)
def test_settings_come_back_from_what_is_written(tmp_path_factory: pytest.TempPathFactory, **values: Any) -> None:
    settings = Settings.model_validate(
        {
            "plan": {"shard_s": values["shard_s"]},
            "lipsync": {"pads": values["pads"]},
            "run": {"store": values["store"], "num_actors": values["num_actors"]},
        }
    )
    path = tmp_path_factory.getbasetemp() / "settings.toml"
    path.write_bytes(dump_settings(settings).encode())
    assert load_settings(path) == settings


def test_settings_of_a_stage_come_back_from_what_is_written(tmp_path: Path) -> None:
    overrides = ["cluster.lipsync.gpus=0.5", 'cluster.lipsync.labels={"ray.io/accelerator-type" = "A100", zone = "!b"}']
    settings = load_settings(None, [*overrides, "cluster.join.cpus=2"])
    assert settings.cluster.lipsync.labels == {"ray.io/accelerator-type": "A100", "zone": "!b"}
    assert (settings.cluster.lipsync.gpus, settings.cluster.join.cpus, settings.cluster.songs.cpus) == (0.5, 2, 1)
    assert load_settings(toml(tmp_path, dump_settings(settings))) == settings


def test_a_misspelt_setting_of_a_stage_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"cluster\.lipsync\.gpu; did you mean cluster\.lipsync\.gpus\?"):
        load_settings(None, ["cluster.lipsync.gpu=1"])


def test_every_key_is_spelled_out_in_what_is_written() -> None:
    written = tomllib.loads(dump_settings(Settings()))
    for name, section in Settings():
        assert set(written[name]) == {key for key, value in section if value is not None}


def test_every_setting_says_what_it_is() -> None:
    for name, section in Settings():
        for key, field in type(section).model_fields.items():
            assert field.description, f"{name}.{key}"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().lipsync.crf = 3  # type: ignore[misc]


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SINGALONG_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("SINGALONG_MODELS", str(tmp_path / "models"))
    assert Settings().store_location == str(tmp_path / "store")
    assert default_models_home() == tmp_path / "models"
    assert Settings().store_path == tmp_path / "store"
    assert load_settings(None, [f"run.store={tmp_path / 'other'}"]).store_path == tmp_path / "other"
    monkeypatch.delenv("SINGALONG_STORE")
    monkeypatch.delenv("SINGALONG_MODELS")
    assert default_store().name == "store"
    assert Settings().store_path == default_store()


def test_a_store_may_lie_at_a_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SINGALONG_STORE", "s3://bucket/store")
    assert Settings().store_location == "s3://bucket/store"
    chosen = load_settings(None, ["run.store=s3://bucket/other/", f"run.cache_dir={tmp_path}"])
    again = load_settings(None, ["run.store=s3://bucket/other", f"run.cache_dir={tmp_path}"])
    assert chosen.store_location == "s3://bucket/other/"
    assert chosen.store_path.parent == tmp_path
    assert chosen.store_path == again.store_path != Settings().store_path
    assert default_models_home().name == "models"
