"""What a run takes from object stores, as its metrics tell and as the store itself saw it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.order import run_stages
from singalong.config import load_settings
from singalong.objects import ObjectFolder
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from singalong.traffic import take
from tasks.plan_run import plan_run
from tasks.session import Session
from tests.object_server import ObjectServer

pytestmark = pytest.mark.ray
CLIP, SONG = "clip1_640x360.mp4", "song.wav"


def told_in(file: Path) -> Counter[tuple[str, str]]:
    """Of each counter of traffic its value, by name and label."""
    found: Counter[tuple[str, str]] = Counter()
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            label = sample.labels.get("operation") or sample.labels.get("direction") or sample.labels.get("kind")
            if label and sample.name.endswith("_total"):
                found[sample.name.removeprefix("singalong_").removesuffix("_total"), label] += int(sample.value)
    return found


def test_what_driver_and_workers_ask_of_the_store_is_told_once_and_survives_a_resume(
    bucket_url: str, object_server: ObjectServer, demo_inputs: Path, tmp_path: Path
) -> None:
    media = ObjectFolder.at(f"{bucket_url}/media")
    for name in (CLIP, SONG):
        media.upload(name, demo_inputs / name)
    manifest, file = tmp_path / "m.csv", tmp_path / "night.prom"
    manifest.write_text(f"pair_id,clip,song,song_end_s\none,{media.join(CLIP)},{media.join(SONG)},0.4\n")
    overrides = ["run.executor=ray", "run.num_actors=1", f"run.store={bucket_url}/store", f"run.metrics_file={file}"]
    settings = load_settings(None, [*overrides, f"run.cache_dir={tmp_path / 'cache'}", "film.credentials=none"])
    take()
    object_server.requests()
    plan, rows = plan_run(manifest, settings=settings, store=store_of(settings))
    run = RunFolder.create(tmp_path / "run", plan, settings, manifest=rows)
    with Session(run) as session:
        assert run_stages(session).complete
    told, seen = told_in(file), object_server.requests()
    num_told = sum(amount for (name, _), amount in told.items() if name == "object_requests")
    assert num_told == len(seen), "what the planning, the driver and the worker asked, once each"
    made = sum(facts.size for facts in ObjectFolder.at(f"{bucket_url}/store").list())
    assert made <= told["object_bytes", "sent"] < 1.1 * made, "the worker sends what it makes; little else goes there"
    sizes = (demo_inputs / CLIP).stat().st_size + (demo_inputs / SONG).stat().st_size
    assert told["object_bytes", "fetched"] >= sizes
    assert told["cache_misses", "media"] == 2, "once each, however many ask"
    assert told["cache_hits", "media"] > 0

    with Session(RunFolder.open(run.path)) as session:
        session.pending()
    again = told_in(file)
    assert again["object_requests", "list"] > told["object_requests", "list"]
    assert all(again[key] >= amount for key, amount in told.items()), "as if there had been one session"
