"""What a step costs in each way of taking it, measured or foretold, and which way is the cheapest."""

from dataclasses import dataclass, replace

# Lists are worth their upkeep where they save at least this share of a step.
_GAIN = 0.05
# To look at a candidate costs this part of moving an active neuron, whose row was not near. Rows that were looked at one by
# one are moved in this part of the time.
_LOOK, _NEAR = 1 / 3, 0.85
# A row that is refreshed with some others costs so many times its part of building all lists at once.
_FEW = 3.0
# How far rows come grows with time as something between a straight line and a random walk: refreshes, with the slack, as
# the power -1 to -2.
_DRIFT = 1.5


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds that `steps` took: to find who fires, to compute and move, to keep up what finds them."""

    finding: float = 0.0
    moving: float = 0.0
    keeping: float = 0.0
    steps: int = 0

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.finding + self.moving + self.keeping

    @property
    def per_step(self) -> "Spent":
        """The same for one step."""
        return Spent(self.finding / self.steps, self.moving / self.steps, self.keeping / self.steps, 1)

    def __add__(self, other: "Spent") -> "Spent":
        """Return both together."""
        steps = self.steps + other.steps
        return Spent(self.finding + other.finding, self.moving + other.moving, self.keeping + other.keeping, steps)


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known before lists are built.

    For an example `active` of all neurons are active and `listed` within the slack. A row is moved `updates` times in a step, in
    all by `drift`, in units of the slack. To build all lists takes `building` seconds, to hold them so many `bytes`. To find
    that out took `looking` seconds.
    """

    active: float
    listed: float
    updates: float
    drift: float
    building: float
    bytes: float = 0.0
    looking: float = 0.0


def foretold(scan: Spent, survey: Survey) -> Spent:
    """Return what a step with lists will cost, after one without.

    A candidate costs a part of what moving an active neuron does, and a row that has to be refreshed a few times its part
    of building. Rows that went straight on would have to be `drift` times in a step, and those on a random walk
    drift^2 / updates times.
    """
    finding = _LOOK * scan.moving * survey.listed / max(survey.active, 1e-9)
    refreshes = survey.drift**_DRIFT * max(survey.updates, 1e-9) ** (1 - _DRIFT)
    return Spent(finding, _NEAR * scan.moving, _FEW * survey.building * refreshes, 1)


def at_slack(lists: Spent, narrower: float, longer: float) -> Spent:
    """Return what a step costs where the slack is so many times narrower, and lists so many times longer."""
    return replace(lists, finding=lists.finding * longer, keeping=lists.keeping * narrower**_DRIFT)


def worth_building(lists: Spent, *, without: float, building: float, steps: int) -> bool:
    """Say whether lists pay for being built in so many steps: one `without` them takes so many seconds."""
    return (without * (1 - _GAIN) - lists.seconds) * steps > building
