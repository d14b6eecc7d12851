"""The server of the review page: the page, the queue, curves, media, and decisions going to the run folder."""

from __future__ import annotations

import getpass
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse

from review import media
from review.curve import curve_of
from review.decide import REASONS, Question, Sent, record
from review.feed import PairView, RunFeed, Snapshot
from review.guard import Guard
from review.queue import decision_words
from review.viewable import Viewables
from singalong import __version__
from singalong.contracts import PairPlan, Status
from singalong.errors import InputError, SingalongError, classify
from singalong.runfolder import RunFolder
from singalong.scoring import Thresholds

STATIC = Path(__file__).parent / "static"
_STATIC_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
PairId = Annotated[str, Query(alias="pair", max_length=500)]


class Asks(Protocol):
    """Knows what can be asked for; see `tasks.asking.Asking`."""

    def offers(self, pair: PairPlan) -> dict[str, Any]:
        """What a pair is made with, and what there is to choose among."""

    def faces(self, pair: PairPlan, at_s: float) -> list[dict[str, Any]]:
        """The faces on screen at a time of the clip."""

    def check(self, pair_id: str, words: Sequence[str], present: frozenset[str]) -> object:
        """Raise a SingalongError for what cannot be asked for."""


@dataclass(frozen=True)
class Reviewable:
    """A run to be reviewed, and what the page must be told by those who may look further than this package.

    Attributes:
        run: its folder.
        look: folds the run as it stands; called again when something was written.
        thresholds: of a scorer, by name; None where it has none.
        cuts_s: where the shots of a pair's clip begin, seconds on its own time line; empty where nobody knows.
        viewable: makes a copy of a pair's clip span that browsers can play; None: nobody can.
        asks: what can be asked for of a pair that is to be made again; None: nothing.
    """

    run: RunFolder
    look: Callable[[], Snapshot]
    thresholds: Callable[[str | None], Thresholds | None] = lambda _: None
    cuts_s: Callable[[PairPlan], Sequence[float]] = lambda _: ()
    asks: Asks | None = None
    viewable: Callable[[PairPlan], Path] | None = None


