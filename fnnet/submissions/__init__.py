"""Checks of layers that somebody else wrote: values, gradients, and what is likely wrong.

The checks take functions and return findings; `runner` calls them in a process of its own.
"""
