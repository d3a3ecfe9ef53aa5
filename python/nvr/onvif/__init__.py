"""ONVIF, as far as finding cameras and what they stream needs it; nothing of a camera is changed.

What comes from the network is hostile: sizes, times and XML are bounded, credentials go to
the address that was asked and to no other, and a password never goes in the clear.
"""
