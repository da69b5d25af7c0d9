"""Settings of every test."""

from hypothesis import HealthCheck, settings

# How long an example takes says more about the machine than about klosdbg.
settings.register_profile("klosdbg", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("klosdbg")
