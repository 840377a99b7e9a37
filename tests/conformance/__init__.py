"""The conformance suite: every machine that has a ground truth, held to its integers; `python -m conformance`."""
