"""Video and audio in and out: probing, decoding, encoding, time lines, mel spectrograms."""
