"""Copies of clips that browsers can play, made aside, one at a time, the one that was asked for last first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from singalong.contracts import PairPlan
from singalong.errors import classify

Key = tuple[str, float, float]


@dataclass
class Viewables:
    """Makes copies; asking never waits.

    Attributes:
        make: returns the path of a pair's copy, which shows its clip span from time 0 on; may take minutes.
    """

    make: Callable[[PairPlan], Path]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _wanted: PairPlan | None = None
    _is_busy: bool = False
    _found: dict[Key, Path | str] = field(default_factory=dict)

    def ask(self, pair: PairPlan) -> Path | str | None:
        """The copy of a pair's clip, or why there can be none; None while it is being made."""
        with self._lock:
            found = self._found.get(_key(pair))
            if isinstance(found, str) or (found is not None and found.is_file()):
                return found
            self._wanted = pair
            if not self._is_busy:
                self._is_busy = True
                threading.Thread(target=self._work, daemon=True, name="review-viewable").start()
        return None

    def _work(self) -> None:
        while True:
            with self._lock:
                pair, self._wanted = self._wanted, None
                if pair is None:
                    self._is_busy = False
                    return
            try:
                found: Path | str = self.make(pair)
            except Exception as error:  # noqa: BLE001 - whatever it is, the page is told and shows single frames
                found = str(classify(error))
            with self._lock:
                self._found[_key(pair)] = found


def _key(pair: PairPlan) -> Key:
    return pair.clip_sha256, pair.clip_start_s, pair.clip_end_s
