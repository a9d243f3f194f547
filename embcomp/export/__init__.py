"""Trained students, teachers and compressors as files for other runtimes, and what they lose on the way."""
