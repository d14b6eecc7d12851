"""The training dataset on disk: face sequences with their sound, one folder each.

    <dataset>/sequences/<id>/faces.jpgs    the frames as JPEG files, one after the other
                             index.npy     int64 (n + 1,): where each frame begins in faces.jpgs, and the last one's end
                             mel.npy       float32 (80, T)
                             commit.json   written last: no sequence without it
    <dataset>/val.txt                      optional: the videos to validate with, instead of those chosen by hash
    <dataset>/tmp/                         sequences in the making, swept when their process is dead

A sequence is one person in one shot: 96x96 BGR crops, 25 a second, at least 21, none missing. Column
trunc(80 * (f / 25)) of the mel spectrogram belongs to the start of frame f, and the 16 columns that a network hears
with a frame are there for every frame.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import shutil
from collections.abc import Iterator, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from singalong.contracts import Row
from singalong.durable import fsync_dir, fsync_file, make_dirs, sha256_of
from singalong.errors import InputError, UsageError
from singalong.media.audio import CHUNK_STEPS, NUM_BANDS
from singalong.media.units import MEL_STEPS_PER_S, SCORE_FPS
from singalong.tempdirs import TempDirs

FORMAT_VERSION = 1
SIDE_PX = 96
MIN_FRAMES = 21
"""Two windows of 5 frames that do not touch, with room to choose: the original wants more than 15 frames."""
JPEG_QUALITY = 95
DEFAULT_VAL_SHARE = 0.05

_FACES, _INDEX, _MEL, _COMMIT, _VAL = "faces.jpgs", "index.npy", "mel.npy", "commit.json", "val.txt"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")

Split = Literal["train", "val"]
U8 = NDArray[np.uint8]
Floats = NDArray[np.float32]


class SequenceFacts(Row):
    """commit.json: what a sequence is and where it came from."""

    format_version: int = FORMAT_VERSION
    sequence_id: str
    source: str = Field(description="the video, as a path relative to the folder it was found in")
    source_sha256: str = Field(description="of the video's bytes; decides the split")
    num_frames: int = Field(ge=MIN_FRAMES)
    num_mel_steps: int
    files: dict[str, int] = Field(description="every file and its size, so that a lost tail is noticed")
    digest: str = Field(description="SHA-256 over the digests of the files")


def num_mel_steps_needed(num_frames: int) -> int:
    """Columns that give each of so many frames its 16: trunc(80 * ((n - 1) / 25)) + 16."""
    return ((num_frames - 1) * MEL_STEPS_PER_S) // SCORE_FPS + CHUNK_STEPS


class SequenceSet:
    """The committed sequences of one split, as they were when the set was opened.

    Pictures and sound stay on disk: files are opened when they are asked for and closed again, so a set is small, can
    be pickled, and any number of workers may read at once.

    The split is by source video, so nobody is in both: videos whose hash falls into the first `val_share` of all hashes
    validate, or those of `val.txt` where the dataset has one: a line each, its SHA-256 (or the first 8 digits at least)
    or its path as in prepared.parquet. Of two or more videos at least the one with the lowest hash validates.

    Raises InputError when the folder holds no sequences, or none of this split.
    """

    def __init__(self, folder: Path, *, split: Split, val_share: float = DEFAULT_VAL_SHARE) -> None:
        self.folder, self.split = folder.absolute(), split
        found = list(committed(folder))
        if not found:
            raise InputError(
                "no training sequences in this folder",
                file=folder,
                expected="a dataset made by singalong train prepare",
                action="Prepare one: singalong train prepare VIDEOS --data FOLDER.",
            )
        splits = splits_of(folder, {facts.source_sha256: facts.source for facts in found}, val_share)
        self._facts = [facts for facts in found if splits[facts.source_sha256] == split]
        if not self._facts:
            raise InputError(
                f"no training sequences of the split {split}, while the other has {len(found)}",
                file=folder,
                action="Prepare more videos, or name the videos to validate with in val.txt of this folder.",
            )
        hashed = hashlib.sha256(split.encode())
        for facts in self._facts:
            hashed.update(f"{facts.sequence_id} {facts.digest}\n".encode())
        self.digest = hashed.hexdigest()
        """Identity of dataset and split: the same for the same sequences, whatever folder they lie in."""

    def __len__(self) -> int:
        return len(self._facts)

    def facts(self, i: int) -> SequenceFacts:
        """What a sequence is and where it came from."""
        return self._facts[i]

    def num_frames(self, i: int) -> int:
        """Frames of a sequence, 21 or more."""
        return self._facts[i].num_frames

    def faces(self, i: int, frames: Sequence[int]) -> U8:
        """Crops of these frames, in this order: uint8 (n, 96, 96, 3), BGR. Raises InputError for a damaged file."""
        path = self._path(i, _FACES)
        offsets = np.load(self._path(i, _INDEX))
        out = np.empty((len(frames), SIDE_PX, SIDE_PX, 3), np.uint8)
        with path.open("rb") as file:
            for place, frame in enumerate(frames):
                assert 0 <= frame < self.num_frames(i), f"frame {frame} of {self.num_frames(i)}"
                file.seek(offsets[frame])
                data = file.read(offsets[frame + 1] - offsets[frame])
                image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
                if image is None or image.shape != out.shape[1:]:
                    raise _damaged(path)
                out[place] = image
        return out

    def mel(self, i: int) -> Floats:
        """Mel spectrogram, float32 (80, T), mapped into memory; column trunc(80 * (f / 25)) starts with frame f."""
        path = self._path(i, _MEL)
        try:
            mel: Floats = np.load(path, mmap_mode="r")
        except ValueError as exc:  # what numpy says of a file cut short
            raise _damaged(path) from exc
        return mel

    def _path(self, i: int, name: str) -> Path:
        return self.folder / "sequences" / self._facts[i].sequence_id / name


def committed(dataset: Path) -> Iterator[SequenceFacts]:
    """The sequences of a dataset whose marker stands, by id."""
    folder = dataset / "sequences"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        facts = find_sequence(dataset, path.name)
        if facts is not None:
            yield facts


def find_sequence(dataset: Path, sequence_id: str) -> SequenceFacts | None:
    """A committed sequence, or None where there is no sound marker, or a file is missing or cut short."""
    folder = dataset / "sequences" / sequence_id
    try:
        facts = SequenceFacts.model_validate_json((folder / _COMMIT).read_bytes())
        sizes = {name: (folder / name).stat().st_size for name in facts.files}
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    sound = facts.format_version == FORMAT_VERSION and facts.sequence_id == sequence_id and sizes == facts.files
    return facts if sound else None


def splits_of(dataset: Path, sources: dict[str, str], val_share: float = DEFAULT_VAL_SHARE) -> dict[str, Split]:
    """`split_of_sources`, by the dataset's val.txt where it has one."""
    return split_of_sources(sources, _listed(dataset), val_share)


