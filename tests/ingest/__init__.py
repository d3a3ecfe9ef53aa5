"""RTSP in, against a server that we did not write."""
