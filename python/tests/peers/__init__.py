"""Version-1 ANPX peers: a gateway and a receiver of their own, written from docs/protocol.md.

They share no code with the product and can show every quirk of section 2.2. Tests run the
binary against them, and them against each other.
"""
