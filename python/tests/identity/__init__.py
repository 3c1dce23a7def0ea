"""Identities between this project and the Python SDKs."""
