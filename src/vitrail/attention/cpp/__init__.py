"""Attention by groups in C++, for the CPU: built on the user's machine, for that machine."""
