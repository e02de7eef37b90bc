"""Parley and a real Synapse in the same rooms."""
