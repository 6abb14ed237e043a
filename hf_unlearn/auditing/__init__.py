"""The audit: how far forgetting goes, measured by attacks, intervals and thresholds."""
