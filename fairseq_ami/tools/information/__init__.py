"""How much samples tell about their sources: bounds, gaps, estimates."""
