"""What accepted samples become: an arm's training set, deltas and vectors."""
