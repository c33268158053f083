"""What every test runs under: float64, and hypothesis without surprises."""

import hypothesis
import jax
import matplotlib

jax.config.update("jax_enable_x64", True)
matplotlib.use("agg")

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=20,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=500)
hypothesis.settings.load_profile("ci")
