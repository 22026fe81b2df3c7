from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from stableyield.errors import ParameterError
from stableyield.sources import Span


def test_importing_the_package_does_not_load_an_http_client() -> None:
    code = "import sys, stableyield; print([n for n in ('httpx', 'pandas') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_days_do_not_run_backwards() -> None:
    with pytest.raises(ParameterError, match="backwards"):
        Span(date(2024, 1, 2), date(2024, 1, 1))
    assert Span(date(2024, 2, 28), date(2024, 3, 1)).n_days == 3
    assert str(Span.of(date(2024, 1, 1))) == "2024-01-01"
