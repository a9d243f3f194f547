"""The stages of a run, one file each: the key of its result, the path where it lies, and the work."""
