"""The parts of drill.py. Each has `rows(folder, quick)`, which tries its cases in an empty folder and gives a Row for each."""
