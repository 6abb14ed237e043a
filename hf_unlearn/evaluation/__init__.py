"""Metrics of forgetting and the report that compares an adapter with zero-shot and a label mask."""
