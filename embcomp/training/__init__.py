"""The training loop, and the one function that assembles targets, trains and saves a student."""
