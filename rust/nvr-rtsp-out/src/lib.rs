//! Cameras of a node, played over RTSP: live to many at once, and replays.
