"""Where the faces of a frame are: detectors, the face mesh, and the tracker that follows them."""
