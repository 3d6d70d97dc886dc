"""How often verdicts on models are false, and how many trials they take: ``python benchmarks/verdicts.py``.

Simulated, from fixed seeds: the same figures everywhere. What it prints stands in docs/explanation/evaluation.md.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from simulated_trials import barnard, false_verdicts, fisher, fixed_size, most, plan_for, stopped, stopped_by_scores

RATES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
SEVERAL = ((0.2, 0.2, 0.2), (0.5, 0.5, 0.5), (0.8, 0.8, 0.8), (0.9, 0.5, 0.5), (0.6, 0.6, 0.6, 0.6))
APART = ((0.65, 0.35), (0.8, 0.5), (0.9, 0.6), (0.95, 0.65))
TOGETHER = (0.0, 0.6, -0.6)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000, help="simulated evaluations of each kind")
    runs = parser.parse_args().runs
    print(
        f"false verdicts in {runs} evaluations, 50 starts planned and 100 played; at most {most(runs)} = 5 % + 3 s.e."
    )
    print("| rates | independent | same luck | opposite luck |\n|---|---|---|---|")
    for rates in (*((rate, rate) for rate in RATES), *SEVERAL):
        found = [false_verdicts(3, rates, together, runs, planned=50, starts=100) for together in TOGETHER]
        print(f"| {', '.join(map(str, rates))} | {' | '.join(f'{100 * n / runs:.1f} %' for n in found)} |", flush=True)
    print("\nstarts until the verdict, thirty points apart")
    print("| rates | power | Fisher | Barnard | plan | mean | less | same luck | less |\n|" + "---|" * 9)
    for rates in APART:
        for power in (0.8, 0.9):
            fixed = [fixed_size(test, power, rates) for test in (fisher, barnard)]
            row = f"| {rates[0]} and {rates[1]} | {power:.0%} | {fixed[0]} | {fixed[1]} "
            for together in (0.0, 0.5):
                planned, mean = plan_for(power, rates, together, min(runs, 2000))
                less = ", ".join(f"{1 - mean / n:.0%}" for n in fixed)
                row += f"| {planned} | {mean:.1f} | {less} " if together == 0 else f"| {mean:.1f} | {less} |"
            print(row, flush=True)
    print("\nmean starts if more are planned than needed, and how often the verdict is right")
    print("| rates | 20 | 50 | 100 | 200 |\n|---|---|---|---|---|")
    for rates in (*APART, (0.6, 0.5)):
        each = [stopped(5, rates, 0.0, min(runs, 1000), planned) for planned in (20, 50, 100, 200)]
        cells = " | ".join(f"{mean:.0f}, {power:.0%}" for mean, power in each)
        print(f"| {rates[0]} and {rates[1]} | {cells} |", flush=True)
    print("\nmean starts until the verdict on scores, and what a t-test of a fixed size needs for 90 %")
    print("| mean scores | spread of each | starts | t-test |\n|---|---|---|---|")
    for means, spread in itertools.product(((0.7, 0.4), (0.7, 0.5)), (0.3, 0.2)):
        # By the normal approximation, and one more.
        fixed = math.ceil(2 * ((1.960 + 1.282) * spread / (means[0] - means[1])) ** 2) + 1
        mean = stopped_by_scores(6, means, spread, min(runs, 500))
        print(f"| {means[0]} and {means[1]} | {spread} | {mean:.0f} | {fixed} |", flush=True)


if __name__ == "__main__":
    main()
