"""Manners: no host is asked more often than its rate, whoever asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from threading import Lock

from stableyield.errors import ParameterError


class Pace:
    """Hands out the moments at which requests to a host may start, one interval apart.

    Parameters
    ----------
    per_second : float
        Requests per second and host.
    host_rates : mapping of str to float, optional
        Other rates, by host.

    Raises
    ------
    ParameterError
        When a rate is not positive.
    """

    def __init__(self, per_second: float, host_rates: Mapping[str, float] | None = None) -> None:
        self._rates = dict(host_rates or {})
        self._per_second = per_second
        self._free_at: dict[str, float] = {}
        self._lock = Lock()
        for rate in (per_second, *self._rates.values()):
            if not (rate > 0.0 and math.isfinite(rate)):
                raise ParameterError(
                    f"{rate} requests per second", remedy="give a positive number, 2 by default"
                )

    def reserve(self, host: str, now: float) -> float:
        """Take the next place of ``host``; seconds from ``now`` until it comes."""
        interval = 1.0 / self._rates.get(host, self._per_second)
        with self._lock:
            place = max(now, self._free_at.get(host, now))
            self._free_at[host] = place + interval
        return place - now

    def pause(self, host: str, until: float) -> None:
        """No place of ``host`` before ``until``: it asked everybody to wait, not one request."""
        with self._lock:
            self._free_at[host] = max(until, self._free_at.get(host, until))
