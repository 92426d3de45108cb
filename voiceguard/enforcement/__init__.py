"""What becomes of a flag: campaigns now; cases, notices and clocks stand here too."""
