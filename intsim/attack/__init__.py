"""Adversarial images for a float network: attacks as data, the loop that runs them, the network in torch."""
