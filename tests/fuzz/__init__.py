"""Hostile files: valid ones, mutated inside, with their checksums made right again."""
