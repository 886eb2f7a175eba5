"""Who agreed to stay visible: the list, the decision per track, enrolment."""
