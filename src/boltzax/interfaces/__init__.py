"""Interfaces under selection pressure: entropy, certificates, emergent interfaces."""