def make_app(what: Reviewable, *, token: str) -> FastAPI:
    """The application; every request but those of `Guard` is refused. Folds the run once, before it returns."""
    app = FastAPI(title="singalong review", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    feed = RunFeed(what.run.path, what.look)
    _add_page(app)
    _add_queue(app, what, feed)
    _add_decisions(app, what, feed)
    _add_media(app, what, feed)
    app.add_middleware(Guard, token=token)
    app.add_exception_handler(SingalongError, _explained)
    app.add_exception_handler(RequestValidationError, _unusable)
    app.add_exception_handler(OSError, _explained)
    app.add_exception_handler(_NoSuchPairError, _explained)
    return app


class _NoSuchPairError(InputError):
    """A pair that the run does not have."""


def _add_page(app: FastAPI) -> None:
    files = {path.name: path for path in STATIC.iterdir() if path.suffix in _STATIC_TYPES}

    @app.get("/")
    def page() -> Response:
        return _static(files["index.html"])

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        found = files.get(name)
        return Response(status_code=404) if found is None else _static(found)


def _static(path: Path) -> Response:
    return FileResponse(path, media_type=_STATIC_TYPES[path.suffix], headers={"cache-control": "no-cache"})


def _add_queue(app: FastAPI, what: Reviewable, feed: RunFeed) -> None:
    run = what.run

    @app.get("/api/run")
    def about() -> Response:
        return _json(
            {
                **{
                    "name": PurePosixPath(run.location).name,
                    "run_id": run.run_id,
                    "parent_run_id": run.plan.parent_run_id,
                },
                "again": shlex.join(["singalong", "reprocess", run.location, "--rejected"]),
                **{"path": run.location, "reasons": REASONS, "reviewer": _user(), "version": __version__},
            }
        )

    @app.get("/api/pairs")
    def pairs(since: int = 0, epoch: str = "", if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """Rows that changed after `since`; all of them where `epoch` is that of another server. 304 where none did."""
        etag = f'"{feed.epoch}-{feed.revision()}"'
        if if_none_match == etag:
            return Response(status_code=304, headers={"etag": etag})
        revision, text = feed.changes(since if epoch == feed.epoch else -1)
        headers = {"etag": f'"{feed.epoch}-{revision}"'}
        return Response(text.encode("ascii"), media_type="application/json", headers=headers)

    @app.get("/api/pair")
    def pair(pair_id: PairId) -> Response:
        view = _view(feed, pair_id)
        return _json(
            {
                "row": view.row.model_dump(mode="json"),
                "fit": view.plan.fit.value if view.plan else None,
                "face": view.plan.face if view.plan else None,
                "is_still": view.plan is not None and media.media_type(Path(view.plan.clip)).startswith("image/"),
                "offers": what.asks.offers(view.plan) if what.asks and view.plan else None,
                "decisions": [decision_words(one) for one in feed.decisions(pair_id)],
                "thresholds": _thresholds(what, view),
            }
        )

    @app.get("/api/curve")
    def curve(pair_id: PairId) -> Response:
        view = _view(feed, pair_id)
        cuts_s = what.cuts_s(view.plan) if view.plan else ()
        return _json(curve_of(media.frames_tables(run, view), fps=view.row.fps or 25.0, cuts_s=cuts_s))


def _add_decisions(app: FastAPI, what: Reviewable, feed: RunFeed) -> None:
    @app.post("/api/decisions")
    def decide(sent: Sent) -> Response:
        _view(feed, sent.pair)
        record(sent, feed, check)
        return _json({"pair": feed.item(sent.pair)})

    @app.post("/api/check")
    def asked(question: Question) -> Response:
        """Whether a pair can be made again with this, or else why not: an answer, as it is asked while one types."""
        _view(feed, question.pair)
        try:
            check(question.pair, question.settings)
        except SingalongError as error:
            return _json({"problem": str(error)})
        return _json({"problem": None})

    @app.get("/api/faces")
    def faces(pair_id: PairId, at_s: Annotated[float, Query(ge=0, le=1e6)] = 0.0) -> Response:
        """The faces of the clip's frame at a time, for somebody who points at one."""
        view = _view(feed, pair_id)
        try:
            found = what.asks.faces(view.plan, at_s) if what.asks and view.plan else []
        except SingalongError as error:
            return _json({"faces": [], "problem": str(error)})
        return _json({"faces": found, "problem": None})

    def check(pair_id: str, words: Sequence[str]) -> None:
        if what.asks is None:
            raise InputError("nothing can be asked for of this run", value=", ".join(words))
        view = _view(feed, pair_id)
        is_done = view.row.status is Status.DONE
        what.asks.check(pair_id, words, frozenset(shard.work_key for shard in view.shards if is_done))


def _add_media(app: FastAPI, what: Reviewable, feed: RunFeed) -> None:
    run = what.run.path

    @app.api_route("/media/film", methods=["GET", "HEAD"])
    def film(pair_id: PairId) -> Response:
        return media.file_response(media.film_of(run, _view(feed, pair_id)))

    @app.api_route("/media/part", methods=["GET", "HEAD"])
    def part(pair_id: PairId) -> Response:
        return media.file_response(media.part_of(what.run, _view(feed, pair_id)))

    @app.get("/media/thumb")
    def thumb(pair_id: PairId) -> Response:
        return media.file_response(media.thumbnail_of(run, _view(feed, pair_id)))

    @app.api_route("/media/clip", methods=["GET", "HEAD"])
    def clip(pair_id: PairId) -> Response:
        return media.file_response(media.clip_of(what.run, _view(feed, pair_id)))

    copies = Viewables(what.viewable) if what.viewable else None

    @app.get("/api/viewable")
    def ask_viewable(pair_id: PairId) -> Response:
        """Whether there is a copy of the clip that browsers can play; asking has it made."""
        view = _view(feed, pair_id)
        found = copies.ask(view.plan) if copies and view.plan else "there is no copy"
        return _json(
            {
                "is_ready": isinstance(found, Path),
                "problem": found if isinstance(found, str) else None,
                "start_s": view.plan.clip_start_s if view.plan else 0.0,
            }
        )

    @app.api_route("/media/viewable", methods=["GET", "HEAD"])
    def viewable(pair_id: PairId) -> Response:
        view = _view(feed, pair_id)
        found = copies.ask(view.plan) if copies and view.plan else None
        if not isinstance(found, Path):
            raise InputError(found or "the copy is not made yet", value=pair_id)
        return media.file_response(found)

    @app.get("/media/still")
    def still(pair_id: PairId, at_s: Annotated[float, Query(ge=0, le=1e6)] = 0.0) -> Response:
        """The clip's frame at a time, decoded here: for clips that the browser cannot play."""
        return Response(media.still_of(what.run, _view(feed, pair_id), at_s), media_type="image/jpeg")


def _view(feed: RunFeed, pair_id: str) -> PairView:
    view = feed.view(pair_id)
    if view is None:
        raise _NoSuchPairError("this run has no such pair", value=pair_id)
    return view


def _thresholds(what: Reviewable, view: PairView) -> dict[str, Any] | None:
    found = what.thresholds(view.row.scorer)
    return found.model_dump() if found else None


def _json(content: Any) -> Response:
    return Response(json.dumps(content).encode("ascii"), media_type="application/json")


def _explained(_: Request, error: Exception) -> Response:
    found = classify(error)
    status = 404 if isinstance(error, _NoSuchPairError) else 422 if isinstance(found, InputError) else 503
    return JSONResponse({"error": str(found)}, status_code=status)


def _unusable(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    words = "; ".join(f"{'.'.join(str(part) for part in one['loc'][1:])}: {one['msg']}" for one in error.errors())
    return JSONResponse({"error": words}, status_code=422)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "me"
