"""From a file to what a model hears: decoding, clips, log-mels, augmentation."""
