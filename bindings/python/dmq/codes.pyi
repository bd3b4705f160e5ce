# Written by tests/python/test_types.py from the table in dmq/errors.h.

import builtins

from . import errors

__all__ = [
    "BatchTooLargeError",
    "BrokerIdNotRegisteredError",
    "BufferFullError",
    "CancelledError",
    "ClosedError",
    "ClusterDeniedError",
    "CorruptBatchError",
    "DamagedError",
    "DeliveryTimeoutError",
    "DiskFullError",
    "DuplicateBrokerError",
    "DuplicateSequenceError",
    "DuplicateVoterError",
    "ElectionNotNeededError",
    "EligibleLeadersNotAvailableError",
    "FencedLeaderEpochError",
    "ForkedError",
    "InconsistentClusterIdError",
    "IneligibleReplicaError",
    "InterruptedError",
    "InvalidAcksError",
    "InvalidArgumentError",
    "InvalidConfigError",
    "InvalidPartitionsError",
    "InvalidProducerEpochError",
    "InvalidReplicationFactorError",
    "InvalidRequestError",
    "InvalidTimestampError",
    "InvalidTopicError",
    "InvalidUpdateVersionError",
    "IoError",
    "LeaderNotAvailableError",
    "LockedError",
    "MaybeWrittenError",
    "NetworkError",
    "NomemError",
    "NotControllerError",
    "NotEnoughReplicasAfterAppendError",
    "NotEnoughReplicasError",
    "NotLeaderError",
    "OffsetOutOfRangeError",
    "OutOfOrderSequenceError",
    "PolicyViolationError",
    "PreferredLeaderNotAvailableError",
    "RequestTimedOutError",
    "StaleBrokerEpochError",
    "StaleMetadataError",
    "StorageError",
    "ThrottledError",
    "TimeoutError",
    "TopicDeniedError",
    "TopicExistsError",
    "UnknownError",
    "UnknownLeaderEpochError",
    "UnknownProducerIdError",
    "UnknownTopicIdError",
    "UnknownTopicOrPartitionError",
    "UnreachableError",
    "UnsupportedCompressionError",
    "UnsupportedVersionError",
    "VoterNotFoundError",
    "WrongNodeError",
]

class BatchTooLargeError(errors.FatalError):
    """record batch is larger than max.message.bytes"""

class BrokerIdNotRegisteredError(errors.RetriableError):
    """broker is not registered"""

class BufferFullError(errors.RetriableError):
    """send buffer is full"""

class CancelledError(errors.RetriableError):
    """request was cancelled because the node stops"""

class ClosedError(errors.FatalError):
    """handle is closed"""

class ClusterDeniedError(errors.FatalError):
    """not authorised for the cluster"""

class CorruptBatchError(errors.FatalError):
    """record batch is damaged: checksum or structure is wrong"""

class DamagedError(errors.FatalError):
    """stored data is damaged"""

class DeliveryTimeoutError(errors.FatalError, builtins.TimeoutError):
    """record expired before it was sent"""

class DiskFullError(errors.RetriableError):
    """disk of the broker is full: produce is refused"""

class DuplicateBrokerError(errors.RetriableError):
    """another process has the broker's id"""

class DuplicateSequenceError(errors.FatalError):
    """sequence is older than the batches remembered"""

class DuplicateVoterError(errors.RetriableError):
    """another disk holds the controller's seat"""

class ElectionNotNeededError(errors.FatalError):
    """partition has the leader that was asked for"""

class EligibleLeadersNotAvailableError(errors.RetriableError):
    """no replica that may lead is live"""

class FencedLeaderEpochError(errors.RetriableError):
    """leader epoch is older than the broker's"""

class ForkedError(errors.FatalError):
    """handle was opened before fork(): open a new one in the child"""

class InconsistentClusterIdError(errors.FatalError):
    """node belongs to another cluster"""

class IneligibleReplicaError(errors.RetriableError):
    """replica may not be in the in-sync replicas"""

