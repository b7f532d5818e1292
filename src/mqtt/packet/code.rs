//! Reason codes (MQTT 5, 2.4) and their names.

use std::fmt;

/// A reason code. From 0x80 on it is an error. [`Display`](fmt::Display) gives its name in the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// Success, and `Normal disconnection`.
    pub const SUCCESS: Code = Code(0x00);
    /// `Unspecified error`.
    pub const UNSPECIFIED: Code = Code(0x80);
    /// `Implementation specific error`.
    pub const IMPLEMENTATION: Code = Code(0x83);
    /// `Unsupported Protocol Version`.
    pub const UNSUPPORTED_VERSION: Code = Code(0x84);
    /// `Bad User Name or Password`.
    pub const BAD_LOGIN: Code = Code(0x86);
    /// `Not authorized`.
    pub const NOT_AUTHORIZED: Code = Code(0x87);
    /// `Session taken over`.
    pub const TAKEN_OVER: Code = Code(0x8e);
    /// `Packet Identifier in use`.
    pub const IDENTIFIER_IN_USE: Code = Code(0x91);
    /// `Retain not supported`.
    pub const NO_RETAIN: Code = Code(0x9a);
    /// `Quota exceeded`.
    pub const QUOTA: Code = Code(0x97);

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    fn name(self) -> &'static str {
        match self.0 {
            0x00 => "Success",
            0x04 => "Disconnect with Will Message",
            0x10 => "No matching subscribers",
            0x80 => "Unspecified error",
            0x81 => "Malformed Packet",
            0x82 => "Protocol Error",
            0x83 => "Implementation specific error",
            0x84 => "Unsupported Protocol Version",
            0x85 => "Client Identifier not valid",
            0x86 => "Bad User Name or Password",
            0x87 => "Not authorized",
            0x88 => "Server unavailable",
            0x89 => "Server busy",
            0x8a => "Banned",
            0x8b => "Server shutting down",
            0x8c => "Bad authentication method",
            0x8d => "Keep Alive timeout",
            0x8e => "Session taken over",
            0x8f => "Topic Filter invalid",
            0x90 => "Topic Name invalid",
            0x91 => "Packet Identifier in use",
            0x92 => "Packet Identifier not found",
            0x93 => "Receive Maximum exceeded",
            0x94 => "Topic Alias invalid",
            0x95 => "Packet too large",
            0x96 => "Message rate too high",
            0x97 => "Quota exceeded",
            0x98 => "Administrative action",
            0x99 => "Payload format invalid",
            0x9a => "Retain not supported",
            0x9b => "QoS not supported",
            0x9c => "Use another server",
            0x9d => "Server moved",
            0x9e => "Shared Subscriptions not supported",
            0x9f => "Connection rate exceeded",
            0xa0 => "Maximum connect time",
            0xa1 => "Subscription Identifiers not supported",
            0xa2 => "Wildcard Subscriptions not supported",
            _ => "reason",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02x})", self.name(), self.0)
    }
}
