"""Pure functions on channels-last tensors of any rank: no modules, no parameters, no state."""
