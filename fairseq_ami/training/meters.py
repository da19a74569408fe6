"""fairseq's meters, without those that have nothing to say."""

from fairseq.logging import metrics
from fairseq.logging.meters import AverageMeter, MetersDict


def drop_silent_meters() -> None:
    """Remove averages that were reset and not written since, from everything that is being added up.

    fairseq keeps a meter for ever once it was written. Where players take turns, an interval of the log need not hold
    an update of each phase, and the line would say ``reward_forward=None``. What is written again comes back.
    """
    for meters in metrics.get_active_aggregators():
        silent = {name for name, meter in meters.items() if isinstance(meter, AverageMeter) and meter.val is None}
        if silent:  # what is derived from them goes as well
            silent |= {name for name, meter in meters.items() if isinstance(meter, MetersDict._DerivedMeter)}
            for name in silent:
                del meters[name]
            meters.priorities[:] = [entry for entry in meters.priorities if entry[-1] not in silent]
