"""The rules of rock-paper-scissors, the machine's commitment to its hand, and the opponent."""
