"""Rating and ranking models, and the ports of their trainers."""
