"""The largest sizes that settings may have: beyond them lies a mistake or an attack."""

MAX_WIDTH = 2**31 - 1
"""Units of a layer: the largest integer of BLAS."""

MAX_COUNT = 10**12
"""Epochs, steps or examples: more than anybody has time for; floats hold them exactly."""

MAX_LAYERS = 100
"""Hidden layers: far more than a network without shortcuts can be trained with."""

MAX_SIDE = 4096
"""Pixels of a side of an image: every pixel is an input of the network."""

MAX_THREADS = 1024
"""Threads of the BLAS library: far beyond any processor, and each takes memory."""

MAX_SHIFT = 100
"""Pixels by which an image is moved; the time and the memory of moving images grow with them."""

MAX_MICRO_BATCHES = 1 << 16
"""Parts of a batch: each costs memory, and far fewer keep every processor busy."""

MAX_SEEDS = 1000
"""Seeds of one training: far fewer give a precise mean."""

MAX_TRIALS = 1_000_000
"""Trials of a search."""

MAX_WORKERS = 1024
"""Processes that train trials."""
