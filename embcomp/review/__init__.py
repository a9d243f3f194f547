"""Clips that are worth a label, and the page on which they get it."""
