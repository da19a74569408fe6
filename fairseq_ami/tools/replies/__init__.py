"""Dialogue corpora, and the comparison of systems' replies."""
