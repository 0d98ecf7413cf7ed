"""Runs: a training with its settings, from the data to a checkpoint, alone or on many ranks."""
