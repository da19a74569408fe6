"""Studies of trained text VAEs: likelihood, generated text, the latent space."""
