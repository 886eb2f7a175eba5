"""`veil serve`: browsers and other WebRTC peers send video and get it back without faces."""
