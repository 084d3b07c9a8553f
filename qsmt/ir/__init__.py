"""The typed IR: what every frontend lowers to and every consumer reads."""
