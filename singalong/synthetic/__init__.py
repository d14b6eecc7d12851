"""Synthetic singers and songs: the project's own input for its demo, its tests and its bundled models.

Nothing here shows or sounds like a real person, nothing is downloaded, and everything follows from seeds:

    phonemes, articulation, lips, motion   what mouths do while they say what, frame by frame
    cast, poses, render                    drawn people in scenes: `FaceRenderer`, `render`
    voice, band, melody, song              speech and singing with exact phoneme times, and music around it
    clips, demo                            whole videos, and the inputs of `singalong demo`
"""

from singalong.synthetic.demo import write_demo_inputs

__all__ = ["write_demo_inputs"]
