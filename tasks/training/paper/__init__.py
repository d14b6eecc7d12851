"""The paper's trainings, on a dataset of `tasks.training.sequences`: the expert, and the generator with or without GAN.

Paper: "A Lip Sync Expert Is All You Need for Speech to Lip Generation In The Wild", Prajwal et al., 2020 (ACM MM).
Reference implementation: github.com/Rudrabha/Wav2Lip, `color_syncnet_train.py`, `wav2lip_train.py`,
`hq_wav2lip_train.py`.

    settings     what a training is asked to do, and which changes of it a resumed training may meet
    plan         the checks before anything starts: dataset, expert, the run folder
    folder       the run folder: where everything of a training lies
    context      what one worker knows of the others; `tasks.actors` has the one for Ray Train
    launch       starts the loop, in this process or over Ray Train
    loop         steps, evaluations, checkpoints: a training killed anywhere goes on as if it had not been
    windows      random windows and batches, a pure function of seed, step and place in the batch
    prefetch     the next batches, read while the networks learn
    training     what the loop asks of a training; expert, generator are the two
    precision    bfloat16 inside the networks, float32 around them
    checkpoint   networks, optimizers, step: whole or not at all, the last two kept
    record       log.jsonl, TensorBoard curves, progress.json
    sheets       sample sheets: reference, masked input, output, ground truth
    product      model.safetensors and its card
"""
