"""The folder that datasets are downloaded to and decoded pictures are kept in."""

import os
from pathlib import Path

from fnnet.files import home


def default_data_dir() -> Path:
    """Return ``$FNNET_DATA_DIR`` or the platform's cache folder for fnnet."""
    import platformdirs

    found: Path = home(os.environ.get("FNNET_DATA_DIR") or platformdirs.user_cache_path("fnnet"))
    return found
