"""Cameras that are not there: an RTSP server, made-up street scenes, time codes in pictures."""
