"""The programs, one module each, and what they share; `fnnet NAME` runs a program."""
