"""Adversarial images for a float network: the attacks as data, the loop that runs them, the network in torch."""
