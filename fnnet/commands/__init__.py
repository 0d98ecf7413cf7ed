"""The programs, one module each; `fnnet NAME` and `scripts/NAME.py` run them."""
