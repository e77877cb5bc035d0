"""Photos: reading them, augmenting them, and the models that look at them."""
