"""What is measured, not asserted: ours beside the naive or published form and the limit, in one run.

`python -m benchmarks` measures every row of docs/performance.md that this machine can; `--help` says the rest.
"""
