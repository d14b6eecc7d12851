"""What a file's ending says of it, where nobody names it: in folders that are looked through.

Names only: what is in a file decides whether it can be read.
"""

from __future__ import annotations

VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".ivf", ".m1v", ".m2ts", ".m2v", ".m4v"),
        *(".mj2", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut"),
        *(".ogm", ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m"),
    }
)
PICTURE_SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
SOUND_SUFFIXES = frozenset(
    {
        *(".aac", ".ac3", ".aif", ".aifc", ".aiff", ".alac", ".ape", ".au", ".caf", ".eac3", ".flac", ".m4a", ".m4b"),
        *(".mka", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav", ".wave", ".wma", ".wv"),
    }
)
MANIFEST_SUFFIXES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
UNFINISHED_SUFFIXES = frozenset(
    {".aria2", ".crdownload", ".download", ".filepart", ".part", ".partial", ".temp", ".tmp"}
)
"""Names that programs give to files they are still writing."""
