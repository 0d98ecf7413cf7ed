"""Neural networks as pure functions over dicts of NumPy arrays.

The public names stand in ``__init__.pyi``. Each module is imported when one of its names is first
used: a program begins at once, and takes no longer than what it needs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
