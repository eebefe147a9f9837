"""Measurements of mechanisms side by side, and the claims about them that can be computed."""
