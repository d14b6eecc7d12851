"""The media the page plays: films of the run, clips that its plan names, and nothing else."""

from __future__ import annotations

import mimetypes
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.responses import FileResponse, Response

from review.curve import COLUMNS
from review.feed import PairView
from singalong.errors import InputError
from singalong.media.thumbnails import write_thumbnail
from singalong.remote_run import here
from singalong.remote_store import store_of
from singalong.runfolder import RunFolder
from singalong.store import Store

_STILL_SIDE_PX = 960
_TYPES = {".mkv": "video/x-matroska", ".mov": "video/quicktime", ".m4v": "video/mp4", ".webm": "video/webm"}
"""What the systems' tables of types leave out, or differ about."""
_CACHE = {"cache-control": "private, max-age=600"}
"""Film addresses carry the film's hash, so a new film is asked for anew."""


def film_of(run: Path, view: PairView) -> Path:
    """A pair's film. Raises InputError where there is none, or where it lies outside the run folder."""
    return _inside(run, view.row.output)


def thumbnail_of(run: Path, view: PairView) -> Path:
    """The picture beside a pair's film; raises as `film_of` does."""
    return _inside(run, view.row.thumbnail)


def clip_of(run: RunFolder, view: PairView) -> Path:
    """The clip a pair is made of. Raises InputError where it is gone, or neither a video nor a picture by its name."""
    if view.plan is None:
        raise InputError("the row was never planned: there is no clip to show")
    try:
        path = store_of(run.settings).local_media(view.plan.clip)
    except FileNotFoundError:
        raise InputError("the clip is not there any more", file=view.plan.clip) from None
    if not path.is_file():
        raise InputError("the clip is not there any more", file=path)
    if not media_type(path).startswith(("video/", "image/")):
        raise InputError("not the name of a video or a picture", file=path)
    return path


def part_of(run: RunFolder, view: PairView) -> Path:
    """The first part of a pair that is not joined yet, without its song. Raises InputError where it is not done."""
    store = store_of(run.settings)
    result = store.find(view.shards[0].work_key) if view.shards else None
    if result is None:
        raise InputError("its first part is not done yet", value=view.row.pair_id)
    return store.segment_path(result)


def file_response(path: Path) -> Response:
    """A file as a browser wants its media: whole or in ranges, with its type."""
    return FileResponse(path, media_type=media_type(path), headers=_CACHE, content_disposition_type="inline")


def media_type(path: Path) -> str:
    """Type by the file's name."""
    return _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def still_of(run: RunFolder, view: PairView, at_s: float) -> bytes:
    """The clip's frame at a time as a JPEG, for browsers that cannot play the clip. Raises MediaError."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "still.jpg"
        write_thumbnail(clip_of(run, view), at_s, picture, max_side_px=_STILL_SIDE_PX)
        return picture.read_bytes()


def frames_tables(run: RunFolder, view: PairView) -> list[pa.Table]:
    """The frames tables of a pair's finished shards in order: from the store, or else those kept in the run folder."""
    store = store_of(run.settings)
    tables = []
    for shard in view.shards:
        result = store.find(shard.work_key)
        kept, table = here(run.frames_path(shard.shard_id)), None
        if store.fetches and kept.is_file():
            result = None  # nothing is fetched that the run has
        for place in (store.frames_place(result) if result else None, str(kept)):
            table = None if place is None else _read(store, place)
            if table is not None:
                tables.append(table)
                break
    return tables


def _read(store: Store, place: str) -> pa.Table | None:
    try:
        return pq.ParquetFile(store.here(place)).read(columns=COLUMNS, use_threads=False)
    except (OSError, pa.ArrowException, ValueError):
        return None


def _inside(run: Path, name: str | None) -> Path:
    if name is None:
        raise InputError("there is no film yet")
    root, path = run.resolve(), (run / name).resolve()
    if not path.is_relative_to(root):
        raise InputError("the report names a file outside the run folder", value=name)
    here(run / name)
    if not path.is_file():
        raise InputError("the file is not there any more", file=path)
    return path
