//! Profile, tier and level (7.3.3).

use crate::capture::bits::Bits;

/// The general part: 88 bits of profile and tier, and the level, as ISO/IEC 14496-15, 8.3.3.1 stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile(pub [u8; 12]);

impl Profile {
    /// Reads `profile_tier_level( 1, sub_layers - 1 )`; `sub_layers` is 1 to 7.
    pub(super) fn read(bits: &mut Bits<'_>, sub_layers: u32) -> Option<Profile> {
        let mut general = [0; 12];
        for byte in &mut general {
            *byte = u8::try_from(bits.take(8)?).ok()?;
        }
        let mut present = Vec::new();
        for _ in 1..sub_layers {
            present.push((bits.flag()?, bits.flag()?));
        }
        if sub_layers > 1 {
            // `reserved_zero_2bits` up to the eighth.
            for _ in sub_layers..=8 {
                bits.take(2)?;
            }
        }
        for (profile, level) in present {
            if profile {
                for _ in 0..11 {
                    bits.take(8)?;
                }
            }
            if level {
                bits.take(8)?;
            }
        }
        Some(Profile(general))
    }
}
