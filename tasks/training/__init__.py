"""Training the bundled models, on faces and voices that singalong makes itself.

In the order of the data flow, each runnable with `python -m tasks.training.NAME --help`:

    clips, portraits, sounds       one example: a talking person, a face with two mouths, a voice
    dataset    many examples on disk, as raw arrays in shards
    augment    what cameras, detectors and microphones do to them
    batches    random windows and pairs, a pure function of seed and step
    losses     what the networks are asked for
    loop       steps, schedule, checkpoints: a run that was stopped goes on as if it had not been
    command    what the commands of the trainings have in common
    expert, ear, brush, mouth_reader   the networks; ear and brush make the warper
    check_expert, check_warper     what they can do, on people, voices and songs they never met
    bundle     weights and card, as the package ships them
"""