class InterruptedError(errors.RetriableError):
    """interrupted by a signal"""

class InvalidAcksError(errors.FatalError):
    """acks must be 0, 1 or all"""

class InvalidArgumentError(errors.FatalError, builtins.ValueError):
    """argument is not valid"""

class InvalidConfigError(errors.FatalError):
    """setting is unknown or its value is not valid"""

class InvalidPartitionsError(errors.FatalError):
    """number of partitions is not valid"""

class InvalidProducerEpochError(errors.FatalError):
    """a newer instance of the producer is active"""

class InvalidReplicationFactorError(errors.FatalError):
    """replication factor is not possible"""

class InvalidRequestError(errors.FatalError):
    """request is malformed"""

class InvalidTimestampError(errors.FatalError):
    """timestamp is out of range"""

class InvalidTopicError(errors.FatalError):
    """topic name is not valid"""

class InvalidUpdateVersionError(errors.RetriableError):
    """partition has changed since it was looked at"""

class IoError(errors.FatalError):
    """input or output failed"""

class LeaderNotAvailableError(errors.RetriableError):
    """partition has no leader at the moment"""

class LockedError(errors.FatalError):
    """data folder is in use by another process"""

class MaybeWrittenError(errors.MaybeDoneError):
    """written, but not known to be safe"""

class NetworkError(errors.MaybeDoneError, builtins.ConnectionError):
    """connection ended before the answer came"""

class NomemError(errors.FatalError, builtins.MemoryError):
    """out of memory"""

class NotControllerError(errors.RetriableError):
    """node is not the leading controller"""

class NotEnoughReplicasAfterAppendError(errors.MaybeDoneError):
    """written, but fewer replicas in sync than min.insync.replicas"""

class NotEnoughReplicasError(errors.RetriableError):
    """fewer replicas in sync than min.insync.replicas"""

class NotLeaderError(errors.RetriableError):
    """broker does not lead the partition"""

class OffsetOutOfRangeError(errors.FatalError):
    """offset is not in the log"""

class OutOfOrderSequenceError(errors.FatalError):
    """sequence number of the producer has a gap"""

class PolicyViolationError(errors.FatalError):
    """request exceeds a limit of the cluster"""

class PreferredLeaderNotAvailableError(errors.RetriableError):
    """first replica is not in sync or not live"""

class RequestTimedOutError(errors.MaybeDoneError, builtins.TimeoutError):
    """request timed out on the server"""

class StaleBrokerEpochError(errors.FatalError):
    """a newer registration of the broker exists"""

class StaleMetadataError(errors.RetriableError):
    """metadata range does not follow what is applied"""

class StorageError(errors.RetriableError):
    """disk of the broker failed: its data folder is offline"""

class ThrottledError(errors.RetriableError):
    """over the limit of requests or bytes in flight"""

class TimeoutError(errors.MaybeDoneError, builtins.TimeoutError):
    """no answer within the time given"""

class TopicDeniedError(errors.FatalError):
    """not authorised for the topic"""

class TopicExistsError(errors.FatalError):
    """topic exists already"""

class UnknownError(errors.MaybeDoneError):
    """unexpected error on the server"""

class UnknownLeaderEpochError(errors.RetriableError):
    """leader epoch is newer than the broker's"""

class UnknownProducerIdError(errors.FatalError):
    """producer id is unknown at the partition"""

class UnknownTopicIdError(errors.RetriableError):
    """topic id does not exist"""

class UnknownTopicOrPartitionError(errors.RetriableError):
    """topic or partition does not exist"""

class UnreachableError(errors.RetriableError, builtins.ConnectionError):
    """no broker could be reached"""

class UnsupportedCompressionError(errors.FatalError):
    """compression must be none, lz4 or zstd"""

class UnsupportedVersionError(errors.FatalError):
    """version of the request is not supported"""

class VoterNotFoundError(errors.FatalError):
    """controller has no seat in the quorum"""

class WrongNodeError(errors.RetriableError):
    """another node answered at this address"""
