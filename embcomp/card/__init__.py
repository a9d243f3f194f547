"""Model cards: what a model is of, how well it does, and what it is not for, as a README.md beside its weights."""
