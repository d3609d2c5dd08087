"""What people are shown: progress, times, names that are safe on a terminal or in a spreadsheet."""
