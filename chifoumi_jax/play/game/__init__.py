"""Rock-paper-scissors itself: who moves when, how a move is committed to, and the opponent."""
