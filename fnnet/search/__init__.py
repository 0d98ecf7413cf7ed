"""Search for good settings: what is tried, which trials go on, and which workers train them."""

from fnnet.search.halving import (
    Job,
    Result,
    Rung,
    cost,
    plan_rungs,
    rank,
    successive_halving,
)
from fnnet.search.space import Choice, LogUniform, Range, Space, Uniform, sample

__all__ = [
    "Choice",
    "Job",
    "LogUniform",
    "Range",
    "Result",
    "Rung",
    "Space",
    "Uniform",
    "cost",
    "plan_rungs",
    "rank",
    "sample",
    "successive_halving",
]
