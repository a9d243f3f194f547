"""From a file to the input of a model: decoding, clips, log-mels, augmentation."""
