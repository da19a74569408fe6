"""What works on finished checkpoints. The tools know the plugin; the plugin does not know them."""
