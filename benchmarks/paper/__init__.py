"""A conceptual replication of arXiv 2105.00227; its protocol and results are docs/paper.md."""
