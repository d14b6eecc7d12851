"""PREVIEW: who is in the clips of a plan, who would sing, and what it would look like, before a run is paid for."""
