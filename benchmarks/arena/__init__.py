"""What `benchmarks/peers.py` is made of: problems and their files, their truth, xroute, peers in their own processes, tables."""
