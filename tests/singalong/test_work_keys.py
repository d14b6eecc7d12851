"""Work keys: the same hash for ever of the same things, however it is put together."""

import hashlib
import json

from singalong.config import Settings
from singalong.work_keys import WORK_KEY_CHARS, WorkKeys
from tests.singalong.builders import model, pair_row, plan_of


def test_a_key_is_the_hash_of_all_it_is_made_of_as_one_sorted_json_text() -> None:
    pair = plan_of([pair_row(1, song_end_s=20)]).pairs[0]
    keys = WorkKeys(Settings(), model("centerface"), model("expert"))
    texts: list[str] = []
    real = hashlib.sha256
    try:
        hashlib.sha256 = lambda data: (texts.append(data.decode()), real(data))[1]  # type: ignore[assignment]
        (key,) = keys.keys(pair, [(5, 30)])
    finally:
        hashlib.sha256 = real
    (text,) = texts
    material = json.loads(text)
    assert {"algorithms", "analysis", "clip", "lipsync", "score", "generator"} <= set(material)
    assert text == json.dumps(material, sort_keys=True, separators=(",", ":"))
    assert key == real(f"{text}\nframes 5 30".encode()).hexdigest()[:WORK_KEY_CHARS]
