//! Why the machine wants to be woken.

/// Why the machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The backoff after a capture fault is over.
    RetryCapture,
    /// A message was refused because it came from the future: the clock may have been set since.
    AskAgain,
    /// A state file that could not be written is retried.
    RetryPersist,
    /// The backoff of an upload, or of the store as a whole, is over.
    RetryUpload,
    /// A spool that could not be written is retried.
    ProbeStorage,
    /// A lease ends, or its `next` is due.
    LeaseChanges,
    /// The times of a boot are decided, or what was decided is written again.
    PinTimes,
    /// A choice counts as heard, a hold of unheard footage is over, or the store is to be asked whether it
    /// answers.
    Hearing,
    /// A device that does not close has reached its timeout.
    CloseDevice,
    /// The light is retried, or has reached its timeout.
    RetryLight,
    /// `mqtt.telemetry` has passed since the last report.
    Telemetry,
    /// The current time is to be made durable.
    KeepTime,
    /// The rules of retention are applied again.
    Sweep,
    /// An ordered stop has used up its time.
    Leave,
}
