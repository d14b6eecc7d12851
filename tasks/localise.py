"""What a job names becomes what lies on this machine: media at URLs, and work that another machine left in the store.

Jobs travel with URLs and with places in the store of whoever wrote them, and every worker resolves them for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from singalong.contracts import ClipFacts, Failure
from singalong.store import Store
from singalong.urls import is_url
from tasks.jobs import (
    AnalyseJob,
    ConformJob,
    CropGuide,
    Job,
    JoinJob,
    LikenessJob,
    LipsyncJob,
    SongJob,
    SpeakersJob,
)

Place = TypeVar("Place", str, str | None)


@dataclass
class Localiser:
    """Resolves the places of one job; remembers which file stands for which URL, for messages."""

    store: Store
    urls: dict[str, str] = field(default_factory=dict)

    def job(self, job: Job) -> Job:
        """The job with files of this machine in it. Raises FileNotFoundError for what is gone."""
        match job:
            case AnalyseJob():
                return job.model_copy(update={"clip": self._clip(job.clip)})
            case SongJob():
                return job.model_copy(update={"path": self._place(job.path)})
            case SpeakersJob():
                return job.model_copy(update={"clip": self._clip(job.clip), "analysis": self._place(job.analysis)})
            case LikenessJob():
                return job.model_copy(update={"image": self._clip(job.image)})
            case LipsyncJob():
                places = {name: self._place(getattr(job, name)) for name in _PREPARED}
                return job.model_copy(update={"clip": self._clip(job.clip), **places})
            case JoinJob():
                audio = tuple(span.model_copy(update={"path": self._place(span.path)}) for span in job.audio)
                segments = tuple(self._place(segment) for segment in job.segments)
                return job.model_copy(update={"audio": audio, "segments": segments})
            case ConformJob():
                crop = None if job.crop is None else self._crop(job.crop)
                return job.model_copy(update={"source": self._place(job.source), "crop": crop})
            case _:
                return job

    def told(self, failure: Failure) -> Failure:
        """The failure, naming URLs where it names files that stand for them."""
        message = failure.message
        for path, url in self.urls.items():
            message = message.replace(path, url)
        return failure.model_copy(update={"message": message})

    def _clip(self, clip: ClipFacts) -> ClipFacts:
        return clip.model_copy(update={"path": self._place(clip.path)})

    def _crop(self, crop: CropGuide) -> CropGuide:
        tables = tuple(self._place(table) for table in crop.tables)
        return crop.model_copy(update={"tables": tables, "shots": self._place(crop.shots)})

    def _place(self, place: Place) -> Place:
        if place is None:
            return None
        here = str(self.store.here(place))
        if is_url(place):
            self.urls[here] = place
        return here


_PREPARED = ("analysis", "song", "speakers", "likeness")
