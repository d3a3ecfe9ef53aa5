"""What holds for all tests."""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.skips", "tests.support.soak"]

# No deadline: other work on the machine must not fail a test. `slow` is for `make soak`.
settings.register_profile("fast", deadline=None, max_examples=50)
settings.register_profile(
    "slow", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
