from hidlr.history import GroupRecord, StepRecord
from hidlr.reports.reasons import Reason, notes_of, reasons_of


def refused(step: int, *reasons: str) -> StepRecord:
    groups = (GroupRecord(f"g{k}", 1, 1.0, 1.0, reason=reason) for k, reason in enumerate(reasons))
    return StepRecord(step, "", tuple(groups), note="the loss is nan" if step == 9 else "")


def test_messages_that_differ_in_numbers_are_one_reason() -> None:
    found = reasons_of([refused(3, "R2 0.31 below 0.99", "not convex"), refused(9, "R2 -1.5e-2 below 0.99", "")])
    assert found == [
        Reason("R2 -1.5e-2 to 0.31 below 0.99", 2, 1, 3, 9),
        Reason("not convex", 1, 1, 3, 3),
    ]


def test_accepted_groups_have_no_reason() -> None:
    assert reasons_of([StepRecord(0, "", (GroupRecord("a", 1, 1.0, 1.0, accepted=True, reason="x"),))]) == []


def test_notes_count_probes() -> None:
    assert notes_of([refused(3), refused(9)]) == [Reason("the loss is nan", 1, 1, 9, 9)]
