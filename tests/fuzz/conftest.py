"""pytest tests/fuzz --hypothesis-profile=long: as many inputs as a quarter of an hour takes; else a hundred of each."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