def split_of_sources(
    sources: dict[str, str], listed: Sequence[str] | None, val_share: float = DEFAULT_VAL_SHARE
) -> dict[str, Split]:
    """Train or val for each source video, {sha256: path} in, {sha256: split} out.

    listed: the videos to validate with, by hash, by its first 8 digits or more, or by path; None: by hash. The hash of
    the hash decides, so that adding videos moves none from one split to the other.

    Raises UsageError for a share outside [0, 1], or a listed video that is not there.
    """
    if not 0 <= val_share <= 1:
        raise UsageError("the share of videos to validate with", value=val_share, expected="0 to 1")
    if listed is None:
        rank = {sha256: int(hashlib.sha256(sha256.encode()).hexdigest()[:13], 16) / 16**13 for sha256 in sources}
        val = {sha256 for sha256, place in rank.items() if place < val_share}
        if not val and val_share > 0 and len(sources) > 1:
            val = {min(rank, key=lambda sha256: rank[sha256])}
    else:
        val = {_listed_source(name, sources) for name in listed}
    return {sha256: "val" if sha256 in val else "train" for sha256 in sources}


def _listed_source(name: str, sources: dict[str, str]) -> str:
    matches = [sha256 for sha256, path in sources.items() if name == path]
    if not matches and re.fullmatch(r"[0-9a-f]{8,64}", name):
        matches = [sha256 for sha256 in sources if sha256.startswith(name)]
    if len(matches) != 1:
        raise UsageError(
            f"names {'no video' if not matches else 'several videos'} of the dataset",
            file=_VAL,
            value=name,
            expected="the path or the SHA-256 of a video, as in prepared.parquet",
        )
    return matches[0]


