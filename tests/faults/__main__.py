"""`python -m tests.faults --faults 1000`: many runs with a seed each, appended to a results file, resumable.

Exit with 1 when any run found a violation; the folder of such a run is kept.
"""

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.driver import DETECTION_LIMIT, Plan, Report, run
from tests.support.sources import ROOT

RESULTS = ROOT / "benchmarks" / "results" / "faults.jsonl"
LONG_RUN = 300
SHORT_RUN = 35


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(
        prog="python -m tests.faults", description="Hurt the service, and judge what it did."
    )
    made.add_argument("--faults", type=int, default=20, help="how many in all; what the results hold is not done again")
    made.add_argument("--seed", type=int, default=1, help="of the first run; each run has the next one")
    made.add_argument("--results", type=Path, default=RESULTS, help="a line is appended for each run")
    made.add_argument("--workers", type=int, default=4, help="how many train at a time")
    made.add_argument("--bug", help="switch on this planted bug; stops with the first run that finds something")
    made.add_argument("--sqlite", action="store_true", help="over one SQLite file instead of a PostgreSQL")
    made.add_argument("--verbose", action="store_true", help="say each fault")
    return made


def split(faults: int, seed: int, **more: Any) -> Iterator[Plan]:
    """Split so many faults over runs with consecutive seeds: a long one where there are enough, the others short.

    `more` is the same in every plan.
    """
    sizes = [LONG_RUN] if faults >= 2 * LONG_RUN else []
    while sum(sizes) < faults:
        sizes.append(min(SHORT_RUN, faults - sum(sizes)))
    for place, size in enumerate(sizes):
        yield Plan(seed=seed + place, faults=size, **more)


def stored(path: Path) -> list[Report]:
    """Return the reports that a results file holds; none where there is no file."""
    if not path.exists():
        return []
    return [Report(**json.loads(line)) for line in path.read_text().splitlines() if line.strip()]


def missing(plans: Iterator[Plan], reports: Sequence[Report]) -> list[Plan]:
    """Return the plans that no report is of."""
    done = {(report.seed, sum(report.faults.values()), report.bug, report.sqlite) for report in reports}
    return [plan for plan in plans if (plan.seed, plan.faults, plan.bug, plan.sqlite) not in done]


def table(reports: Sequence[Report]) -> str:
    """Write what was done and found, a line for each run, then the totals."""
    lines = [
        f"{'seed':>6}{'faults':>8}{'studies':>9}{'trials':>8}{'attempts':>10}{'lost':>6}{'seconds':>9}  violations"
    ]
    for report in reports:
        numbers = f"{report.seed:>6}{sum(report.faults.values()):>8}{report.studies:>9}{report.trials:>8}"
        lines.append(
            f"{numbers}{report.attempts:>10}{report.lost:>6}{report.seconds:>9.0f}  {len(report.violations) or '-'}"
        )
    return "\n".join([*lines, "", *totals(reports)])


def totals(reports: Sequence[Report]) -> Iterator[str]:
    """Say in a few lines what all runs together did."""
    faults: Counter[str] = sum((Counter(report.faults) for report in reports), Counter())
    trials, stumbles = (sum(numbers) for numbers in zip(*((r.trials, r.stumbles) for r in reports), strict=True))
    yield f"{faults.total()} faults in {len(reports)} runs and {stumbles} deaths at crash points, {trials} trials"
    yield ", ".join(f"{name} {count}" for name, count in sorted(faults.items()))
    noticed = sorted(seconds for report in reports for seconds in report.detection_alone)
    if noticed:
        middle, last = noticed[len(noticed) // 2], noticed[-1]
        yield (
            f"dead supervisors noticed, where nothing else hid them ({len(noticed)}): median {middle:.1f} s, "
            f"longest {last:.1f} s (limit {DETECTION_LIMIT:.1f} s)"
        )
    for report in reports:
        yield from (f"seed {report.seed}: {said}  [{report.folder}]" for said in report.violations[:20])


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the runs that are missing, then print the table of all."""
    given = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if given.verbose else logging.ERROR, format="%(asctime)s %(message)s")
    given.results.parent.mkdir(parents=True, exist_ok=True)
    plans = list(split(given.faults, given.seed, workers=given.workers, bug=given.bug, sqlite=given.sqlite))
    reports = [report for report in stored(given.results) if (report.bug, report.sqlite) == (given.bug, given.sqlite)]
    for plan in missing(iter(plans), reports):
        report = run(plan, keep=given.results.parent)
        with given.results.open("a") as file:
            file.write(json.dumps(asdict(report)) + "\n")
        reports.append(report)
        sys.stdout.write(f"seed {plan.seed}: {plan.faults} faults, {report.trials} trials, {report.seconds:.0f} s\n")
        sys.stdout.flush()
        if given.bug is not None and report.violations:
            break
    sys.stdout.write(table(reports) + "\n")
    return 1 if any(report.violations for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
