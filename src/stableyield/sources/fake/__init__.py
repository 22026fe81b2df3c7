"""Fake providers on 127.0.0.1: the documented routes and their faults, from any market."""

from __future__ import annotations

from stableyield.sources.fake.documents import MarketDocuments, checked_frames, token_address
from stableyield.sources.fake.faults import FAULTS, FaultPlan
from stableyield.sources.fake.provider import FakeProvider, FakeSettings
from stableyield.sources.fake.server import Answer, Call, LocalServer

__all__ = [
    "FAULTS",
    "Answer",
    "Call",
    "FakeProvider",
    "FakeSettings",
    "FaultPlan",
    "LocalServer",
    "MarketDocuments",
    "checked_frames",
    "token_address",
]
