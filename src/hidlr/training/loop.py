"""The training loop: step, record, checkpoint; stop and resume at the end of any step."""

from collections.abc import Callable
from pathlib import Path

from hidlr.training.config import RunConfig
from hidlr.training.folder import Recorder, RunFolder
from hidlr.training.interrupt import Interrupted, deferred_interrupt
from hidlr.training.result import Result
from hidlr.training.session import Progress, Session, seeded

__all__ = ["train"]


def train(
    config: RunConfig,
    out: Path | None = None,
    *,
    on_step: Callable[[Progress], None] | None = None,
    resume: bool = False,
) -> Result:
    """Train a workload to the end of its steps.

    Args:
        config: the settings; None in them stands for the workload's own choice.
        out: the run folder, empty or new (or, to resume, a run's); None writes nothing.
        on_step: called at the end of each step.
        resume: go on from the checkpoint in `out`, bit for bit as if there had been no pause.

    Returns:
        The result, also where the folder could not be written during the run: `Result.problems` then
        says what is missing in it.

    Raises:
        Interrupted: Ctrl-C, or `on_step` raised `KeyboardInterrupt`; the step was finished and saved.
        InputError: a setting that cannot work, or `out` is not empty.
        StateError: no run to resume, a damaged one, or one with other settings.
        HidlrError: `out` cannot be written.

    Example:
        >>> result = train(RunConfig("ellipse", rate=1e-3, steps=20))
        >>> result.final["loss"] < 40
        True
    """
    config = config.resolved()
    with seeded(config.seed), deferred_interrupt() as interrupt:
        session = Session(config)
        recorder = _recorder(out, session, resume=resume)
        complete = session.finished and recorder.holds("result.json")
        try:
            whole = True  # whether the last step is in all records
            try:
                while not session.finished:
                    whole = False
                    progress = session.advance()
                    recorder.record(progress)
                    whole = True
                    if on_step is not None:
                        on_step(progress)
                    if interrupt.requested:
                        raise KeyboardInterrupt
                    if session.finished or session.step % config.checkpoint_every == 0:
                        recorder.save(session)
            except KeyboardInterrupt as error:
                # Within a step (a second Ctrl-C), only the last checkpoint is whole.
                saved = whole and recorder.save(session)
                raise Interrupted(session.step, config.steps or 0, out if saved else None) from error
            result = _finish(session, recorder, write=not complete)
            if interrupt.requested:
                raise Interrupted(session.step, config.steps or 0, out)
            return result
        finally:
            recorder.close()


def _recorder(out: Path | None, session: Session, *, resume: bool) -> Recorder:
    if out is None:
        return Recorder()
    return RunFolder.reopen(out, session) if resume else RunFolder.create(out, session)


def _finish(session: Session, recorder: Recorder, *, write: bool) -> Result:
    result = Result.of(session, session.workload.evaluate(session.model))
    if write:  # a comparison may have added to what a complete run wrote
        recorder.write("influence.json", result.influence.to_dict())
        recorder.write("result.json", result.to_dict())
    recorder.close()
    return result.at(recorder.path, recorder.problems)
