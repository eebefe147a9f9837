"""Measurements of Vitrail beside other libraries: the tool, its tests, and what it measured."""
