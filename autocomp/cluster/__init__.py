"""The only door to Ray. Of it, workers import no more than what they do; what a search is made of stays with the driver."""

import os
from pathlib import Path

# read by Ray when it is imported
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
# an interruption must reach the driver, which saves and says how to go on; Tune would swallow it
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
# the journal keeps the trials; Ray's own snapshots would cost time and are never read
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# `ray start` asks for a token where there is one, and Ray's clients do not show theirs by themselves
_token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
if os.environ.get("RAY_AUTH_TOKEN") or _token.is_file():
    os.environ.setdefault("RAY_AUTH_MODE", "token")


from autocomp.cluster.connection import Cluster  # noqa: E402
from autocomp.cluster.spread import spread  # noqa: E402

__all__ = ["Cluster", "spread"]
