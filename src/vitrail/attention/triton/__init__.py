"""Attention by groups on a GPU, in Triton: read and written in place, no scores in memory."""
