"""A page on this machine to look at photos and tick their labels."""
