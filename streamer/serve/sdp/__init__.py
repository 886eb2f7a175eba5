"""What is exchanged with peers as SDP: offers, their answers, and what comes about ICE after them."""
