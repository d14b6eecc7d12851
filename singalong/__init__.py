"""singalong: batch lip-sync. A manifest of clips and songs in, singing clips and quality reports out."""

__version__ = "0.1.0"
