"""Versions of the algorithms whose results are kept. Raise one when a change of the code changes what it leaves.

All that do not say otherwise are part of every work key, so that shards made of an older analysis or an older song
are done again.
"""

ALGORITHM_VERSION = 5
"""Lip-sync, paste-back, encoding and scores."""

ANALYSIS_VERSION = 3
"""Shots, faces, tracks and looks."""

SONG_VERSION = "1"
"""Mel spectrogram, 16 kHz samples and voice activity by energy."""

VOICE_VERSION = "1"
"""Finding the voice in a mix; goes up with the bundled warper, too, whose ear finds it."""

PREPARE_VERSION = 1
"""Cutting talking videos into training sequences; part of a dataset's identity."""

BEATS_VERSION = "2"
"""Beats of a song. Not part of the work keys: beats decide spans, and those are."""

SPEAKERS_VERSION = "1"
"""Who of several people speaks. Part of the work keys of pairs that ask for the speaker."""

LIKENESS_VERSION = "1"
"""The face in a picture that a pair's face is to be like. Part of the work keys of pairs that name one."""
