"""A model in use: over HTTP, from a microphone, on a page in a browser."""
