"""Files written whole, and tables."""
