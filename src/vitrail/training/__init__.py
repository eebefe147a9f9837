"""Training: recipe, parameter groups, schedule, loop, checkpoints, evaluation."""
