"""What the tasks share: how a run starts, what workers exchange, patience, replies in validation."""
