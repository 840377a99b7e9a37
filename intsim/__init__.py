"""Runs a trained neural network exactly as an edge chip would, in integers, and tells what an attacker gains by that."""
