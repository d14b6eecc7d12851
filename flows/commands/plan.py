"""`singalong plan`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from flows.exit_codes import EXIT_OK, EXIT_SOME_FAILED
from flows.terminal import out, planning, print_facts, print_json, print_table, print_warning
from singalong.config import load_settings
from singalong.contracts import Plan
from singalong.plan import estimate_cost, plan_summary
from singalong.remote_store import store_of
from singalong.store import Store
from tasks.plan_run import plan_run
from tasks.preview.make import make_preview, preview_folder
from tasks.preview.page import Preview


def plan_command(
    manifest: str | Path,
    *,
    config: Path | None,
    overrides: list[str],
    require_rights: bool,
    preview_dir: Path | None,
    preview_results: bool,
    as_json: bool,
) -> int:
    """Check a manifest and show what a run of it would do; exit code 1 if some rows cannot be used.

    With `preview_dir` pictures of who would sing are written to it, with `preview_results` also of how it will look.
    """
    settings = load_settings(config, overrides)
    store = store_of(settings)
    folder = None if preview_dir is None else preview_folder(preview_dir)
    with planning() as progress:
        plan, _rows = plan_run(
            manifest,
            settings=settings,
            store=store,
            require_rights=require_rights,
            progress=progress,
            note=print_warning,
        )
        preview = None
        if folder is not None:
            preview = make_preview(plan, folder, settings=settings, with_results=preview_results, progress=progress)
    found = store.find_many(shard.work_key for shard in plan.shards)
    cached = {shard.shard_id for shard in plan.shards if shard.work_key in found}
    if as_json:
        print_json(_document(plan, cached) | ({} if preview is None else {"preview": preview.model_dump(mode="json")}))
    else:
        _show(plan, cached, store)
        if preview is not None:
            _show_preview(preview)
    return EXIT_OK if not plan.problems and (preview is None or preview.is_whole) else EXIT_SOME_FAILED


def _show_preview(preview: Preview) -> None:
    for clip in preview.clips:
        if clip.failure is not None:
            print_warning(f"{clip.clip}: {clip.failure.message}")
        for pair_id, problem in clip.problems.items():
            print_warning(f"{pair_id}: {problem}")
    for result in preview.results:
        if result.failure is not None:
            print_warning(f"{result.pair_id}: {result.failure.message}")
    num_sheets = sum(len(clip.files) for clip in preview.clips)
    num_results = sum(result.file is not None for result in preview.results)
    print_facts({"preview": f"{preview.page} ({num_sheets} contact sheets, {num_results} results)"})


def _document(plan: Plan, cached: set[str]) -> dict[str, object]:
    finished = {shard.work_key for shard in plan.shards if shard.shard_id in cached}
    return plan_summary(plan, finished) | {
        "pairs": [pair.model_dump(mode="json") for pair in plan.pairs],
        "shards": [
            shard.model_dump(mode="json") | {"cached": shard.shard_id in cached, "num_frames": shard.num_frames}
            for shard in plan.shards
        ],
    }


def _show(plan: Plan, cached: set[str], store: Store) -> None:
    todo: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for shard in plan.shards:
        (done if shard.shard_id in cached else todo)[shard.pair_id] += 1
    rows: list[list[object]] = [
        [
            pair.pair_id,
            pair.montage,
            f"{pair.width}x{pair.height}",
            f"{float(pair.fps):.2f}",
            pair.num_frames,
            f"{pair.song_start_s:.2f}-{pair.song_end_s:.2f}",
            done[pair.pair_id],
            todo[pair.pair_id],
        ]
        for pair in plan.pairs
    ]
    columns = ["pair", "montage", "size", "fps", "frames", "song span s", "cached", "todo"]
    print_table(f"{len(plan.pairs)} pairs", columns, rows)
    for problem in plan.problems:
        place = problem.place or f"row {problem.row}"
        print_warning(f"{place} ({problem.pair_id}): {problem.error_message}")
    out.print()
    cost = estimate_cost(plan, {shard.work_key for shard in plan.shards if shard.shard_id in cached})
    print_facts(
        {
            "shards": f"{cost.num_shards} ({len(cached)} cached, {cost.num_todo_shards} to do)",
            "frames": f"{cost.num_frames:,} ({cost.num_todo_frames:,} to do), {cost.output_s:.1f} s of video",
            "generator": ", ".join(sorted({pair.generator.name for pair in plan.pairs})) or "none",
            "scorer": plan.scorer.name if plan.scorer else "none: outputs will be 'not scorable'",
            "store": store.location,
        }
    )
