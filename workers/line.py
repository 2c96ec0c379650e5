"""The line to a trainer: whom it is sent, who is told to stop, and how all on it are lost once it is ended."""

from collections.abc import Callable

from training.protocol import Message
from workers.outcomes import Loss
from workers.patience import Watch
from workers.roster import Roster
from workers.running import Manner, Run, Terms, start_message
from workers.trainer import Trainer


class Line:
    """What a shift says to its trainer. Once that was ended, `cut`, nothing is said any more."""

    def __init__(self, trainer: Trainer, roster: Roster, watch: Watch, end_trainer: Callable[[], None]) -> None:
        """Speak to a trainer about those of the roster; `end_trainer` ends it with all it started."""
        self.cut = False
        self._trainer = trainer
        self._roster = roster
        self._watch = watch
        self._end_trainer = end_trainer

    def start(self, run: Run, terms: Terms, manner: Manner, *, shared: bool) -> None:
        """Send a trial; `shared` says whether others may be on the trainer with it, which wears it less."""
        self._trainer.send(start_message(run.claim, terms, manner))
        run.set_out(self._watch())
        if shared:
            self._trainer.shared += 1
        else:
            self._trainer.trials += 1

    def stop(self, run: Run, reason: str) -> None:
        """Have a trial stop."""
        message = run.ask_to_stop(reason, self._watch())
        if run.claim.id in self._roster.running:
            self.tell(message)

    def tell(self, message: Message) -> None:
        """Say anything else."""
        if not self.cut:
            self._trainer.send(message)

    def end(self, loss_of: Callable[[Run], Loss]) -> None:
        """End the trainer; whoever is on it is lost, each in its way."""
        self.cut = True
        # First, so that nobody trains further while the database is away.
        self._end_trainer()
        self._roster.lose(loss_of)