def _listed(dataset: Path) -> list[str] | None:
    try:
        lines = (dataset / _VAL).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    return [line.strip() for line in lines if line.strip()]


def _damaged(path: Path) -> InputError:
    action = "Remove this sequence's folder, or prepare the dataset again."
    return InputError("the file is damaged", file=path, action=action)


class SequenceWriter:
    """Writes one sequence frame by frame; use as a context manager, which leaves nothing behind unless it is finished.

    The folder appears whole or not at all. Raises OSError as the file system gave it.
    """

    def __init__(self, dataset: Path, sequence_id: str) -> None:
        assert _ID.fullmatch(sequence_id), sequence_id
        self._dataset, self._id = dataset.absolute(), sequence_id
        self._folder = _temp_dirs(self._dataset / "tmp").new()
        self._file = (self._folder / _FACES).open("wb")
        self._offsets = [0]

    def __enter__(self) -> SequenceWriter:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def num_frames(self) -> int:
        """Frames written so far."""
        return len(self._offsets) - 1

    def add(self, face: U8) -> None:
        """Append a crop, uint8 (96, 96, 3), BGR."""
        assert face.shape == (SIDE_PX, SIDE_PX, 3), face.shape
        assert face.dtype == np.uint8, face.dtype
        encoded, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        assert encoded
        self._offsets.append(self._offsets[-1] + self._file.write(data.tobytes()))

    def finish(
        self, mel: Floats, *, source: str, source_sha256: str, start_frame: int = 0, end_frame: int | None = None
    ) -> SequenceFacts:
        """Commit the frames [start_frame, end_frame) with their sound; what stands under the id already is replaced.

        mel: float32 (80, T), column 0 at the start of `start_frame`, with the 16 columns of every frame.
        """
        end = self.num_frames if end_frame is None else end_frame
        num_frames = end - start_frame
        assert mel.dtype == np.float32, mel.dtype
        assert mel.shape[0] == NUM_BANDS, mel.shape
        assert mel.shape[1] >= num_mel_steps_needed(num_frames), (mel.shape, num_frames)
        self._file.close()
        index = np.array(self._offsets[start_frame : end + 1], np.int64)
        for name, array in ((_INDEX, index), (_MEL, np.ascontiguousarray(mel))):
            buffer = BytesIO()
            np.save(buffer, array)
            (self._folder / name).write_bytes(buffer.getvalue())
        files = [self._folder / name for name in (_FACES, _INDEX, _MEL)]
        facts = SequenceFacts(
            sequence_id=self._id,
            source=source,
            source_sha256=source_sha256,
            num_frames=num_frames,
            num_mel_steps=mel.shape[1],
            files={path.name: path.stat().st_size for path in files},
            digest=hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest(),
        )
        (self._folder / _COMMIT).write_text(facts.model_dump_json(indent=1), encoding="utf-8")
        self._publish([*files, self._folder / _COMMIT])
        return facts

    def _publish(self, files: list[Path]) -> None:
        for path in files:
            fsync_file(path)
        fsync_dir(self._folder)
        target = self._dataset / "sequences" / self._id
        make_dirs(target.parent)
        while True:
            try:
                self._folder.rename(target)
                break
            except OSError as exc:
                if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                # of an earlier try; a worker whose driver was killed may write the same at this moment
                remove_sequence(self._dataset, self._id)
        fsync_dir(target.parent)


def remove_sequence(dataset: Path, sequence_id: str) -> None:
    """Take a sequence out of a dataset, in one step; nothing happens where there is none."""
    with _temp_dirs(dataset.absolute() / "tmp").temporary() as folder, contextlib.suppress(FileNotFoundError):
        (dataset / "sequences" / sequence_id).rename(folder / "removed")


@cache
def _temp_dirs(root: Path) -> TempDirs:
    """One for a process, because each holds a lock while the process lives."""
    return TempDirs(root)
