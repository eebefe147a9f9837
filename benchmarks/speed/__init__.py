"""How fast we are beside every peer, and how far from what the machine can do.

A case is one task on one input. It runs in a process of its own (``measure``), every contender in
turns, and is reported only of contenders with equal outputs. ``results`` keeps what was
measured, ``report`` and ``picture`` show it.
"""
