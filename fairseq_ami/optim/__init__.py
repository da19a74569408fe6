from fairseq_ami.optim.ami_phased import AMIPhased, phased
from fairseq_ami.optim.lagging import LaggingSchedule
from fairseq_ami.optim.phased_config import check_options
from fairseq_ami.optim.running_statistics import RunningSlope, RunningStatistics

__all__ = ["AMIPhased", "LaggingSchedule", "RunningSlope", "RunningStatistics", "check_options", "phased"]
