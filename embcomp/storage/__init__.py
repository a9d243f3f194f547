"""Bytes on disk that appear whole or not at all: files, arrays, stores of vectors, saved models."""
