"""Sources that are not RTSP: a process for each reads it with PyAV and hands the recorder what it finds.

``python -m nvr.sources`` is that process. :mod:`nvr.sources.rules` says what a node reads at all,
:mod:`nvr.sources.wire` what the two say to each other.
"""
