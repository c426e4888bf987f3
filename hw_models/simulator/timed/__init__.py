"""The timed simulator: a loop tree on a machine, cycle by cycle, a task of an array or a transfer at a time.

control.py, ranges.py   the loops in time and the ranges that they can have
lowering.py, waits.py   the tree as threads of tasks and transfers, and what they wait for
visits.py               what a task or a transfer moves
program.py, kernel.py   all of it as integers, and the run
periodic.py, run.py     steady states, which run once
result.py               what was found
"""
