"""Cameras as RTSP, live and recorded: for players and control rooms that know nothing else."""
