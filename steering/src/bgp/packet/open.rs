//! OPEN: who one is, and what one can do (RFC 4271 section 4.2, capabilities of RFC 5492).

use std::net::Ipv4Addr;

use super::notification::{Notification, Reason};
use super::reader::Reader;
use super::{Kind, framed};
use crate::bgp::prefix::{Family, UNICAST};

/// Stands in OPEN for an AS of more than two octets (RFC 6793).
pub const AS_TRANS: u16 = 23456;

const VERSION: u8 = 4;
const PARAMETER_CAPABILITIES: u8 = 2;
/// Says that lengths have two octets (RFC 9072).
const PARAMETERS_EXTENDED: u8 = 255;
const CAPABILITY_MULTIPROTOCOL: u8 = 1;
const CAPABILITY_ROUTE_REFRESH: u8 = 2;
const CAPABILITY_GRACEFUL_RESTART: u8 = 64;
const CAPABILITY_FOUR_OCTET_AS: u8 = 65;

/// What an OPEN says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The AS, from the capability if it was there.
    pub autonomous_system: u32,
    /// Seconds.
    pub hold_time: u16,
    /// BGP identifier.
    pub identifier: Ipv4Addr,
    /// What the sender can do.
    pub capabilities: Capabilities,
}

/// Capabilities that mean something here; others are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Families that were named (RFC 4760); empty: IPv4 unicast alone.
    pub families: Vec<Family>,
    /// AS numbers have four octets in UPDATEs (RFC 6793).
    pub four_octet_as: bool,
    /// ROUTE-REFRESH may be sent to it (RFC 2918).
    pub route_refresh: bool,
    /// It restarts gracefully, or helps those who do (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
}

/// The capability of RFC 4724.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GracefulRestart {
    /// It has just restarted.
    pub restarting: bool,
    /// How long it takes to be back, seconds; at most 4095.
    pub seconds: u16,
    /// Families that it forwards while it restarts; empty: it only helps others.
    pub families: Vec<Family>,
}

impl Open {
    /// Reads what follows the header.
    ///
    /// # Errors
    /// The NOTIFICATION that it deserves.
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let mut reader = Reader(body);
        if reader.u8() != Some(VERSION) {
            return Err(Notification::with(
                Reason::BAD_VERSION,
                u16::from(VERSION).to_be_bytes(),
            ));
        }
        Self::after_version(reader).ok_or(Notification::from(Reason::OPEN_UNSPECIFIC))?
    }

    /// `None`: cut short, or too long.
    fn after_version(mut reader: Reader<'_>) -> Option<Result<Self, Notification>> {
        let short_as = reader.u16()?;
        let hold_time = reader.u16()?;
        let identifier = reader.array::<4>()?.into();
        let (mut parameters, lengths) = parameters(&mut reader)?;
        if !reader.is_empty() {
            return None;
        }
        let mut capabilities = Capabilities::default();
        let mut long_as = None;
        while !parameters.is_empty() {
            if parameters.u8()? != PARAMETER_CAPABILITIES {
                return Some(Err(Reason::UNSUPPORTED_PARAMETER.into()));
            }
            let mut block = match lengths {
                Lengths::One => parameters.short_block()?,
                Lengths::Two => parameters.block()?,
            };
            while !block.is_empty() {
                let code = block.u8()?;
                let value = block.short_block()?;
                if code == CAPABILITY_FOUR_OCTET_AS {
                    long_as = Some(Reader(value.0).u32()?);
                }
                capabilities.take(code, value)?;
            }
        }
        capabilities.four_octet_as = long_as.is_some();
        Some(Ok(Self {
            autonomous_system: long_as.unwrap_or(short_as.into()),
            hold_time,
            identifier,
            capabilities,
        }))
    }

    /// The message. Each capability has a parameter of its own, which the oldest routers understand too.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut parameters = Vec::new();
        for (code, value) in self.capabilities.encode(self.autonomous_system) {
            let length = value.len() as u8;
            parameters.extend([PARAMETER_CAPABILITIES, length + 2, code, length]);
            parameters.extend(value);
        }
        let short_as = u16::try_from(self.autonomous_system).unwrap_or(AS_TRANS);
        let mut body = vec![VERSION];
        body.extend(short_as.to_be_bytes());
        body.extend(self.hold_time.to_be_bytes());
        body.extend(self.identifier.octets());
        body.push(parameters.len() as u8);
        body.extend(parameters);
        framed(Kind::Open, &body)
    }
}

/// Octets of a parameter's length.
#[derive(Clone, Copy)]
enum Lengths {
    One,
    Two,
}

fn parameters<'b>(reader: &mut Reader<'b>) -> Option<(Reader<'b>, Lengths)> {
    let length = reader.u8()?;
    if length == u8::MAX && reader.0.first() == Some(&PARAMETERS_EXTENDED) {
        reader.u8();
        return Some((reader.block()?, Lengths::Two));
    }
    Some((Reader(reader.take(length.into())?), Lengths::One))
}

impl Capabilities {
    /// `None`: the value is not that of such a capability.
    fn take(&mut self, code: u8, mut value: Reader<'_>) -> Option<()> {
        match code {
            CAPABILITY_MULTIPROTOCOL => {
                let [high, low, _, safi] = value.array()?;
                self.families
                    .extend(Family::from_wire(u16::from_be_bytes([high, low]), safi));
            }
            CAPABILITY_ROUTE_REFRESH => self.route_refresh = true,
            CAPABILITY_GRACEFUL_RESTART => {
                let head = value.u16()?;
                let mut families = Vec::new();
                while !value.is_empty() {
                    let [high, low, safi, _] = value.array()?;
                    families.extend(Family::from_wire(u16::from_be_bytes([high, low]), safi));
                }
                self.graceful_restart = Some(GracefulRestart {
                    restarting: head & 0x8000 != 0,
                    seconds: head & 0x0fff,
                    families,
                });
            }
            _ => {}
        }
        Some(())
    }

    /// At most 40 octets: two families, and one of each other.
    fn encode(&self, autonomous_system: u32) -> Vec<(u8, Vec<u8>)> {
        let mut all = Vec::new();
        for family in Family::ALL {
            if self.families.contains(&family) {
                let [high, low] = family.afi().to_be_bytes();
                all.push((CAPABILITY_MULTIPROTOCOL, vec![high, low, 0, UNICAST]));
            }
        }
        if self.route_refresh {
            all.push((CAPABILITY_ROUTE_REFRESH, Vec::new()));
        }
        if let Some(restart) = &self.graceful_restart {
            all.push((CAPABILITY_GRACEFUL_RESTART, restart.encode()));
        }
        if self.four_octet_as {
            let number = autonomous_system.to_be_bytes().to_vec();
            all.push((CAPABILITY_FOUR_OCTET_AS, number));
        }
        all
    }
}

impl GracefulRestart {
    fn encode(&self) -> Vec<u8> {
        let flag = if self.restarting { 0x8000 } else { 0 };
        let mut value = (flag | self.seconds & 0x0fff).to_be_bytes().to_vec();
        for family in Family::ALL {
            if self.families.contains(&family) {
                let [high, low] = family.afi().to_be_bytes();
                value.extend([high, low, UNICAST, 0]);
            }
        }
        value
    }
}
