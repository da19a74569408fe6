"""Figures. matplotlib is imported where something is drawn: everything else works without it."""
