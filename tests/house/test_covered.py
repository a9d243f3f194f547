"""The table of what ran, by room."""

import runpy
from pathlib import Path

table = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "covered.py"))["table"]


def test_a_room_is_the_sum_of_its_files_and_all_are_below_it():
    def file(*counts):
        names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
        return {"summary": dict(zip(names, counts))}

    measured = {"embcomp/cli/a.py": file(10, 5, 4, 1), "embcomp/cli/sub/b.py": file(10, 9, 0, 0)}
    measured |= {"embcomp/losses/c.py": file(2000, 2000, 0, 0), "embcomp/errors.py": file(4, 3, 2, 2)}
    assert table({"files": measured})[2:] == [
        "| losses | 2,000 | 100.0 % | 0 | 100.0 % |",
        "| files beside the rooms | 4 | 75.0 % | 2 | 100.0 % |",
        "| cli | 20 | 70.0 % | 4 | 25.0 % |",
        "| all | 2,024 | 99.7 % | 6 | 50.0 % |",
    ]
