"""What the side-by-side checks are made of: see tests/parity/parity.py."""
